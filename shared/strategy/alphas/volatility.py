"""Volatility expansion: a move counts when volatility grows with it.

    expansion = tanh(2 ln(current volatility / usual volatility)), 0 in a contraction
    direction = tanh((close - Bollinger middle) / (momentum_atr · ATR))

A contraction scores 0: it announces a move but not its side.
"""

from __future__ import annotations

import numpy as np

from shared.domain.candles import FloatArray
from shared.domain.frame import Frame
from shared.strategy.params import StrategyParams
from shared.strategy.series import bounded, in_atr, volatility_ratio


def volatility(frame: Frame, params: StrategyParams) -> FloatArray:
    """Score (n,) in [-1, 1]: the sign of the move, the size of the expansion; 0 in a contraction and in the warm-up."""
    return _score(frame, params, volatility_ratio(frame, params.volatility_long_bars))


def _score(frame: Frame, params: StrategyParams, relative: FloatArray) -> FloatArray:
    expansion = np.tanh(2.0 * np.log(np.fmax(relative, 1.0)))
    direction = np.tanh(in_atr(frame["close"] - frame["bollinger_middle"], frame) / params.momentum_atr)
    return bounded(np.where(np.isnan(relative), 0.0, expansion * direction))


def describe_volatility(frame: Frame, score: float, params: StrategyParams) -> str:
    """What the alpha saw on the last row."""
    relative = float(volatility_ratio(frame, params.volatility_long_bars)[-1])
    if np.isnan(relative):
        return "usual volatility not known yet"
    kind = "expanding" if relative > 1 else "contracting"
    side = {1.0: ", price above its average", -1.0: ", price below its average"}.get(float(np.sign(score)), "")
    return f"volatility {kind}: {relative:.2f} × its usual level{side}"
