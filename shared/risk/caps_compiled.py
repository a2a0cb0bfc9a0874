"""The exposure caps of a history, in machine code, to the bit those of `caps.exposure_cap` on each trailing window.

Only the largest moves of a window matter. They are kept in a short list; it is made anew when one of them leaves the window,
which happens about once in a hundred bars. Only research imports this module (it needs numba).
"""

from __future__ import annotations

import math

import numpy as np

from shared.compiled import compiled
from shared.domain.candles import FloatArray
from shared.domain.interval import Interval
from shared.risk.caps import between, cap_of, var_place
from shared.risk.params import RiskParams

_between = compiled(between)
_cap_of = compiled(cap_of)


def exposure_caps(closes: FloatArray, interval: Interval, params: RiskParams) -> FloatArray:
    """`caps.exposure_cap` at every bar of `closes` (n,): (n,), infinite before there are `var_bars` returns."""
    window = params.var_bars
    caps = np.full(len(closes), math.inf)
    if len(closes) > window:
        place = var_place(window)
        kept = window - math.floor(place)
        _walk(closes, window, kept, place - math.floor(place), math.sqrt(interval.bars_per_day), params.var_limit, caps)
    return caps


@compiled
def _walk(
    closes: FloatArray, window: int, kept: int, part: float, root_bars_per_day: float, limit: float, caps: FloatArray
) -> None:
    moves = np.empty(len(closes))
    moves[0] = 0.0
    for row in range(1, len(closes)):
        moves[row] = abs(closes[row] / closes[row - 1] - 1.0)
    largest = np.empty(kept)  # falling
    fresh = False
    for row in range(window, len(closes)):
        if fresh and moves[row - window] < largest[kept - 1]:
            _insert(largest, moves[row])
        else:
            largest[:] = -1.0
            for inside in range(row - window + 1, row + 1):
                _insert(largest, moves[inside])
            fresh = True
        caps[row] = _cap_of(_between(largest[kept - 1], largest[kept - 2], part), root_bars_per_day, limit)


@compiled
def _insert(largest: FloatArray, move: float) -> None:
    """Put `move` among the largest ones, if it belongs there."""
    place = len(largest) - 1
    if not move > largest[place]:
        return
    while place > 0 and move > largest[place - 1]:
        largest[place] = largest[place - 1]
        place -= 1
    largest[place] = move
