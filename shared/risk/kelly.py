"""Quarter Kelly with a shrunk mean: how much of the equity the strategy's own record justifies.

For per-bar returns r of one unit of exposure, the growth-optimal exposure is μ/σ² (Kelly 1956; Thorp 2006, § 7). The mean is
shrunk towards zero by n/(n + n₀), a normal prior worth n₀ bars, and a quarter of the result is used: the estimate of μ is so
noisy that full Kelly is over-betting. Never negative; capped by the leverage limit.
"""

from __future__ import annotations

import math

import numpy as np

from shared.domain.candles import FloatArray
from shared.risk.params import RiskParams


def kelly_exposure(returns: FloatArray, params: RiskParams) -> float:
    """Exposure (|notional| / equity) in [0, max_leverage] from per-bar returns (n,) of one unit of exposure.

    Zero for a mean that is not positive; the leverage limit where the returns do not vary.
    """
    n = len(returns)
    if n == 0:
        return 0.0
    mean = float(np.mean(returns)) * n / (n + params.kelly_prior_bars)
    variance = float(np.var(returns))
    if mean <= 0:
        return 0.0
    if variance == 0:
        return params.max_leverage
    return min(params.kelly_fraction * mean / variance, params.max_leverage)


def kelly_cap(returns: FloatArray, params: RiskParams) -> float:
    """The cap that sizing uses: none but the leverage limit until there is a record, then Kelly, never below its floor.

    `returns` (n,) are per-bar returns of one unit of exposure while a position was held; NaN are ignored.
    """
    known = returns[np.isfinite(returns)]
    if len(known) < params.kelly_minimum_bars:
        return params.max_leverage
    exposure = kelly_exposure(known, params)
    return max(exposure, min(params.kelly_floor, params.max_leverage)) if math.isfinite(exposure) else params.max_leverage
