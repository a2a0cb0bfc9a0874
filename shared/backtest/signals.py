"""What a strategy wants of one asset at the close of each bar, before account, costs and risk limits have spoken.

Two forms. `SignalPath` feeds the position policy of the live session: score, volatility and the regime's policy for each bar.
`TargetPath` is a wanted position as such, for simple strategies. Row i belongs to bar i of the asset's candles and is known at
its close; what follows from it is filled at the next open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.domain.candles import BoolArray, FloatArray
from shared.strategy.params import PolicyParams


@dataclass(frozen=True, eq=False, slots=True)
class SignalPath:
    """Inputs of `policy.target_position` over n bars. A NaN score is a bar without a decision: what is held stays."""

    score: FloatArray
    """(n,) consensus in [-1, 1]"""
    volatility: FloatArray
    """(n,) standard deviation of log returns per bar"""
    atr_fraction: FloatArray
    """(n,) ATR / close"""
    size_multiplier: FloatArray
    """(n,) factor of the regime allocation"""
    policy_index: np.ndarray[tuple[int], np.dtype[np.int8]]
    """(n,) row of `policies` that applies: the playbook of the held regime"""
    policies: tuple[PolicyParams, ...]
    tradable: BoolArray
    """(n,) false while the market is frozen: positions may shrink, not grow"""


@dataclass(frozen=True, eq=False, slots=True)
class TargetPath:
    """A wanted position for each of n bars, as signed notional / equity; NaN keeps what is held."""

    fraction: FloatArray
    """(n,)"""
    stop_distance: FloatArray
    """(n,) distance of the protective stop as a fraction of the close; 0 is no stop"""
