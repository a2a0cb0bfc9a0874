"""e^x of an array as machine code: the C library's function takes one number at a time, this loop as many as there are lanes.

    e^x = 2^k e^r,   k = round(x / ln 2),   |r| ≤ ln 2 / 2,   e^r by its Taylor series (Muller, Elementary Functions, § 11)
To one unit in the last place, on every processor alike. A third of expectation-maximisation is exponentials.
"""

from __future__ import annotations

import math

import numpy as np

from shared.compiled import compiled
from shared.domain.candles import FloatArray

_LN2_HIGH, _LN2_LOW = float.fromhex("0x1.62e42fefa3800p-1"), float.fromhex("0x1.ef35793c76730p-45")
"""ln 2 in two parts: k times the first is exact."""
_PER_LN2 = 1.4426950408889634
_TO_INTEGER = 1.5 * 2.0**52
"""Added to a number, leaves the nearest integer in its last bits."""
_SMALLEST = -708.0
"""Below, e^x is no normal number."""
_TAYLOR = tuple(1.0 / math.factorial(power) for power in range(13, -1, -1))


@compiled
def exponentials(values: FloatArray, room: FloatArray) -> None:
    """e^x in place for x (n,) up to 708, zero below −708; `room` (n,) is written over."""
    for t in range(len(values)):
        x = max(values[t], _SMALLEST)
        room[t] = x * _PER_LN2 + _TO_INTEGER
        k = room[t] - _TO_INTEGER
        r = (x - k * _LN2_HIGH) - k * _LN2_LOW
        power = 0.0
        for coefficient in _TAYLOR:
            power = power * r + coefficient
        values[t] = power if values[t] >= _SMALLEST else 0.0
    bits, k_bits = values.view(np.int64), room.view(np.int64)
    for t in range(len(values)):
        bits[t] += k_bits[t] << 52 if values[t] > 0.0 else 0
