"""How much to hold, given the consensus and what is held: volatility targeting with hysteresis.

    size(s)  = min(target volatility / annual volatility · multiplier · min(|s| / full score, 1), leverage limit, Kelly cap)
    wanted   = sign(s)·size(s)                  where |s| >= entry threshold
             = sign(s)·min(|held|, size(entry)) where the position has the sign of s and |s| >= exit threshold
             = 0                                otherwise

The wanted position replaces the held one only if it differs by more than a relative band, ends or reverses it, or the held one
breaks the cap. Invariants: never beyond the cap; not decreasing in the score; opening and reversing take the entry threshold.
One function on plain floats: the backtest kernel compiles this source, the live session calls it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from shared.strategy.params import PolicyParams


class PolicyTarget(NamedTuple):
    """The wanted position and where its protective stop belongs."""

    fraction: float
    """signed notional / equity"""
    stop_distance: float
    """distance of the stop from the price as a fraction of it; 0 where no position is wanted"""


def target_position(
    score: float,
    held_fraction: float,
    volatility: float,
    bars_per_year: float,
    atr_fraction: float,
    size_multiplier: float,
    kelly_cap: float,
    params: PolicyParams,
) -> PolicyTarget:
    """The position to hold after this bar.

    `score` consensus in [-1, 1]; `held_fraction` signed notional / equity now; `volatility` standard deviation of the log
    returns per bar; `atr_fraction` ATR / price; `size_multiplier` of the regime allocation; `kelly_cap` largest |notional| /
    equity that Kelly allows. An unknown (NaN) input ends in no position. Raises nothing.
    """
    cap = max(min(params.max_leverage, kelly_cap), 0.0)
    annual = max(volatility * math.sqrt(bars_per_year), params.minimum_volatility)
    budget = params.target_volatility / annual * max(size_multiplier, 0.0)
    if math.isnan(kelly_cap) or not math.isfinite(score + held_fraction + volatility + atr_fraction + budget):
        return PolicyTarget(0.0, 0.0)

    strength = max(abs(score), params.entry_threshold)
    size = min(budget * min(strength / params.full_score, 1.0), cap)
    if abs(score) < params.entry_threshold:
        stays = held_fraction * score > 0.0 and abs(score) >= params.exit_threshold
        size = min(size, abs(held_fraction)) if stays else 0.0
    wanted = math.copysign(size, score) if size >= params.minimum_fraction else 0.0

    same_side, allowed = wanted * held_fraction > 0.0, abs(held_fraction) <= cap
    change, larger = abs(wanted - held_fraction), max(abs(wanted), abs(held_fraction))
    if same_side and allowed and change <= params.rebalance_band * larger:
        wanted = held_fraction
    if wanted == 0.0:
        return PolicyTarget(0.0, 0.0)
    return PolicyTarget(wanted, min(max(params.stop_atr * atr_fraction, params.minimum_stop), params.maximum_stop))
