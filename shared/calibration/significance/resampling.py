"""Where the blocks of each bootstrap resample start, and how resamples are spread over threads.

Each resample has a random stream of its own, SplitMix64 (Steele, Lea, Flood 2014) seeded by mixing (seed, number of the
resample): the result depends on neither the number of threads nor the order of work. Blocks are sums of consecutive rows of a
circle, so a resample costs one addition per block instead of one per day.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from shared.compiled import compiled

_CHUNKS = 8  # enough to keep every core of a laptop busy to the end
_WORTH_THREADS = 500  # fewer resamples are done before threads have started
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S32, _S11 = (np.uint64(shift) for shift in (27, 30, 31, 32, 11))
_TO_UNIT = 1.0 / 9007199254740992.0  # 2 ** -53


def _mix(state: np.uint64) -> np.uint64:
    """The output function of SplitMix64."""
    state = (state ^ (state >> _S30)) * _MIX_1
    state = (state ^ (state >> _S27)) * _MIX_2
    return state ^ (state >> _S31)


mix = compiled(_mix)


def _stream(seed: np.uint64, resample: int) -> np.uint64:
    """First state of the stream of one resample."""
    return mix(seed + mix(np.uint64(resample) * _GOLDEN + _GOLDEN))


def _advance(state: np.uint64) -> np.uint64:
    """Next state of a stream; `mix` of it is the next number."""
    return state + _GOLDEN


def _below(number: np.uint64, bound: np.uint64) -> int:
    """A number from 0 to `bound` - 1, by the upper 32 bits (Lemire 2019); the bias is below bound / 2^32."""
    return int(((number >> _S32) * bound) >> _S32)


def _unit(number: np.uint64) -> float:
    """A number in (0, 1]."""
    return (np.float64(number >> _S11) + 1.0) * _TO_UNIT


stream = compiled(_stream)
advance = compiled(_advance)
below = compiled(_below)
unit = compiled(_unit)


def new_seed(rng: np.random.Generator) -> np.uint64:
    """A seed for `stream`: the only number that a bootstrap here takes from the generator."""
    return np.uint64(rng.integers(0, 2**63))


def spread(work: Callable[[int, int], None], resamples: int) -> None:
    """Call `work(first, end)` for consecutive ranges that cover 0 … `resamples`, on several threads.

    `work` must release the interpreter and write only its own range.
    """
    if resamples < _WORTH_THREADS:
        work(0, resamples)
        return
    edges = np.linspace(0, resamples, _CHUNKS + 1).astype(int)
    with ThreadPoolExecutor(_CHUNKS) as pool:
        list(pool.map(work, edges[:-1].tolist(), edges[1:].tolist()))


def default_block(days: int) -> int:
    """The usual mean block length: the square root of the number of days."""
    return max(1, math.isqrt(days))
