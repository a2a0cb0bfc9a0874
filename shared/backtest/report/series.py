"""Numbers as a plot wants them: few digits, missing values as null, long series thinned.

A series longer than `MAX_POINTS` is thinned by blocks: the lowest and the highest value of every block stay, so that no
drawdown and no spike is lost. Instants stay integers: ms UTC, as plotly's date axes read them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from shared.domain.candles import Candles, FloatArray, IntArray

MAX_POINTS = 7_000


def instants(times_ms: Iterable[int]) -> list[int]:
    """Instants as plain integers, ms UTC."""
    return [int(time_ms) for time_ms in times_ms]


def numbers(values: Iterable[float], digits: int = 7) -> list[float | int | None]:
    """`values` with `digits` significant digits, whole ones as integers; NaN and infinity become null."""
    return [_short(float(value), digits) for value in values]


def _short(value: float, digits: int) -> float | int | None:
    if not math.isfinite(value):
        return None
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() else rounded


def thinned_rows(values: FloatArray, limit: int = MAX_POINTS) -> IntArray:
    """Rows (m,) of `values` (n,) to draw, rising: all where n <= limit, else first, last, and each block's extremes."""
    count = len(values)
    if count <= limit:
        return np.arange(count, dtype=np.int64)
    known = np.where(np.isfinite(values), values, 0.0)
    rows = {0, count - 1}
    for block in np.array_split(np.arange(count), max(1, limit // 2 - 1)):
        rows |= {int(block[np.argmin(known[block])]), int(block[np.argmax(known[block])])}
    return np.array(sorted(rows), dtype=np.int64)


def merged_candles(
    candles: Candles, limit: int = MAX_POINTS
) -> tuple[IntArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Open times, open, high, low, close to draw: neighbouring bars are merged where there are more than `limit`."""
    step = merged_bars(candles, limit)
    starts = np.arange(0, len(candles), step)
    ends = np.minimum(starts + step, len(candles)) - 1
    high = np.maximum.reduceat(candles.high, starts) if len(candles) else candles.high
    low = np.minimum.reduceat(candles.low, starts) if len(candles) else candles.low
    return candles.open_time[starts], candles.open[starts], high, low, candles.close[ends]


def merged_bars(candles: Candles, limit: int = MAX_POINTS) -> int:
    """Neighbouring bars that `merged_candles` makes one of."""
    return max(1, math.ceil(len(candles) / limit))
