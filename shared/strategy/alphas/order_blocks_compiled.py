"""Machine-code twin of the support that order blocks give: the rules of `order_block_quality.py`, the same bits.

Only research imports this module (it needs numba). The exponential is numpy's in both forms: machine code would round it
differently, so the blocks are found first, then all their distances, then one exponential over all of them.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from shared.compiled import compiled
from shared.domain.candles import FloatArray, IntArray

_as_numpy = partial(compiled, error_model="numpy")


@_as_numpy
def _find(
    side: float,
    prices: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    scale: tuple[FloatArray, FloatArray],
    swing_bars: int,
    displacement_atr: float,
    max_age_bars: int,
    full_displacement: float,
    still: float,
    spans: IntArray,
    levels: FloatArray,
) -> int:
    """Blocks in the order in which they become known: (known, last) into `spans`, (top, bottom, strength) into `levels`.

    `side` is 1 for bullish blocks and -1 for bearish ones; `prices` are open, high, low, close as quoted, high and low
    exchanged for bearish ones; `scale` is ATR and volume z. Returns how many there are.
    """
    opened, high, low, close = prices
    atr, volume_z = scale
    n, count, swing, opposite = len(close), 0, -1, -1
    for row in range(n):
        if row >= 2 * swing_bars:
            centre = row - swing_bars
            confirmed = True
            for other in range(row - 2 * swing_bars, centre):
                if side * high[other] >= side * high[centre]:
                    confirmed = False
                    break
            if confirmed:
                for other in range(centre + 1, row + 1):
                    if side * high[other] > side * high[centre]:
                        confirmed = False
                        break
            if confirmed:
                swing = centre
        displaced = False
        body = 0.0
        if swing >= 0 and row - swing <= max_age_bars and side * close[row] > side * high[swing] and atr[row] == atr[row]:
            if atr[row] > still * close[row]:
                body = side * (close[row] - opened[row]) / atr[row]
            displaced = body >= displacement_atr
        if displaced and opposite >= 0 and row - opposite <= max_age_bars:
            top = side * high[opposite]
            last = min(row + max_age_bars, n - 1)
            for later in range(row + 1, last + 1):
                if side * low[later] <= top:
                    last = later
                    break
            volume = 0.5 + (volume_z[row] if volume_z[row] == volume_z[row] else 0.0) / 6.0
            volume = min(max(volume, 0.0), 1.0)
            spans[count, 0], spans[count, 1] = row, last
            levels[count, 0], levels[count, 1] = top, side * low[opposite]
            levels[count, 2] = 0.5 * (min(body / full_displacement, 1.0) + volume)
            count += 1
        if side * close[row] < side * opened[row]:
            opposite = row
    return count


@_as_numpy
def _exponents(
    side: float, close: FloatArray, atr: FloatArray, spans: IntArray, levels: FloatArray, reach: float, result: FloatArray
) -> None:
    """-(distance to the block in ATR) / reach of each block's rows, one block after the other."""
    cell = 0
    for block in range(len(spans)):
        for row in range(spans[block, 0], spans[block, 1] + 1):
            result[cell] = -(max(side * close[row] - levels[block, 0], 0.0) / atr[row]) / reach
            cell += 1


@_as_numpy
def _strongest(
    side: float,
    close: FloatArray,
    spans: IntArray,
    levels: FloatArray,
    max_age_bars: int,
    nearness: FloatArray,
    best: FloatArray,
) -> None:
    """Best strength · freshness · nearness of all blocks at each row, into `best` (n,)."""
    cell = 0
    for block in range(len(spans)):
        for row in range(spans[block, 0], spans[block, 1] + 1):
            value = levels[block, 2] * (1.0 - (row - spans[block, 0]) / max_age_bars) * nearness[cell]
            cell += 1
            if side * close[row] < levels[block, 1]:
                value = 0.0
            if value > best[row] or value != value:
                best[row] = value


def support(
    prices: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    scale: tuple[FloatArray, FloatArray],
    *,
    bullish: bool,
    swing_bars: int,
    displacement_atr: float,
    max_age_bars: int,
    full_displacement: float,
    reach: float,
    still: float,
) -> FloatArray:
    """Twin of `order_block_quality._support` for open, high, low, close and (ATR, volume z), (n,) each: (n,) in [0, 1]."""
    (opened, high, low, close), (atr, volume_z) = (tuple(map(np.ascontiguousarray, columns)) for columns in (prices, scale))
    n, side = len(close), 1.0 if bullish else -1.0
    sides = (opened, high, low, close) if bullish else (opened, low, high, close)
    spans, levels = np.empty((n, 2), dtype=np.int64), np.empty((n, 3))
    count = _find(
        side, sides, (atr, volume_z), swing_bars, displacement_atr, max_age_bars, full_displacement, still, spans, levels
    )
    spans, levels = spans[:count].copy(), levels[:count].copy()
    exponents = np.empty(int((spans[:, 1] - spans[:, 0] + 1).sum()))
    _exponents(side, close, atr, spans, levels, reach, exponents)
    best = np.zeros(n)
    _strongest(side, close, spans, levels, max_age_bars, np.exp(exponents, out=exponents), best)
    return best
