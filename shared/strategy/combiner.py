"""The combiner: Σ(score · weight) / Σ|weight|, used inside each agent and for the consensus of all agents.

Scores in [-1, 1] give a result in [-1, 1] for any weights; where all weights are 0 the result is 0. A negative weight reads a
score against its sign.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from shared.domain.candles import FloatArray


def combine(parts: Iterable[tuple[FloatArray, FloatArray | float]], length: int) -> FloatArray:
    """Weighted mean (length,) of `(scores (length,), weight)` pairs; a weight is one number or one for each row.

    Parts are added one after the other, in their order: a row cannot depend on how many rows there are.
    """
    total = np.zeros(length)
    scale: Any = 0.0  # stays a number where all weights are numbers
    for scores, weight in parts:
        total += scores * weight
        scale += abs(weight)
    if not isinstance(scale, np.ndarray):
        return total / scale if scale > 0 else np.zeros(length)
    return np.divide(total, scale, out=np.zeros(length), where=scale > 0)
