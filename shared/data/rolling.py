"""Statistics of a trailing window, each from the values of its own window only, in O(n).

TA-Lib's SMA, STDDEV and BBANDS keep running sums of x and x². The rounding of a price of 10^5 then stays in the sum for ever:
on a frozen series the "variance" becomes noise around 0, and the value depends on where the series started. Here the series is
cut into blocks as long as the window (van Herk's scheme): a window is the tail of one block and the head of the next. Both are
cumulative moments, centred on a value of their own, merged by the formulas of Chan, Golub and LeVeque (1979) and Pébay (2008):

    δ = mean_b - mean_a,  M2 = M2_a + M2_b + δ² n_a n_b / n
    M3 = M3_a + M3_b + δ³ n_a n_b (n_a - n_b) / n² + 3 δ (n_a M2_b - n_b M2_a) / n

A constant window deviates by exactly 0, and nothing outside a window can enter it, not even by rounding. Long arrays take the
machine-code twins in `rolling_compiled.py`, which give the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from shared.domain.candles import BoolArray, FloatArray, IntArray
from shared.speed import takes_twin

_CHUNK_VALUES = 1 << 14
"""values in work at a time: they fit the cache, and memory does not grow with the length"""
_NEGLIGIBLE = 1e-12
"""standard deviations below this are rounding, not movement (for quantities of order 1: log returns, log volumes)"""


def window_mean(values: FloatArray, bars: int) -> FloatArray:
    """Mean of the last `bars` values; (n,) -> (n,), NaN in the first `bars - 1` rows and where a value of the window is NaN."""
    return _moments(values, bars, order=1)[0]


def window_means(columns: Sequence[FloatArray], bars: int) -> list[FloatArray]:
    """`window_mean` of several columns of the same length: the same bits, with the numpy calls of one where they are short."""
    rows = len(columns[0])
    if takes_twin(rows) or rows < bars:
        return [window_mean(values, bars) for values in columns]
    space = -(-rows // bars) * bars  # every column begins with a block of its own
    joined = np.zeros(len(columns) * space)
    for start, values in enumerate(columns):
        joined[start * space : start * space + rows] = values
    means = _moments_in_chunks(joined, bars, order=1)[0].reshape(len(columns), space)[:, :rows]
    means[:, : bars - 1] = np.nan  # windows that reach into the column before
    return list(means)


def window_mean_std(values: FloatArray, bars: int) -> tuple[FloatArray, FloatArray]:
    """Mean and population standard deviation (divisor n) of the last `bars` values; shapes and NaN as `window_mean`."""
    mean, second = _moments(values, bars, order=2)
    return mean, np.sqrt(second / bars)


def window_skewness(values: FloatArray, bars: int) -> FloatArray:
    """Population skewness m3 / m2^1.5 of the last `bars` values, 0 where they do not move; NaN as `window_mean`."""
    _, second, third = _moments(values, bars, order=3)
    variance = second / bars
    moves = ~(variance <= _NEGLIGIBLE**2)  # also true for NaN, which must stay NaN
    return np.divide(third / bars, variance * np.sqrt(variance), out=np.zeros(len(values)), where=moves)


def window_zscore(values: FloatArray, bars: int) -> FloatArray:
    """(newest - mean) / std of the last `bars` values, 0 where they do not move; NaN as `window_mean`."""
    mean, std = window_mean_std(values, bars)
    moves = ~(std <= _NEGLIGIBLE)
    return np.divide(values - mean, std, out=np.zeros(len(values)), where=moves)


def bars_since(event: BoolArray) -> IntArray:
    """Bars since the last true value (0 on it); counts from before the first row where there was none. (n,) -> (n,) int64."""
    if takes_twin(len(event)):
        from shared.data import rolling_compiled

        return rolling_compiled.bars_since(event)
    rows = np.arange(len(event), dtype=np.int64)
    return rows - np.maximum.accumulate(np.where(event, rows, -1)) if len(event) else rows


def _moments(values: FloatArray, bars: int, order: int) -> list[FloatArray]:
    """Mean and the sums of the 2nd … `order`-th powers of the deviations from it, for each window; (n,) each."""
    if takes_twin(len(values)):
        from shared.data import rolling_compiled

        return rolling_compiled.window_moments(values, bars, order)
    return _moments_in_chunks(values, bars, order)


def _moments_in_chunks(values: FloatArray, bars: int, order: int) -> list[FloatArray]:
    """`_moments` in numpy."""
    count = -(-len(values) // bars)
    if 0 < count * bars <= _CHUNK_VALUES:
        return _moments_at_once(values, bars, order)
    padded = np.zeros(count * bars)  # the zeros complete the last block; no window that is returned reaches them
    padded[: len(values)] = values
    blocks = padded.reshape(count, bars)
    results = [np.full((count, bars), np.nan) for _ in range(order)]
    step = max(1, _CHUNK_VALUES // bars)
    for start in range(0, count, step):
        chunk = blocks[max(start - 1, 0) : start + step]
        heads = _cumulative(chunk, order)
        tails = [part[:, ::-1] for part in _cumulative(chunk[:, ::-1], order)]
        merged = _merge([tail[:-1, 1:] for tail in tails], [head[1:, :-1] for head in heads], bars)
        first = max(start, 1)
        for result, across, head in zip(results, merged, heads, strict=True):
            result[first : start + step, :-1] = across
            result[start : start + step, -1] = head[len(head) - len(result[start : start + step]) :, -1]
    return [result.ravel()[: len(values)] for result in results]


def _moments_at_once(values: FloatArray, bars: int, order: int) -> list[FloatArray]:
    """`_moments_in_chunks` of one chunk: on the short windows of live trading the number of numpy calls is the cost.

    A window that ends at row e is the tail of a block from row e - bars + 1 on and the head of a block up to row e: in flat
    arrays all of them are one row after the other.
    """
    count = -(-len(values) // bars)
    length = count * bars
    both = np.zeros(2 * length)  # both directions in one array
    both[: len(values)] = values
    both[length:] = both[length - 1 :: -1]
    moments = [part.reshape(-1) for part in _cumulative(both.reshape(-1, bars), order)]
    heads = [part[:length] for part in moments]
    tails = [part[: length - 1 : -1] for part in moments]
    merged = _merge([tail[: length - bars + 1] for tail in tails], [head[bars - 1 :] for head in heads], bars, count)
    for across, head in zip(merged, heads, strict=True):
        across[::bars] = head[bars - 1 :: bars]  # windows that are one whole block
        head[bars - 1 :] = across
        head[: bars - 1] = np.nan
    return [head[: len(values)] for head in heads]


@dataclass(frozen=True, slots=True)
class _Weights:
    """The constants of windows of one length."""

    counts: FloatArray
    """1 … bars"""
    head: FloatArray
    """values in the newer block, 1 … bars - 1"""
    tail: FloatArray
    first: FloatArray
    second: FloatArray
    third: FloatArray


@lru_cache(maxsize=64)
def _weights(bars: int, count: int = 0) -> _Weights:
    """Of the windows across two blocks; with `count` blocks, of all windows in them, from the first one on."""
    head = np.arange(1.0, bars)
    if count:
        head = np.tile(np.arange(1.0, bars + 1), count)[bars - 1 :]
    tail = bars - head
    both = tail * head
    return _Weights(np.arange(1.0, bars + 1), head, tail, head / bars, both / bars, both * (tail - head) / bars**2)


def _cumulative(blocks: FloatArray, order: int) -> list[FloatArray]:
    """Moments of the first 1, 2, … values of each row, centred on its first value; (blocks, bars) -> the same, `order` times.

    That value is among them, so its distance from their mean is at most √k standard deviations: the subtraction below loses
    at most a factor k of precision, whatever the level of the values.
    """
    counts = _weights(blocks.shape[1]).counts
    centred = blocks - blocks[:, :1]
    shift = centred.cumsum(axis=1) / counts
    moments = [blocks[:, :1] + shift]
    if order >= 2:
        squares = (centred * centred).cumsum(axis=1)
        moments.append(np.maximum(squares - counts * shift * shift, 0.0))
    if order >= 3:
        cubes = (centred * centred * centred).cumsum(axis=1)
        moments.append(cubes - shift * (3.0 * squares - 2.0 * counts * shift * shift))
    return moments


def _merge(tails: list[FloatArray], heads: list[FloatArray], bars: int, count: int = 0) -> list[FloatArray]:
    """Moments of the windows that are a tail of a block (`bars` - 1, …, 1 values) and the head of the next (1, …)."""
    weights = _weights(bars, count)
    n_head, n_tail = weights.head, weights.tail
    delta = heads[0] - tails[0]
    merged = [tails[0] + delta * weights.first]
    if len(heads) >= 2:
        merged.append(tails[1] + heads[1] + delta * delta * weights.second)
    if len(heads) >= 3:
        cubed = delta * delta * delta * weights.third
        merged.append(tails[2] + heads[2] + cubed + 3.0 * delta * (n_tail * heads[1] - n_head * tails[1]) / bars)
    return merged
