"""Small markets and signals for the tests of the backtest engine."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import Any

import numpy as np

from shared.backtest.engine import backtest
from shared.backtest.market import AssetMarket
from shared.backtest.params import BacktestParams
from shared.backtest.result import BacktestResult
from shared.backtest.signals import SignalPath, TargetPath
from shared.backtest.venue_rules import symbol_spec
from shared.domain.asset import Asset
from shared.domain.candles import Candles
from shared.domain.interval import HOUR_MS, Interval, parse_date_ms
from shared.risk.params import RiskParams
from shared.strategy.params import StrategyParams

START_MS = parse_date_ms("2025-07-01")
FREE_RISK = RiskParams(
    pause_drawdowns=(),
    pause_hours=(),
    max_drawdown=0.999,
    max_daily_loss=1.0,
    max_asset_exposure=20.0,
    max_total_exposure=40.0,
    stress_loss_limit=100.0,
)
"""Limits that hardly bind."""


def bars(*rows: tuple[float, float, float, float], volume: float = 1e6, skip: tuple[int, ...] = ()) -> Candles:
    """Hourly (open, high, low, close) bars from `START_MS`; the places in `skip` are missing."""
    table = [[START_MS + k * HOUR_MS, *row, volume] for k, row in enumerate(rows) if k not in skip]
    return Candles.from_rows(Interval.H1, table)


def flat_bars(*prices: float, skip: tuple[int, ...] = ()) -> Candles:
    """Bars that open at a price and close at the next one."""
    pairs = zip(prices, (*prices[1:], prices[-1]), strict=True)
    return bars(*((a, max(a, b), min(a, b), b) for a, b in pairs), skip=skip)


def market(candles: Candles, symbol: str = "BTCUSDT", funding: Any = None) -> AssetMarket:
    return AssetMarket(Asset("binanceusdm", symbol), candles, symbol_spec(symbol, 100.0), funding)


def target(candles: Candles, wanted: dict[int, float], stop: float = 0.0) -> TargetPath:
    """Fractions at some rows, nothing wanted elsewhere."""
    fraction = np.full(len(candles), np.nan)
    fraction[list(wanted)] = list(wanted.values())
    return TargetPath(fraction, np.full(len(candles), stop))


def run(
    markets: Any, signals: Any, params: BacktestParams | None = None, risk: RiskParams = FREE_RISK, **range_: int
) -> BacktestResult:
    """A backtest over all bars: the first decision falls on the close of the first one."""
    markets = markets if isinstance(markets, list) else [markets]
    signals = signals if isinstance(signals, list) else [signals]
    candles = markets[0].candles
    start = range_.get("start_ms", int(candles.close_time[0]))
    end = range_.get("end_ms", int(candles.close_time[-1]))
    return backtest(markets, signals, params or BacktestParams(), risk, start_ms=start, end_ms=end)


def random_candles(rng: np.random.Generator, n: int, volatility: float, first: float, gaps: float) -> Candles:
    close = first * np.exp(np.cumsum(rng.standard_t(3, n) * volatility))
    opened = np.concatenate([[first], close[:-1]]) * np.exp(rng.normal(0, volatility / 4, n))
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0, volatility, n)))
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0, volatility, n)))
    kept = rng.random(n) >= gaps
    kept[0] = True
    times = START_MS + np.arange(n, dtype=np.int64) * HOUR_MS
    volume = rng.exponential(1e4, n) * (rng.random(n) > 0.05)
    return Candles(Interval.H1, *(values[kept] for values in (times, opened, high, low, close, volume)))


def random_signal(rng: np.random.Generator, n: int) -> SignalPath | TargetPath:
    if rng.random() < 0.5:
        fraction = np.where(rng.random(n) < 0.3, rng.normal(0, 1.5, n), np.nan)
        return TargetPath(fraction, np.where(rng.random(n) < 0.7, rng.uniform(0.001, 0.1, n), 0.0))
    score = np.where(rng.random(n) < 0.9, np.clip(rng.normal(0, 0.6, n), -1, 1), np.nan)
    policies = (StrategyParams().policy, StrategyParams(target_volatility=2.0, stop_atr=0.5).policy)
    return SignalPath(
        score=score,
        volatility=rng.uniform(0.001, 0.03, n),
        atr_fraction=rng.uniform(0.001, 0.05, n),
        size_multiplier=rng.uniform(0.25, 1.5, n),
        policy_index=rng.integers(0, 2, n).astype(np.int8),
        policies=policies,
        tradable=rng.random(n) > 0.05,
        exposure_cap=rng.uniform(0.05, 3.0, n) if rng.random() < 0.5 else None,
    )


def random_inputs(seed: int, bars_: int = 300) -> dict[str, Any]:
    """Random assets with gaps and funding, random strategies, a random account."""
    rng = np.random.default_rng(seed)
    symbols = ["BTCUSDT", "ETHUSDT", "DOGEUSDT"][: int(rng.integers(1, 4))]
    gaps = float(rng.choice([0.0, 0.1]))
    markets = []
    for symbol in symbols:
        first = {"BTCUSDT": 60_000.0, "ETHUSDT": 3000.0, "DOGEUSDT": 0.2}[symbol]
        candles = random_candles(rng, bars_, float(rng.choice([0.003, 0.02, 0.08])), first, gaps)
        stamps = START_MS + np.arange(0, bars_ * HOUR_MS, 8 * HOUR_MS) + int(rng.choice([0, HOUR_MS // 3]))
        markets.append(market(candles, symbol, (stamps, rng.normal(0, 1e-3, len(stamps)))))
    risk = FREE_RISK if rng.random() < 0.5 else RiskParams(kelly_minimum_bars=20)
    return {
        "markets": markets,
        "signals": [random_signal(rng, len(each.candles)) for each in markets],
        "params": BacktestParams(capital=float(rng.choice([300.0, 10_000.0, 5e6])), leverage=int(rng.choice([1, 3, 20]))),
        "risk": risk,
        "start_ms": START_MS + 3 * HOUR_MS,
        "end_ms": START_MS + bars_ * HOUR_MS,
    }


def random_run(seed: int) -> BacktestResult:
    inputs = random_inputs(seed)
    return backtest(
        inputs["markets"],
        inputs["signals"],
        inputs["params"],
        inputs["risk"],
        start_ms=inputs["start_ms"],
        end_ms=inputs["end_ms"],
    )


def digest_of(result: BacktestResult) -> str:
    """Content of every array of a result."""
    digest = hashlib.sha256()
    parts = [getattr(result, name) for name in ("time_ms", "equity", "wallet", "exposure", "position", "funding", "halts")]
    for table in (result.fills, result.trades):
        parts += [getattr(table, field.name) for field in fields(table)]
    for part in parts:
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
