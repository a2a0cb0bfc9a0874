"""What goes into the backtest kernel and what it keeps: named tuples of numbers and arrays, because numba understands those.

a assets over m instants of the common grid. Bar i closes at instant i; a bar that is missing is NaN in every price. Arrays are
float64 unless a line says otherwise. Amounts are whole numbers of quantity steps ("units"), so that a position is exactly flat.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.domain.candles import BoolArray, FloatArray, IntArray


class MarketArrays(NamedTuple):
    """Prices and funding, (a, m) each; funding arrays are (a, 0) where nobody pays any."""

    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    funding_inside: FloatArray
    """Σ rate · price of the stamps inside bar i: paid on what was held when it opened"""
    funding_close: FloatArray
    """rate · price of the stamp at instant i: paid on what is held after the stops of bar i"""
    before_price: FloatArray
    """(a,) newest close before bar 0, else the first open"""
    before_traded: FloatArray
    """(a,) notional of that bar"""


class SignalArrays(NamedTuple):
    """What each asset's strategy wants; (a, 0) where no asset needs the array."""

    is_policy: BoolArray
    """(a,) whether `wanted` is a score for the position policy, or else a fraction of equity"""
    wanted: FloatArray
    """(a, m); NaN is no decision"""
    stop_distance: FloatArray
    """(a, m), targets only"""
    volatility: FloatArray
    """(a, m), policies only, as are the next four"""
    atr_fraction: FloatArray
    size_multiplier: FloatArray
    policy_index: NDArray[np.int8]
    tradable: BoolArray
    policies: FloatArray
    """(a, p, 11) `PolicyParams`"""


class RuleArrays(NamedTuple):
    """The venue's rules, (a,) each."""

    tick_numerator: FloatArray
    tick_denominator: FloatArray
    step_numerator: FloatArray
    step_denominator: FloatArray
    max_quantity: FloatArray
    min_notional: FloatArray
    max_notional: FloatArray
    """largest position at the account's leverage"""
    tiers: FloatArray
    """(a, k, 3): notional cap, maintenance ratio, deduction"""


class AccountNumbers(NamedTuple):
    """The account, its costs and its risk limits."""

    start_ms: int
    interval_ms: int
    bars_per_year: float
    capital: float
    leverage: float
    taker_fee_bps: float
    half_spread_bps: float
    impact_bps: float
    max_impact_bps: float
    stop_slippage_bps: float
    liquidation_fee_bps: float
    max_asset_exposure: float
    max_total_exposure: float
    max_drawdown: float
    kelly_minimum_bars: int
    kelly_fraction: float
    kelly_prior_bars: float
    kelly_floor: float
    max_leverage: float


class State(NamedTuple):
    """What changes from bar to bar, (a,) each but the last."""

    units: FloatArray
    """signed position in steps"""
    quantity: FloatArray
    """the same in base units"""
    cost: FloatArray
    """signed quote amount that was paid for it"""
    stop_price: FloatArray
    stop_units: FloatArray
    """size of the resting stop, 0 where there is none"""
    wants_stop: BoolArray
    """whether the position may not be held without a stop"""
    frozen: BoolArray
    """liquidated by the venue: no new risk"""
    price: FloatArray
    """price at this instant"""
    last_close: FloatArray
    last_bar: IntArray
    """newest bar, -1 before the first"""
    funding: FloatArray
    """received minus paid"""
    fills: IntArray
    """(1,) how many there were"""
    money: FloatArray
    """(2,): wallet (initial + realised - fees + funding), and cash (initial - what was paid for positions - fees + funding)"""


class FillLog(NamedTuple):
    """Executions, (capacity,) each."""

    bar: IntArray
    asset: IntArray
    units: FloatArray
    price: FloatArray
    reference: FloatArray
    fee: FloatArray
    reason: IntArray
