"""What a backtest gives back: plain arrays, one account over all assets, so that a sweep of thousands stays light.

Money is float64 quote currency here; the live books are Decimal. Instants are ms UTC.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.domain.asset import Asset
from shared.domain.candles import FloatArray, IntArray
from shared.domain.interval import Interval

Int8Array = np.ndarray[tuple[int], np.dtype[np.int8]]

OPEN, CHANGE, CLOSE, STOP, LIQUIDATION = range(5)
"""Why a fill happened: from flat, of a held position, to flat by decision, by its stop, by the venue."""


@dataclass(frozen=True, eq=False, slots=True)
class Fills:
    """Executions in time order, (k,) each."""

    time_ms: IntArray
    asset: Int8Array
    """position in `BacktestResult.assets`"""
    quantity: FloatArray
    """base units, signed"""
    price: FloatArray
    reference: FloatArray
    """price before half-spread, impact and stop slippage: what is lost against it is the cost of execution"""
    fee: FloatArray
    reason: Int8Array


@dataclass(frozen=True, eq=False, slots=True)
class RoundTrips:
    """Positions from flat to flat (or to the other side) in the order of their end, (k,) each."""

    asset: Int8Array
    side: Int8Array
    """+1 long, -1 short"""
    quantity: FloatArray
    """largest size held"""
    entry_price: FloatArray
    """average"""
    exit_price: FloatArray
    opened_ms: IntArray
    closed_ms: IntArray
    profit: FloatArray
    """realised profit minus fees, without funding"""
    fees: FloatArray
    exit_reason: Int8Array


@dataclass(frozen=True, eq=False)
class BacktestResult:
    """One run over m bar closes and a assets. `equity[i]` is marked at the close of bar i, open loss included."""

    label: str
    interval: Interval
    assets: tuple[Asset, ...]
    initial: float
    time_ms: IntArray
    """(m,) bar closes, the first being the close at which the first decision is made"""
    equity: FloatArray
    """(m,)"""
    wallet: FloatArray
    """(m,) initial + realised + fees + funding"""
    exposure: FloatArray
    """(m,) sum of |notional| after the trades of that close, quote currency"""
    position: FloatArray
    """(m, a) signed base units after those trades"""
    fills: Fills
    trades: RoundTrips
    funding: FloatArray
    """(a,) received minus paid"""
    halts: IntArray
    """(h, 3): instant, end (-1: latched), drawdown in basis points (negative: the loss of a day that was beyond its limit)"""
    identity_error: float
    """largest |Σ(realised + fees + funding) + unrealised - Δequity| over all bars, relative to the initial capital"""

    @property
    def returns(self) -> FloatArray:
        """Simple returns per bar (m,), the first against the initial capital."""
        before = np.concatenate([[self.initial], self.equity[:-1]])
        changes: FloatArray = self.equity / before - 1.0
        return changes
