"""Momentum: direction × trend strength.

    direction = mean of tanh((EMA fast - EMA slow) / (momentum_atr · ATR)) and (+DI - -DI) / (+DI + -DI)
    strength  = ADX from `adx_floor` (0) to `adx_full` (1)

ADX says how strong a trend is and not where it goes (Wilder 1978); the averages and the directional indices say where.
"""

from __future__ import annotations

import numpy as np

from shared.domain.candles import FloatArray
from shared.domain.frame import Frame
from shared.strategy.params import StrategyParams
from shared.strategy.series import bounded, in_atr, ramp, ratio


def momentum(frame: Frame, params: StrategyParams) -> FloatArray:
    """Score (n,) in [-1, 1]: positive in an uptrend; 0 without a trend and in the warm-up."""
    averages = np.tanh(in_atr(frame["ema_fast"] - frame["ema_slow"], frame) / params.momentum_atr)
    plus, minus = frame["plus_di"], frame["minus_di"]
    strength = ramp(frame["adx"], params.adx_floor, params.adx_full)
    return bounded(0.5 * (averages + ratio(plus - minus, plus + minus)) * strength)


def describe_momentum(frame: Frame, score: float, params: StrategyParams) -> str:
    """What the alpha saw on the last row."""
    adx = float(frame["adx"][-1])
    if np.isnan(adx):
        return "trend not known yet"
    if score == 0.0:
        return f"no trend: ADX {adx:.0f} (a trend counts from {params.adx_floor:g})"
    side = "up" if score > 0 else "down"
    return f"trend {side}: ADX {adx:.0f}, +DI {float(frame['plus_di'][-1]):.0f}, -DI {float(frame['minus_di'][-1]):.0f}"
