"""Where the profit of a backtest came from: by asset, by kind of cost, by regime, by month.

Profit of an asset over a bar: what its position is worth at the end, minus what it was worth at the start, minus what was paid
for it in between, minus fees. A bar belongs to the regime that was held at its start, the one that its position was decided
under. Invariant: the profits of all assets and bars, with the funding, are what the equity gained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shared.backtest.market import AssetMarket
from shared.backtest.result import BacktestResult, Int8Array
from shared.backtest.statistics import annual, sharpe
from shared.domain.asset import Asset
from shared.domain.candles import BoolArray, Candles, FloatArray, IntArray
from shared.domain.regime import REGIMES, Regime

Mask = np.ndarray[tuple[int, int], np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class AssetCosts:
    """What an asset earned and cost, quote currency."""

    symbol: str
    round_trips: int
    won: int
    profit: float
    """all of it: price moves and open loss, after slippage, fees and funding"""
    gross: float
    """before slippage, fees and funding"""
    fees: float
    slippage: float
    """half-spread, impact and stop slippage: the price paid against the reference"""
    funding: float
    """received minus paid"""
    traded: float
    """notional of all fills"""


@dataclass(frozen=True, slots=True)
class RegimeRow:
    """What was earned while one regime was held, over all assets; without funding."""

    regime: Regime
    share: float
    """of the asset-bars with a known regime"""
    total_return: float
    """sum of per-bar profit / equity: the parts of all regimes add up"""
    sharpe: float | None
    """annual, of the account's profit in the bars of this regime (an asset's bar counts with its own regime)"""
    round_trips: int
    won: int
    profit: float
    """of those round trips, after fees"""


def asset_profits(result: BacktestResult, markets: Sequence[AssetMarket]) -> FloatArray:
    """(m, a) profit of each asset over the bar that ends at each instant, after slippage and fees, without funding.

    The account is marked before the trades of an instant, so that these belong to the bar that begins there; those of the last
    instant belong to none.
    """
    return _profits(result, markets)[:-1]


def _profits(result: BacktestResult, markets: Sequence[AssetMarket]) -> FloatArray:
    """(m + 1, a): in the last row what the trades of the last instant cost."""
    fills, instants = result.fills, len(result.time_ms)
    bars = np.searchsorted(result.time_ms, fills.time_ms, side="right")
    at_instant = result.time_ms[np.minimum(bars - 1, instants - 1)] == fills.time_ms
    profits = np.zeros((instants + 1, len(markets)))
    for column, market in enumerate(markets):
        own = fills.asset == column
        changed = np.bincount(bars[own & at_instant] - 1, weights=fills.quantity[own & at_instant], minlength=instants)
        prices = _prices(market.candles, result.time_ms)
        value = (result.position[:, column] - changed) * prices
        after = result.position[-1:, column] * prices[-1:]
        paid = np.bincount(bars[own], weights=fills.quantity[own] * fills.price[own] + fills.fee[own], minlength=instants + 1)
        profits[:, column] = np.diff(np.concatenate([value, after]), prepend=0.0) - paid
    return profits


def _prices(candles: Candles, times_ms: IntArray) -> FloatArray:
    """What the engine marks at: the newest close at each instant (m,)."""
    rows = np.searchsorted(candles.close_time, times_ms, side="right") - 1
    prices: FloatArray = candles.close[np.maximum(rows, 0)]
    return prices


def asset_costs(result: BacktestResult, markets: Sequence[AssetMarket]) -> tuple[AssetCosts, ...]:
    """One row for each asset, the trades of the last instant included."""
    fills, trips = result.fills, result.trades
    profits = _profits(result, markets).sum(axis=0)
    rows = []
    for column, asset in enumerate(result.assets):
        own, trip = fills.asset == column, trips.asset == column
        fees, funding = float(fills.fee[own].sum()), float(result.funding[column])
        slippage = float(np.sum(fills.quantity[own] * (fills.price[own] - fills.reference[own])))
        profit = float(profits[column]) + funding
        rows.append(
            AssetCosts(
                symbol=asset.symbol,
                round_trips=int(trip.sum()),
                won=int(np.sum(trips.profit[trip] > 0)),
                profit=profit,
                gross=profit - funding + fees + slippage,
                fees=fees,
                slippage=slippage,
                funding=funding,
                traded=float(np.sum(np.abs(fills.quantity[own]) * fills.price[own])),
            )
        )
    return tuple(rows)


def by_regime(result: BacktestResult, markets: Sequence[AssetMarket], held: Mapping[Asset, Int8Array]) -> tuple[RegimeRow, ...]:
    """One row for each regime. `held` has, for each asset and bar of its candles, the place in `REGIMES` (-1: none)."""
    before = np.concatenate([[result.initial], result.equity[:-1]])
    gains = asset_profits(result, markets) / np.where(before > 0, before, np.inf)[:, None]
    regimes = np.empty(gains.shape, dtype=np.int8)
    opened = np.full(len(result.trades.profit), -1, dtype=np.int8)
    for column, market in enumerate(markets):
        known = held[market.asset]
        starts = np.concatenate([result.time_ms[:1], result.time_ms[:-1]])
        regimes[:, column] = _at(market.candles.close_time, known, starts)
        trips = result.trades.asset == column
        opened[trips] = _at(market.candles.close_time, known, result.trades.opened_ms[trips])
    return tuple(_regime_row(result, regime, gains, regimes == place, opened == place) for place, regime in enumerate(REGIMES))


def _at(close_ms: IntArray, held: Int8Array, times_ms: IntArray) -> Int8Array:
    """The regime that was held at each instant; -1 before the first one."""
    rows = np.searchsorted(close_ms, times_ms, side="right") - 1
    return np.where(rows >= 0, held[np.maximum(rows, 0)], -1).astype(np.int8)


def _regime_row(result: BacktestResult, regime: Regime, gains: FloatArray, inside: Mask, trips: BoolArray) -> RegimeRow:
    """`inside` (m, a) and `trips` (k,) say which bars and round trips belong to the regime."""
    per_bar = np.where(inside, gains, 0.0).sum(axis=1)[inside.any(axis=1)]
    profits = result.trades.profit[trips]
    return RegimeRow(
        regime=regime,
        share=float(np.mean(inside)) if inside.size else 0.0,
        total_return=float(per_bar.sum()),
        sharpe=annual(sharpe(per_bar), result.interval.bars_per_year),
        round_trips=len(profits),
        won=int(np.sum(profits > 0)),
        profit=float(profits.sum()),
    )


def monthly_returns(days: IntArray, returns: FloatArray) -> dict[str, float]:
    """Compound return of each calendar month (UTC), `2025-07` -> 0.031, from daily returns (d,) at midnights (d,) in ms."""
    months = np.asarray(days, dtype="datetime64[ms]").astype("datetime64[M]")
    names, starts = np.unique(months, return_index=True)
    if not len(names):
        return {}
    growth = np.multiply.reduceat(1.0 + returns, starts) - 1.0
    return {str(name): float(value) for name, value in zip(names, growth, strict=True)}


def rolling_sharpe(returns: FloatArray, window: int) -> FloatArray:
    """Sharpe ratio per day of the last `window` daily returns (d,), NaN before there are so many or where nothing moves."""
    ratios = np.full(len(returns), np.nan)
    if len(returns) < window or window < 2:
        return ratios
    views = np.lib.stride_tricks.sliding_window_view(returns, window)
    deviation = views.std(axis=1, ddof=1)
    np.divide(views.mean(axis=1), deviation, out=ratios[window - 1 :], where=deviation > 1e-14)
    return ratios
