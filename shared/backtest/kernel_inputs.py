"""From markets and signals to the arrays of the kernel: everything on the common time grid, bars that are missing as NaN.

One asset without gaps is handed over as views, without a copy. Nothing that is not known inside the grid goes in: a bar that
opens at its last instant is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.backtest.costs import funding_payment
from shared.backtest.kernel_grid import as_fraction
from shared.backtest.kernel_types import AccountNumbers, MarketArrays, SignalArrays
from shared.backtest.market import AssetMarket
from shared.backtest.params import BacktestParams
from shared.backtest.price_path import price_on_path
from shared.backtest.signals import SignalPath, TargetPath
from shared.domain.candles import BoolArray, Candles, FloatArray, IntArray
from shared.domain.interval import Interval
from shared.risk.params import RiskParams

MINUTE_MS = 60_000
_NOTHING = np.empty(0)


@dataclass(frozen=True, slots=True)
class Grid:
    """Instants `start_ms` + i · interval, i < m; bar i closes at instant i."""

    interval: Interval
    start_ms: int
    instants: int

    @property
    def first_open_ms(self) -> int:
        """Open of bar 0."""
        return self.start_ms - self.interval.ms

    @property
    def end_ms(self) -> int:
        """Last instant."""
        return self.start_ms + (self.instants - 1) * self.interval.ms


@dataclass(frozen=True, eq=False, slots=True)
class Placement:
    """Where an asset's rows lie on the grid."""

    rows: slice
    """rows of the candles that are on it"""
    at: IntArray | None
    """instants of those rows; `None` where they fill the grid without a gap"""


def placed(candles: Candles, grid: Grid) -> Placement:
    """The rows of `candles` on the grid."""
    first = int(np.searchsorted(candles.open_time, grid.first_open_ms))
    last = int(np.searchsorted(candles.open_time, grid.end_ms))
    if last - first == grid.instants:
        return Placement(slice(first, last), None)
    return Placement(slice(first, last), (candles.open_time[first:last] - grid.first_open_ms) // grid.interval.ms)


def on_grid(columns: Sequence[FloatArray], placements: Sequence[Placement], grid: Grid) -> FloatArray:
    """One row per asset (a, m): its column on the grid, NaN (false, 0) where it has no bar.

    Always read-only: candles out of files are, and the kernel would be compiled once more for each mixture of flags.
    """
    if len(columns) == 1 and placements[0].at is None:
        return _read_only(np.ascontiguousarray(columns[0][placements[0].rows])[None, :])
    kind = columns[0].dtype
    table = np.full((len(columns), grid.instants), np.nan if kind == np.float64 else 0, dtype=kind)
    for row, column, place in zip(table, columns, placements, strict=True):
        row[slice(None) if place.at is None else place.at] = column[place.rows]
    return _read_only(table)


def market_arrays(markets: Sequence[AssetMarket], placements: Sequence[Placement], grid: Grid) -> MarketArrays:
    """Prices and funding of every asset on the grid."""
    prices = {
        name: on_grid([getattr(market.candles, name) for market in markets], placements, grid)
        for name in ("open", "high", "low", "close", "volume")
    }
    before = [_before(market.candles, place.rows.start) for market, place in zip(markets, placements, strict=True)]
    funding = [_funding(market, place, grid) for market, place in zip(markets, placements, strict=True)]
    pays = any(len(bars) for bars, _, _ in funding)
    shape = (len(markets), grid.instants if pays else 0)
    inside_bar, at_close = np.zeros(shape), np.zeros(shape)
    for a, (bars, closing, amounts) in enumerate(funding):
        np.add.at(inside_bar[a], bars[~closing], amounts[~closing])
        np.add.at(at_close[a], bars[closing], amounts[closing])
    return MarketArrays(
        **prices,
        funding_inside=inside_bar,
        funding_close=at_close,
        before_price=np.array([price for price, _ in before]),
        before_traded=np.array([traded for _, traded in before]),
    )


def signal_arrays(signals: Sequence[SignalPath | TargetPath], placements: Sequence[Placement], grid: Grid) -> SignalArrays:
    """What every asset's strategy wants, on the grid."""
    policies = [signal if isinstance(signal, SignalPath) else None for signal in signals]
    has_policy, has_target = any(policies), not all(policies)

    def table(name: str, kind: type, used: bool, missing: float = 0.0) -> Any:
        if not used:
            return _read_only(np.empty((len(signals), 0), dtype=kind))
        found = [getattr(signal, name, None) for signal in signals]
        columns: list[Any] = [np.asarray(_NOTHING if column is None else column, dtype=kind) for column in found]
        filled = [
            column if len(column) else np.full(place.rows.stop, missing, dtype=kind)
            for column, place in zip(columns, placements, strict=True)
        ]
        return on_grid(filled, placements, grid)

    wanted = [
        np.asarray(signal.score if isinstance(signal, SignalPath) else signal.fraction, dtype=np.float64) for signal in signals
    ]
    rows = max((len(signal.policies) for signal in policies if signal), default=0)
    numbers = np.zeros((len(signals), rows, 11))
    for a, signal in enumerate(policies):
        if signal is not None:
            numbers[a, : len(signal.policies)] = signal.policies
    return SignalArrays(
        is_policy=np.array([signal is not None for signal in policies]),
        wanted=on_grid(wanted, placements, grid),
        stop_distance=table("stop_distance", np.float64, has_target),
        volatility=table("volatility", np.float64, has_policy),
        atr_fraction=table("atr_fraction", np.float64, has_policy),
        size_multiplier=table("size_multiplier", np.float64, has_policy),
        policy_index=table("policy_index", np.int8, has_policy),
        tradable=table("tradable", np.bool_, has_policy),
        exposure_cap=table("exposure_cap", np.float64, has_policy, missing=np.inf),
        policies=numbers,
    )


def rule_arrays(markets: Sequence[AssetMarket], leverage: int) -> tuple[FloatArray, FloatArray]:
    """The venue's rules (7, a) at the account's leverage, and its maintenance tiers (a, k, 3), the last one repeated."""
    rules = np.array(
        [
            (
                *as_fraction(market.spec.tick),
                *as_fraction(market.spec.step),
                float(market.spec.max_quantity),
                float(market.spec.min_notional),
                float(market.spec.max_notional(leverage)),
            )
            for market in markets
        ]
    )
    most = max(len(market.spec.brackets) for market in markets)
    tiers = np.empty((len(markets), most, 3))
    for a, market in enumerate(markets):
        for k in range(most):
            tier = market.spec.brackets[min(k, len(market.spec.brackets) - 1)]
            tiers[a, k] = float(tier.cap), float(tier.ratio), float(tier.cum)
    return np.ascontiguousarray(rules.T), tiers


def account_numbers(params: BacktestParams, risk: RiskParams, grid: Grid) -> AccountNumbers:
    """The account, its costs and its limits as plain numbers."""
    costs = params.costs
    return AccountNumbers(
        start_ms=grid.start_ms,
        interval_ms=grid.interval.ms,
        bars_per_year=float(grid.interval.bars_per_year),
        capital=float(params.capital),
        leverage=float(params.leverage),
        taker_fee_bps=float(costs.taker_fee_bps),
        half_spread_bps=float(costs.half_spread_bps),
        impact_bps=float(costs.impact_bps),
        max_impact_bps=float(costs.max_impact_bps),
        stop_slippage_bps=float(costs.stop_slippage_bps),
        liquidation_fee_bps=float(costs.liquidation_fee_bps),
        max_asset_exposure=float(risk.max_asset_exposure),
        max_total_exposure=float(risk.max_total_exposure),
        max_drawdown=float(risk.max_drawdown),
        max_daily_loss=float(risk.max_daily_loss),
        max_net_exposure=float(risk.max_net_exposure),
        kelly_minimum_bars=int(risk.kelly_minimum_bars),
        kelly_fraction=float(risk.kelly_fraction),
        kelly_prior_bars=float(risk.kelly_prior_bars),
        kelly_floor=float(risk.kelly_floor),
        max_leverage=float(risk.max_leverage),
    )


def _read_only(table: FloatArray) -> FloatArray:
    table.flags.writeable = False
    return table


def _before(candles: Candles, row: int) -> tuple[float, float]:
    """Close and traded notional of the bar before `row`; the first open and nothing where there is none."""
    if row > 0:
        return float(candles.close[row - 1]), float(candles.close[row - 1] * candles.volume[row - 1])
    return float(candles.open[0]), 0.0


def _funding(market: AssetMarket, place: Placement, grid: Grid) -> tuple[IntArray, BoolArray, FloatArray]:
    """For each stamp (s,) the bar that it lies in or closes, whether it closes it, and rate · price.

    Stamps are floored to the minute; a stamp at an instant meets the price of that instant (the open that follows, if any).
    """
    if market.funding is None:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.bool_), np.zeros(0)
    stamps = np.asarray(market.funding[0], dtype=np.int64) // MINUTE_MS * MINUTE_MS
    chosen = (stamps > grid.start_ms) & (stamps <= grid.end_ms)
    stamps, rates = stamps[chosen], np.asarray(market.funding[1], dtype=np.float64)[chosen]
    candles, length = market.candles[: place.rows.stop], grid.interval.ms
    row = np.searchsorted(candles.open_time, stamps, side="right") - 1
    elapsed = stamps - candles.open_time[np.maximum(row, 0)]
    prices = np.where(row >= 0, candles.close[np.maximum(row, 0)], candles.open[0])
    at_open = (row >= 0) & (elapsed == 0)
    prices[at_open] = candles.open[row[at_open]]
    for k in np.flatnonzero((row >= 0) & (elapsed > 0) & (elapsed < length)):
        r = row[k]
        opened, high, low, close = (float(values[r]) for values in (candles.open, candles.high, candles.low, candles.close))
        prices[k] = price_on_path(opened, high, low, close, float(elapsed[k] / length))
    payment: Any = funding_payment  # of arrays: the same operations on each
    bars = -((grid.start_ms - stamps) // length)
    return bars, (stamps - grid.start_ms) % length == 0, -payment(1.0, prices, rates)
