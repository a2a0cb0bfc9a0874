"""The combiner: Σ(score · weight) / Σ|weight|, used inside each agent and for the consensus of all agents.

Scores in [-1, 1] give a result in [-1, 1] for any weights; where all weights are 0 the result is 0. A negative weight reads a
score against its sign.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from shared.domain.candles import FloatArray


def combine(parts: Iterable[tuple[FloatArray, FloatArray | float]], length: int) -> FloatArray:
    """Weighted mean (length,) of `(scores (length,), weight)` pairs; a weight is one number or one for each row.

    Parts are added one after the other, in their order: a row cannot depend on how many rows there are.
    """
    total, scale = np.zeros(length), np.zeros(length)
    for scores, weight in parts:
        total += scores * weight
        scale += np.abs(weight)
    return np.divide(total, scale, out=np.zeros(length), where=scale > 0)
