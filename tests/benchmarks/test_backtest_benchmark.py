"""The backtest engine beside its peers: SMA(20/50) cross with a stop and fees on a year of minutes.

Everything counts that a user waits for: averages, signals, account, result arrays, fills and round trips, through the public
functions, compiled code warm. The hand-written loop is the least that the same trades can cost: one position, no venue rules.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from shared.backtest.engine import backtest
from shared.backtest.market import AssetMarket
from shared.backtest.params import BacktestParams
from shared.backtest.result import BacktestResult
from shared.backtest.strategies import STRATEGIES, SmaCrossParams
from shared.backtest.venue_rules import symbol_spec
from shared.compiled import compiled
from shared.domain.asset import Asset
from shared.domain.candles import Candles, FloatArray
from shared.domain.interval import MINUTE_MS, Interval, parse_date_ms
from shared.risk.params import RiskParams

BARS = 525_600
MOST_TIMES_THE_LOOP = 7.0
START_MS = parse_date_ms("2024-01-01")
PARAMS = SmaCrossParams(fast=20, slow=50, stop=0.02, exposure=0.05)
RISK = RiskParams(pause_drawdowns=(), pause_hours=(), max_drawdown=0.99)


def minutes(bars: int, seed: int = 1) -> Candles:
    rng = np.random.default_rng(seed)
    close = 60_000 * np.exp(np.cumsum(rng.normal(0, 5e-4, bars)))
    opened = np.concatenate([[60_000.0], close[:-1]])
    high = np.maximum(opened, close) * (1 + np.abs(rng.normal(0, 2e-4, bars)))
    low = np.minimum(opened, close) * (1 - np.abs(rng.normal(0, 2e-4, bars)))
    times = START_MS + np.arange(bars, dtype=np.int64) * MINUTE_MS
    return Candles(Interval.M1, times, opened, high, low, close, rng.exponential(100.0, bars))


def crossed(candles: Candles, assets: int = 1) -> BacktestResult:
    """The public way from candles to a result."""
    markets = [
        AssetMarket(Asset("binanceusdm", name), candles, symbol_spec(name, 60_000.0))
        for name in ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT")[:assets]
    ]
    signals = [STRATEGIES["sma-cross"].path(market, PARAMS) for market in markets]
    start, end = int(candles.close_time[0]), int(candles.close_time[-1])
    return backtest(markets, signals, BacktestParams(capital=1e7), RISK, start_ms=start, end_ms=end)


def seconds(action: Callable[[], Any], rounds: int = 5) -> float:
    """Best time of an action, compiled before."""
    action()
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
    return min(times)


@compiled
def _plain_loop(open_: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray, stop: float, fee: float) -> FloatArray:
    """SMA(20/50) with a stop and fees, one position of the whole equity: what a person writes for this one case."""
    n = len(close)
    equity = np.empty(n)
    cash, size, stop_price, fast, slow, side, order = 1e7, 0.0, 0.0, 0.0, 0.0, 0, 0
    for i in range(n):
        if order != 0:
            cash += size * open_[i] - abs(size) * open_[i] * fee
            size = order * 0.95 * cash / open_[i]
            cash -= size * open_[i] + abs(size) * open_[i] * fee
            stop_price = close[i - 1] * (1 - order * stop)
            order = 0
        if (size > 0.0 and low[i] <= stop_price) or (size < 0.0 and high[i] >= stop_price):
            price = min(open_[i], stop_price) if size > 0.0 else max(open_[i], stop_price)
            cash += size * price - abs(size) * price * fee
            size = 0.0
        fast += close[i] - (close[i - 20] if i >= 20 else 0.0)
        slow += close[i] - (close[i - 50] if i >= 50 else 0.0)
        if i >= 49:
            now = 1 if fast * 2.5 > slow else -1
            if now != side and side != 0:
                order = now
            side = now
        equity[i] = cash + size * close[i]
    return equity


@pytest.mark.benchmark(group="sma-cross")
def test_a_year_of_minutes(benchmark: BenchmarkFixture, median_s: Callable[[], float]) -> None:
    measured = benchmark.stats is None and not benchmark.disabled
    candles = minutes(BARS if measured else 5_000)
    crossed(candles)
    result = benchmark(crossed, candles)
    assert result.identity_error < 1e-9
    taken = median_s()
    if taken != taken:
        return
    loop = seconds(lambda: _plain_loop(candles.open, candles.high, candles.low, candles.close, 0.02, 5e-4), 20)
    best = benchmark.stats.stats.min
    print(
        f"\nours: {taken * 1e3:.1f} ms, {BARS / taken / 1e6:.0f} M bars/s, {len(result.fills.price)} fills; "
        f"hand-written loop {loop * 1e3:.1f} ms ({BARS / loop / 1e6:.0f} M bars/s): it is {taken / loop:.1f} times as fast"
    )
    for bars in (10_000, 100_000, BARS):
        print(f"{bars:>9,} bars: {bars / seconds(lambda n=bars: crossed(candles[:n])) / 1e6:.0f} M bars/s")
    for assets in (1, 2, 5):
        rate = assets * BARS / seconds(lambda a=assets: crossed(candles, a)) / 1e6
        print(f"{assets:>9} assets: {rate:.0f} M bars/s")
    assert best / loop < MOST_TIMES_THE_LOOP


@pytest.mark.benchmark(group="sma-cross")
def test_backtesting_py(benchmark: BenchmarkFixture, median_s: Callable[[], float]) -> None:
    peer = pytest.importorskip("backtesting", reason="the peer is optional: pip install backtesting")
    pandas = pytest.importorskip("pandas")
    bars = 100_000 if not benchmark.disabled else 2_000
    candles = minutes(bars)
    columns = {name.title(): getattr(candles, name) for name in ("open", "high", "low", "close", "volume")}
    frame = pandas.DataFrame(columns, index=pandas.to_datetime(candles.open_time, unit="ms"))

    class Cross(peer.Strategy):  # type: ignore[misc, name-defined]
        def init(self) -> None:
            close = pandas.Series(self.data.Close)
            self.fast = self.I(lambda: close.rolling(20).mean())
            self.slow = self.I(lambda: close.rolling(50).mean())

        def next(self) -> None:
            if self.fast[-2] < self.slow[-2] and self.fast[-1] > self.slow[-1]:
                self.buy(size=0.95, sl=self.data.Close[-1] * 0.98)
            elif self.fast[-2] > self.slow[-2] and self.fast[-1] < self.slow[-1]:
                self.sell(size=0.95, sl=self.data.Close[-1] * 1.02)

    test = peer.Backtest(frame, Cross, cash=1e7, commission=5e-4, margin=1 / 3, exclusive_orders=True)
    benchmark.pedantic(test.run, rounds=1, iterations=1)
    if median_s() == median_s():
        ratio = benchmark.stats.stats.min / seconds(lambda: crossed(candles))
        print(f"\nbacktesting.py: {bars / median_s() / 1e6:.2f} M bars/s; ours is {ratio:.0f} times as fast")
        assert ratio >= 250


@pytest.mark.benchmark(group="sma-cross")
def test_vectorbt(benchmark: BenchmarkFixture, median_s: Callable[[], float]) -> None:
    peer = pytest.importorskip("vectorbt", reason="the peer is optional: vectorbt in an environment of its own")
    candles = minutes(BARS if not benchmark.disabled else 2_000)

    def cross() -> Any:
        fast, slow = peer.MA.run(candles.close, 20), peer.MA.run(candles.close, 50)
        above, below = fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)
        portfolio = peer.Portfolio.from_signals(
            candles.close, entries=above, short_entries=below, fees=5e-4, sl_stop=0.02, init_cash=1e7
        )
        return portfolio.total_return()

    cross()
    benchmark.pedantic(cross, rounds=3, iterations=1)
    if median_s() == median_s():
        ratio = benchmark.stats.stats.min / seconds(lambda: crossed(candles))
        print(f"\nvectorbt: {BARS / median_s() / 1e6:.2f} M bars/s; ours is {ratio:.0f} times as fast")
        assert ratio >= 4.5
