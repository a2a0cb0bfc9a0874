"""A market that gives a trading system trouble: trends, jumps through stops, gaps in the data, frozen bars, funding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloudrun.exchange.market import Market
from shared.domain.candles import Candles, FloatArray
from shared.domain.interval import HOUR_MS, Interval

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "BNBUSDT")
_FIRST_PRICE = {"BTCUSDT": 60_000.0, "ETHUSDT": 3_000.0, "SOLUSDT": 150.0, "XRPUSDT": 0.6, "BNBUSDT": 600.0}
_TICK = {"BTCUSDT": 0.1, "ETHUSDT": 0.01, "SOLUSDT": 0.01, "XRPUSDT": 0.0001, "BNBUSDT": 0.01}
FUNDING_MS = 8 * HOUR_MS


@dataclass(frozen=True, slots=True)
class MarketShape:
    """How rough the market is."""

    sigma: float = 0.002
    """standard deviation of a bar's log return"""
    jump_rate: float = 0.03
    """probability of a jump in a bar"""
    jump: float = 0.02
    """size of a jump: standard deviation of its log return"""
    gap_rate: float = 0.01
    """probability that a gap of a few bars begins"""
    frozen_rate: float = 0.003
    """probability that a few flat bars without volume begin"""
    trend: float = 0.0
    """drift of every bar"""


def make_market(
    rng: np.random.Generator, symbols: tuple[str, ...], interval: Interval, start_ms: int, bars: int, shape: MarketShape
) -> Market:
    """`bars` bars of each symbol from `start_ms` on. The last bar is always there: the market is open to its end."""
    candles = {name: _candles(rng, name, interval, start_ms, bars, shape) for name in symbols}
    stamps = np.arange(-(-start_ms // FUNDING_MS) * FUNDING_MS, start_ms + bars * interval.ms, FUNDING_MS, dtype=np.int64)
    funding = {name: (stamps, rng.normal(0.0001, 0.0003, len(stamps))) for name in symbols}
    return Market(candles, funding)


def _candles(
    rng: np.random.Generator, symbol: str, interval: Interval, start_ms: int, bars: int, shape: MarketShape
) -> Candles:
    returns = shape.trend + shape.sigma * rng.standard_normal(bars)
    returns += np.where(rng.random(bars) < shape.jump_rate, shape.jump * rng.standard_normal(bars), 0.0)
    volume = rng.gamma(2.0, 50_000.0, bars) / _FIRST_PRICE[symbol] * 100
    kept, frozen = np.ones(bars, dtype=np.bool_), np.zeros(bars, dtype=np.bool_)
    _marked(rng, kept, shape.gap_rate, value=False)
    _marked(rng, frozen, shape.frozen_rate, value=True)
    kept[0] = kept[-1] = True
    returns[frozen], volume[frozen] = 0.0, 0.0
    close = _FIRST_PRICE[symbol] * np.exp(np.cumsum(returns))
    opened = np.concatenate([[_FIRST_PRICE[symbol]], close[:-1]])
    reach = np.where(frozen, 0.0, np.abs(rng.normal(0, shape.sigma / 2, (2, bars))))
    high = np.maximum(opened, close) * (1 + reach[0])
    low = np.minimum(opened, close) * (1 - reach[1])
    tick = _TICK[symbol]
    prices = [_on_tick(column, tick) for column in (opened, high, low, close)]
    times = start_ms + np.arange(bars, dtype=np.int64) * interval.ms
    columns = [column[kept] for column in (*prices, volume)]
    return Candles.from_rows(interval, [[float(value) for value in row] for row in zip(times[kept], *columns, strict=True)])


def _marked(rng: np.random.Generator, marks: np.ndarray, rate: float, *, value: bool) -> None:
    """Set stretches of one to four bars of `marks` to `value`."""
    for first in np.flatnonzero(rng.random(len(marks)) < rate):
        marks[first : first + int(rng.integers(1, 5))] = value


def _on_tick(prices: FloatArray, tick: float) -> FloatArray:
    rounded: FloatArray = np.maximum(np.round(prices / tick), 1) * tick
    return np.round(rounded, 8)
