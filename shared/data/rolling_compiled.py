"""Machine-code twins of the loops in `rolling.py`: the same scheme, the same operations in the same order, the same bits.

Only research imports this module (it needs numba); `rolling.py` says what the formulas are.
"""

from __future__ import annotations

import numpy as np

from shared.compiled import compiled
from shared.domain.candles import BoolArray, FloatArray, IntArray


def _window_moments(values: FloatArray, bars: int, order: int, mean: FloatArray, second: FloatArray, third: FloatArray) -> None:
    """Mean and sums of the 2nd … `order`-th powers of each window into (n,) arrays; unused ones may be empty."""
    n = len(values)
    sums, squares, cubes = np.empty(bars), np.empty(bars), np.empty(bars)
    tail_mean, tail_second, tail_third = np.empty(bars), np.empty(bars), np.empty(bars)
    for start in range(0, n, bars):
        size = min(bars, n - start)
        first = values[start]
        total, total2, total3 = 0.0, 0.0, 0.0
        for i in range(size):
            centred = values[start + i] - first
            total += centred
            sums[i] = total
            if order >= 2:
                square = centred * centred
                total2 += square
                squares[i] = total2
                if order >= 3:
                    total3 += square * centred
                    cubes[i] = total3
        whole = start > 0
        for i in range(size):
            count = i + 1.0
            shift = sums[i] / count
            head_mean = first + shift
            head_second, head_third = 0.0, 0.0
            if order >= 2:
                head_second = squares[i] - count * shift * shift
                if head_second < 0.0:
                    head_second = 0.0
                if order >= 3:
                    head_third = cubes[i] - shift * (3.0 * squares[i] - 2.0 * count * shift * shift)
            if i == bars - 1:
                mean[start + i] = head_mean
                if order >= 2:
                    second[start + i] = head_second
                    if order >= 3:
                        third[start + i] = head_third
            elif whole:
                n_tail = bars - count
                delta = head_mean - tail_mean[i + 1]
                mean[start + i] = tail_mean[i + 1] + delta * (count / bars)
                if order >= 2:
                    second[start + i] = tail_second[i + 1] + head_second + delta * delta * (n_tail * count / bars)
                    if order >= 3:
                        cubed = delta * delta * delta * (n_tail * count * (n_tail - count) / bars**2)
                        skewed = 3.0 * delta * (n_tail * head_second - count * tail_second[i + 1]) / bars
                        third[start + i] = tail_third[i + 1] + head_third + cubed + skewed
            else:
                mean[start + i] = np.nan
                if order >= 2:
                    second[start + i] = np.nan
                    if order >= 3:
                        third[start + i] = np.nan
        if size < bars:
            break
        last = values[start + bars - 1]
        total, total2, total3 = 0.0, 0.0, 0.0
        for i in range(bars - 1, -1, -1):
            centred = values[start + i] - last
            total += centred
            sums[i] = total
            if order >= 2:
                square = centred * centred
                total2 += square
                squares[i] = total2
                if order >= 3:
                    total3 += square * centred
                    cubes[i] = total3
        for i in range(bars):
            count = float(bars - i)
            shift = sums[i] / count
            tail_mean[i] = last + shift
            if order >= 2:
                spread = squares[i] - count * shift * shift
                if spread < 0.0:
                    spread = 0.0
                tail_second[i] = spread
                if order >= 3:
                    tail_third[i] = cubes[i] - shift * (3.0 * squares[i] - 2.0 * count * shift * shift)


_compiled_moments = compiled(_window_moments, error_model="numpy")


def window_moments(values: FloatArray, bars: int, order: int) -> list[FloatArray]:
    """Twin of `rolling._moments`."""
    results = [np.empty(len(values) if power < order else 0) for power in range(3)]
    _compiled_moments(np.ascontiguousarray(values, dtype=np.float64), bars, order, *results)
    return results[:order]


@compiled
def bars_since(event: BoolArray) -> IntArray:
    """Twin of `rolling.bars_since`."""
    ages = np.empty(len(event), dtype=np.int64)
    age = 0
    for row in range(len(event)):
        age = 0 if event[row] else age + 1
        ages[row] = age
    return ages
