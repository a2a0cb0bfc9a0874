"""Machine-code twins of the helpers in `series.py`: one pass and no intermediate arrays, the same bits.

Only research imports this module (it needs numba); `series.py` says what each helper means.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from shared.compiled import compiled
from shared.domain.candles import BoolArray, FloatArray

_as_numpy = partial(compiled, error_model="numpy")


@_as_numpy
def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Twin of `series.ratio`."""
    result = np.empty(len(numerator))
    for row in range(len(numerator)):
        result[row] = numerator[row] / denominator[row] if denominator[row] > 0.0 else 0.0
    return result


@_as_numpy
def known_ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Twin of `series.known_ratio`."""
    result = np.empty(len(numerator))
    for row in range(len(numerator)):
        below = denominator[row]
        result[row] = numerator[row] / below if below > 0.0 else 0.0 if below == below else np.nan
    return result


@_as_numpy
def in_atr(distance: FloatArray, atr: FloatArray, close: FloatArray, still: float) -> FloatArray:
    """Twin of `series.in_atr`."""
    result = np.empty(len(distance))
    for row in range(len(distance)):
        below = atr[row]
        result[row] = distance[row] / below if below > still * close[row] else 0.0 if below == below else np.nan
    return result


@_as_numpy
def ramp(values: FloatArray, low: float, high: float) -> FloatArray:
    """Twin of `series.ramp`."""
    result = np.empty(len(values))
    for row in range(len(values)):
        place = (values[row] - low) / (high - low)
        result[row] = 0.0 if place < 0.0 else 1.0 if place > 1.0 else place
    return result


@_as_numpy
def bounded(values: FloatArray) -> FloatArray:
    """Twin of `series.bounded`."""
    result = np.empty(len(values))
    for row in range(len(values)):
        value = values[row] if np.isfinite(values[row]) else 0.0
        result[row] = -1.0 if value < -1.0 else 1.0 if value > 1.0 else value
    return result


@_as_numpy
def fading(event: BoolArray, bars: int) -> FloatArray:
    """Twin of `series.fading`."""
    result = np.empty(len(event))
    newest = -1
    for row in range(len(event)):
        if event[row]:
            newest = row
        result[row] = max(1.0 - (row - newest) / bars, 0.0) if newest >= 0 else 0.0
    return result
