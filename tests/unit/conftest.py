"""Candles for the rooms' tests: real ones (skipped where the data are absent) and generated ones with awkward traits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from shared.calibration.rl_onnx import Actor, actor_onnx
from shared.data.params import CurationParams
from shared.domain.candles import Candles, FloatArray, IntArray
from shared.domain.frame import Frame
from shared.domain.interval import HOUR_MS, Interval
from shared.strategy.ml_model import curation_version
from shared.strategy.rl_card import PolicyCard
from shared.strategy.rl_observation import RL_CONTRACT, ObservationSpec, fitted_scaler, raw_columns
from shared.strategy.rl_policy import RlPolicy
from shared.strategy.rl_shadow import ShadowRules

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def _times_ms(table: pq.ParquetFile, column: str) -> IntArray:
    return table[column].to_numpy().astype("datetime64[ms]").astype(np.int64)


@pytest.fixture(scope="session")
def real_candles() -> Callable[..., Candles]:
    """`real_candles("binance_usdm/BTCUSDT/1h", slice)`: real bars from the data folder beside the repository."""

    def load(name: str, rows: slice = slice(None)) -> Candles:
        path = DATA / "ohlcv" / f"{name}.parquet"
        if not path.exists():
            pytest.skip(f"no real candles: {path.name} of {name} is not in ../shared/data")
        table = pq.read_table(path)
        columns = (table[column].to_numpy() for column in ("open", "high", "low", "close", "volume"))
        return Candles(Interval.parse(path.stem), _times_ms(table, "open_time"), *columns)[rows]

    return load


@pytest.fixture(scope="session")
def real_funding() -> Callable[[str], tuple[IntArray, FloatArray]]:
    """`real_funding("BTCUSDT")`: settled funding rates of USD-M futures."""

    def load(symbol: str) -> tuple[IntArray, FloatArray]:
        path = DATA / "funding" / "binance_usdm" / f"{symbol}.parquet"
        if not path.exists():
            pytest.skip(f"no real funding rates: {symbol} is not in ../shared/data")
        table = pq.read_table(path)
        return _times_ms(table, "funding_time"), table["funding_rate"].to_numpy()

    return load


@pytest.fixture(scope="session")
def walk() -> Callable[..., Candles]:
    """`walk(seed, bars, …)`: a random walk of hourly candles.

    `drift` and `volatility` are per bar; `tick` rounds prices (0: not at all); `frozen` is a slice of flat bars without volume;
    `missing` is a slice of bars that are left out, as in an outage.
    """

    def make(
        seed: int,
        bars: int,
        *,
        drift: float = 0.0,
        volatility: float = 0.01,
        price: float = 100.0,
        tick: float = 0.0,
        frozen: slice | None = None,
        missing: slice | None = None,
    ) -> Candles:
        rng = np.random.default_rng(seed)
        # Volatility comes in clusters, so that expansions and contractions both occur.
        cluster = np.exp(0.7 * np.sin(np.arange(bars) / 90.0 + seed))
        returns = drift + volatility * cluster * rng.standard_normal(bars)
        volume = rng.lognormal(5.0, 0.5, bars) * cluster * (1 + np.abs(returns) / volatility)
        if frozen is not None:
            returns[frozen], volume[frozen] = 0.0, 0.0
        close = price * np.exp(np.cumsum(returns))
        opened = np.concatenate([[price], close[:-1]])
        spread = volatility * cluster * np.abs(rng.standard_normal((2, bars))) * 0.5
        if frozen is not None:
            spread[:, frozen] = 0.0
        prices = [opened, np.maximum(opened, close) * (1 + spread[0]), np.minimum(opened, close) / (1 + spread[1]), close]
        if tick:
            prices = [np.maximum(np.round(values / tick) * tick, tick) for values in prices]
        opened, high, low, close = prices
        keep = np.ones(bars, dtype=np.bool_)
        if missing is not None:
            keep[missing] = False
        times = 1_700_002_800_000 // HOUR_MS * HOUR_MS + HOUR_MS * np.arange(bars, dtype=np.int64)
        columns = (values[keep] for values in (opened, high, low, close, volume))
        return Candles(Interval.H1, times[keep], *columns)

    return make


@pytest.fixture(scope="session")
def rl_policy() -> Callable[..., RlPolicy]:
    """`rl_policy(frame, …)`: a policy with random weights, wide enough to act, its scaler fitted on `frame`."""

    def make(
        frame: Frame,
        *,
        train_id: str = "toy",
        asset: str = "binanceusdm:BTCUSDT",
        features: tuple[str, ...] = ("log_return", "rsi", "volume_z"),
        window_size: int = 8,
        episode_bars: int = 48,
        threshold: float = 0.2,
        train_end_ms: int = 0,
        normalise: bool = True,
        seed: int = 0,
        gain: float = 3.0,
    ) -> RlPolicy:
        rng = np.random.default_rng(seed)
        width, hidden = window_size * len(features) + 3, 12

        def dense(out: int, given: int) -> tuple[np.ndarray, np.ndarray]:
            return (rng.normal(0, gain / np.sqrt(given), (out, given)).astype(np.float32), np.zeros(out, dtype=np.float32))

        onnx = actor_onnx(Actor([dense(hidden, width)], dense(1, hidden)), (window_size, len(features)))
        means, scales = fitted_scaler(raw_columns(frame, features))
        card = PolicyCard(
            train_id=train_id,
            asset=asset,
            interval=frame.interval,
            observation=ObservationSpec(features, window_size, means, scales, normalise, 10_000.0),
            shadow=ShadowRules(episode_bars, 1.0, 6.0),
            action_threshold=threshold,
            contract=RL_CONTRACT,
            curation=curation_version(CurationParams()),
            train_start_ms=0,
            train_end_ms=train_end_ms,
            steps=0,
            checksum=hashlib.sha256(onnx).hexdigest(),
        )
        return RlPolicy(card, onnx)

    return make
