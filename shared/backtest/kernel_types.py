"""What goes into the backtest kernel and what it keeps: named tuples of numbers and arrays, because numba understands those.

a assets over m instants of the common grid. Bar i closes at instant i; a bar that is missing is NaN in every price. Arrays are
float64 unless a line says otherwise. Amounts are whole numbers of quantity steps ("units"), so that a position is exactly flat.
What changes hands on every fill is packed into few arrays: a call copies the description of each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.domain.candles import BoolArray, FloatArray


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
    """(a, m), policies only, as are the next five"""
    atr_fraction: FloatArray
    size_multiplier: FloatArray
    policy_index: NDArray[np.int8]
    tradable: BoolArray
    exposure_cap: FloatArray
    """largest |notional| / equity by the value at risk"""
    policies: FloatArray
    """(a, p, 11) `PolicyParams`"""


TICK_NUMERATOR, TICK_DENOMINATOR, STEP_NUMERATOR, STEP_DENOMINATOR, MAX_QUANTITY, MIN_NOTIONAL, MAX_NOTIONAL = range(7)
"""Rows of the venue's rules (7, a); `MAX_NOTIONAL` is the largest position at the account's leverage."""

UNITS, QUANTITY, COST, STOP_PRICE, STOP_UNITS, WANTS_STOP, FROZEN, PRICE, LAST_CLOSE, FUNDING = range(10)
"""Rows of the state (10, a): signed position in steps and in base units, the signed amount that was paid for it, price and size
(0: none) of its resting stop, whether it may not be held without one, whether the venue has liquidated it (no new risk), the
price at this instant, the newest close, and the funding received minus paid."""

WALLET, CASH, FILLS = range(3)
"""Entries of the money (3,): the wallet (initial + realised - fees + funding), cash (initial - paid for positions - fees +
funding), and how many fills there were."""

BAR, ASSET, CHANGED, FILL_PRICE, REFERENCE, FEE, REASON = range(7)
"""Columns of the log of fills (capacity, 7)."""


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
    max_daily_loss: float
    max_net_exposure: float
    kelly_minimum_bars: int
    kelly_fraction: float
    kelly_prior_bars: float
    kelly_floor: float
    max_leverage: float
