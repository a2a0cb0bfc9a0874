"""Curation of a year of minutes (525,600 bars) against the pandas rolling/ewm form of the same columns, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from shared.data.curation import CURATED_COLUMNS, curate
from shared.data.params import CurationParams
from shared.domain.candles import Candles
from shared.domain.interval import MINUTE_MS, Interval
from shared.strategy.orchestrator import consensus
from shared.strategy.params import StrategyParams

BARS = 525_600
LIVE_BARS = 1_200


@pytest.fixture(scope="module")
def year() -> Candles:
    rng = np.random.default_rng(1)
    close = 50_000 * np.exp(np.cumsum(5e-4 * rng.standard_normal(BARS)))
    opened = np.concatenate([[50_000.0], close[:-1]])
    spread = 2e-4 * np.abs(rng.standard_normal((2, BARS)))
    high, low = np.maximum(opened, close) * (1 + spread[0]), np.minimum(opened, close) * (1 - spread[1])
    times = MINUTE_MS * np.arange(BARS, dtype=np.int64)
    return Candles(Interval.M1, times, opened, high, low, close, rng.lognormal(3, 1, BARS))


def with_pandas(candles: Candles, params: CurationParams) -> pd.DataFrame:
    """The columns as they are usually written with pandas: ewm for Wilder's and exponential averages, rolling for windows."""
    table = pd.DataFrame({name: getattr(candles, name) for name in ("open", "high", "low", "close", "volume")})
    close, change = table["close"], table["close"].diff()
    wilder = {"alpha": 1 / params.atr_bars, "adjust": False}
    gain, loss = change.clip(lower=0).ewm(**wilder).mean(), (-change.clip(upper=0)).ewm(**wilder).mean()
    table["log_return"] = np.log(close / close.shift())
    table["rsi"] = 100 - 100 / (1 + gain / loss)
    table["macd"] = close.ewm(span=12, adjust=False).mean() - close.ewm(span=26, adjust=False).mean()
    table["macd_signal"] = table["macd"].ewm(span=9, adjust=False).mean()
    table["macd_histogram"] = table["macd"] - table["macd_signal"]
    ranges = [table["high"] - table["low"], (table["high"] - close.shift()).abs(), (table["low"] - close.shift()).abs()]
    table["atr"] = pd.concat(ranges, axis=1).max(axis=1).ewm(**wilder).mean()
    up, down = table["high"].diff(), -table["low"].diff()
    table["plus_di"] = 100 * up.where((up > down) & (up > 0), 0.0).ewm(**wilder).mean() / table["atr"]
    table["minus_di"] = 100 * down.where((down > up) & (down > 0), 0.0).ewm(**wilder).mean() / table["atr"]
    spread = (table["plus_di"] - table["minus_di"]).abs() / (table["plus_di"] + table["minus_di"])
    table["adx"] = 100 * spread.ewm(**wilder).mean()
    bollinger = close.rolling(params.bollinger_bars)
    table["bollinger_middle"], half = bollinger.mean(), params.bollinger_width * bollinger.std(ddof=0)
    table["bollinger_upper"], table["bollinger_lower"] = table["bollinger_middle"] + half, table["bollinger_middle"] - half
    table["sma_fast"], table["sma_slow"] = (
        close.rolling(params.sma_fast_bars).mean(),
        close.rolling(params.sma_slow_bars).mean(),
    )
    table["ema_fast"] = close.ewm(span=params.ema_fast_bars, adjust=False).mean()
    table["ema_slow"] = close.ewm(span=params.ema_slow_bars, adjust=False).mean()
    table["realised_volatility"] = table["log_return"].rolling(params.volatility_bars).std(ddof=0)
    spread, body = np.log(table["high"] / table["low"]), np.log(close / table["open"])
    variance = 0.5 * spread**2 - (2 * np.log(2) - 1) * body**2
    table["range_volatility"] = np.sqrt(variance.rolling(params.volatility_bars).mean())
    table["skewness"] = table["log_return"].rolling(params.skewness_bars).skew()
    logs = np.log1p(table["volume"])
    volume = logs.rolling(params.volume_bars)
    table["volume_z"] = (logs - volume.mean()) / volume.std(ddof=0)
    return table


def test_curation_of_a_year_of_minutes(benchmark: BenchmarkFixture, median_s: Callable[[], float], year: Candles) -> None:
    params = CurationParams()
    frame = benchmark.pedantic(curate, args=(year, params), rounds=3, warmup_rounds=1)
    started = time.perf_counter()
    peer = with_pandas(year, params)
    peer_s = time.perf_counter() - started
    # The peer computes the same numbers (pandas' skewness is bias-corrected; its seeds differ in the first bars).
    for name in set(CURATED_COLUMNS) - {"skewness", "funding_rate", "open_interest"}:
        assert np.nanmax(np.abs(frame[name][-1000:] - peer[name].to_numpy()[-1000:])) < 1e-4, name
    ours_s = median_s()
    benchmark.extra_info |= {"bars_per_s": BARS / ours_s, "pandas_s": peer_s, "times_pandas": peer_s / ours_s}
    print(f"\ncuration: {BARS / ours_s:,.0f} bars/s in {ours_s:.2f} s; pandas {peer_s:.2f} s; ratio {peer_s / ours_s:.1f}")


def test_one_live_bar(benchmark: BenchmarkFixture, median_s: Callable[[], float], year: Candles) -> None:
    window, params = year[-LIVE_BARS:], StrategyParams()
    probabilities = np.full((LIVE_BARS, 3), 1 / 3)
    result = benchmark(lambda: consensus(curate(window), probabilities, params))
    assert abs(result.score[-1]) <= 1
    print(f"\ncurate + consensus on {LIVE_BARS} bars: {1e3 * median_s():.2f} ms")
