"""The regime allocation over a history, in machine code: the source of `allocation.multiplier`, compiled.

Only research imports this module (it needs numba).
"""

from __future__ import annotations

import numpy as np

from shared.compiled import compiled
from shared.domain.candles import FloatArray
from shared.risk.allocation import Levels, multiplier

_multiplier = compiled(multiplier)


@compiled
def multipliers(probabilities: FloatArray, levels: Levels) -> FloatArray:
    """`allocation.multiplier` of each row of `probabilities` (n, 3): (n,)."""
    sizes = np.empty(len(probabilities))
    for row in range(len(probabilities)):
        sizes[row] = _multiplier(probabilities[row, 0], probabilities[row, 1], probabilities[row, 2], levels)
    return sizes
