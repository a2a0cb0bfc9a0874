"""Quarter Kelly with a shrunk mean: how much of the equity the strategy's own record justifies.

For per-bar returns r of one unit of exposure, the growth-optimal exposure is μ/σ² (Kelly 1956; Thorp 2006, § 7). The mean is
shrunk towards zero by n/(n + n₀), a normal prior worth n₀ bars, and a quarter of the result is used: the estimate of μ is so
noisy that full Kelly is over-betting. Never negative; capped by the leverage limit.
Live sizing and the backtest kernel keep moments (`UnitReturns`), so that a bar costs the same however long the record is: the
kernel compiles the source that live sizing calls.
"""

from __future__ import annotations

import math

import numpy as np

from shared.domain.candles import FloatArray
from shared.domain.records import UnitReturns
from shared.risk.params import RiskParams


def shrunk_kelly(count: int, mean: float, variance: float, fraction: float, prior_bars: float, max_leverage: float) -> float:
    """Exposure in [0, max_leverage] from the moments of `count` per-bar returns: fraction · shrunk mean / variance.

    Zero for a mean that is not positive; the leverage limit where the returns do not vary.
    """
    if count == 0:
        return 0.0
    shrunk = mean * count / (count + prior_bars)
    if shrunk <= 0:
        return 0.0
    if variance == 0:
        return max_leverage
    return min(fraction * shrunk / variance, max_leverage)


def sizing_cap(count: int, kelly: float, minimum_bars: int, floor: float, max_leverage: float) -> float:
    """The cap that sizing uses: the leverage limit until there is a record of `minimum_bars`, then Kelly above its floor."""
    if count < minimum_bars or not math.isfinite(kelly):
        return max_leverage
    return max(kelly, min(floor, max_leverage))


def extended(record: UnitReturns, earned: float) -> UnitReturns:
    """The record with one more return (Welford 1962)."""
    bars, delta = record.bars + 1, earned - record.mean
    mean = record.mean + delta / bars
    return UnitReturns(bars, mean, record.spread + delta * (earned - mean))


def recorded_cap(record: UnitReturns, params: RiskParams) -> float:
    """`kelly_cap` of a record of which only the moments are kept."""
    variance = record.spread / record.bars if record.bars else 0.0
    kelly = shrunk_kelly(
        record.bars, record.mean, variance, params.kelly_fraction, params.kelly_prior_bars, params.max_leverage
    )
    return sizing_cap(record.bars, kelly, params.kelly_minimum_bars, params.kelly_floor, params.max_leverage)


def kelly_exposure(returns: FloatArray, params: RiskParams) -> float:
    """Exposure (|notional| / equity) in [0, max_leverage] from per-bar returns (n,) of one unit of exposure.

    Zero for a mean that is not positive; the leverage limit where the returns do not vary.
    """
    n = len(returns)
    mean, variance = (float(np.mean(returns)), float(np.var(returns))) if n else (0.0, 0.0)
    return shrunk_kelly(n, mean, variance, params.kelly_fraction, params.kelly_prior_bars, params.max_leverage)


def kelly_cap(returns: FloatArray, params: RiskParams) -> float:
    """The cap that sizing uses: none but the leverage limit until there is a record, then Kelly, never below its floor.

    `returns` (n,) are per-bar returns of one unit of exposure while a position was held; NaN are ignored.
    """
    known = returns[np.isfinite(returns)]
    if len(known) < params.kelly_minimum_bars:
        return params.max_leverage  # as `sizing_cap` says, without the moments that it would not look at
    kelly = kelly_exposure(known, params)
    return sizing_cap(len(known), kelly, params.kelly_minimum_bars, params.kelly_floor, params.max_leverage)
