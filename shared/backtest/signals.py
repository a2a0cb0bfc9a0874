"""What a strategy wants of one asset at the close of each bar, before account, costs and risk limits have spoken.

Two forms. `SignalPath` feeds the position policy of the live session: score, volatility and the regime's policy for each bar.
`TargetPath` is a wanted position as such, for simple strategies. Row i belongs to bar i of the asset's candles and is known at
its close; what follows from it is filled at the next open.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from shared.domain.candles import BoolArray, Candles, FloatArray
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
    exposure_cap: FloatArray | None = None
    """(n,) largest |notional| / equity by the value at risk (`risk/caps.py`); `None` is no such cap"""


@dataclass(frozen=True, eq=False, slots=True)
class TargetPath:
    """A wanted position for each of n bars, as signed notional / equity; NaN keeps what is held."""

    fraction: FloatArray
    """(n,)"""
    stop_distance: FloatArray
    """(n,) distance of the protective stop as a fraction of the close; 0 is no stop"""


AnySignal = TypeVar("AnySignal", SignalPath, TargetPath)


def closed_at_the_end(signal: AnySignal, candles: Candles, end_ms: int) -> AnySignal:
    """The signal of an asset whose candles (n bars) end before `end_ms` and that is not traded after its last bar.

    Its last row wants no position. No open follows, so that what is held is closed at the last close, with costs. A signal
    whose candles reach `end_ms` is returned as it is.
    """
    if not len(candles) or int(candles.close_time[-1]) >= end_ms:
        return signal
    if isinstance(signal, SignalPath):
        return replace(signal, score=_zero_at_last(signal.score))
    return replace(signal, fraction=_zero_at_last(signal.fraction))


def _zero_at_last(values: FloatArray) -> FloatArray:
    changed = values.copy()
    changed[-1] = 0.0
    return changed
