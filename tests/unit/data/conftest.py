"""Factories shared by the tests of the data room. A fixture returns the factory, so that each test says what it needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shared.data.raw_tables import RawBars
from shared.domain.candles import Candles
from shared.domain.interval import Interval, parse_date_ms

START_MS = parse_date_ms("2025-07-01")


@pytest.fixture
def make_candles() -> Callable[..., Candles]:
    """A random walk of `bars` bars; `without` drops rows, so that gaps can be made."""

    def make(
        bars: int = 100,
        interval: Interval = Interval.H1,
        start_ms: int = START_MS,
        seed: int = 1,
        without: tuple[int, ...] = (),
    ) -> Candles:
        rng = np.random.default_rng(seed)
        path = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, bars + 1)))
        opens, closes = path[:-1], path[1:]
        highs = np.maximum(opens, closes) * 1.002
        lows = np.minimum(opens, closes) * 0.998
        times = interval.ceil(start_ms) + np.arange(bars, dtype=np.int64) * interval.ms
        rows = np.setdiff1d(np.arange(bars), without)
        volume = rng.lognormal(3, 0.5, bars)
        return Candles(interval, times[rows], *(column[rows] for column in (opens, highs, lows, closes, volume)))

    return make


@pytest.fixture
def make_raw(make_candles: Callable[..., Candles]) -> Callable[..., RawBars]:
    """Raw rows of a random walk with turnover at the close; keyword arguments replace whole columns."""

    def make(bars: int = 50, **columns: np.ndarray) -> RawBars:
        candles = make_candles(bars)
        rows = {name: getattr(candles, name).copy() for name in ("open_time", "open", "high", "low", "close", "volume")}
        rows["quote_volume"] = rows["volume"] * rows["close"]
        return RawBars(**{**rows, **columns})

    return make


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real market data beside the repository; skips where it is absent."""
    folder = Path(__file__).resolve().parents[4] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real market data (../shared/data) are not on this machine")
    return folder
