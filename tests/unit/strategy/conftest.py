"""Curated frames and probabilities for the strategy's tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from shared.data.curation import curate
from shared.domain.candles import Candles, FloatArray
from shared.domain.frame import Frame


@pytest.fixture(scope="session")
def funding_for() -> Callable[..., tuple[np.ndarray, FloatArray]]:
    """`funding_for(candles, seed)`: a rate every eight hours over the candles, with an occasional extreme."""

    def make(candles: Candles, seed: int = 0) -> tuple[np.ndarray, FloatArray]:
        rng = np.random.default_rng(seed)
        times = candles.open_time[::8].astype(np.int64)
        return times, 1e-4 + 5e-5 * rng.standard_t(3, len(times))

    return make


@pytest.fixture(scope="session")
def probabilities_for() -> Callable[..., FloatArray]:
    """`probabilities_for(frame)`: (n, 3) weights that follow the bar's own volatility; unknown where it is."""

    def make(frame: Frame) -> FloatArray:
        level = np.column_stack(
            [np.full(len(frame), 1.0), 100 * frame["realised_volatility"], frame["realised_volatility"] ** 2 * 1e4]
        )
        return level / level.sum(axis=1)[:, None]

    return make


@pytest.fixture(scope="session")
def trend(walk: Callable[..., Candles]) -> Callable[..., Frame]:
    """`trend(drift, …)`: the curated frame of a walk with a drift that dwarfs its noise."""

    def make(drift: float, bars: int = 900, seed: int = 3) -> Frame:
        return curate(walk(seed, bars, drift=drift, volatility=0.002))

    return make
