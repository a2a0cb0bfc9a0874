"""Studentised circular block bootstrap of a difference of two Sharpe ratios: Ledoit and Wolf (2008), section 3.2.2.

t* = (Δ* - Δ) / se*, where se* comes from the block means of the resample: Ψ* = (1/l) Σ ζ_j ζ_j', ζ_j = √b (mean of block j -
mean of the resample). Per starting day the sums of a block's four moments and their ten products are computed once, so that a
resample of l blocks costs 14 l additions. Resamples hold l·b days, l = ⌊t/b⌋.
"""

from __future__ import annotations

import math

import numpy as np

from shared.calibration.significance.resampling import advance, below, mix, new_seed, spread, stream
from shared.compiled import compiled
from shared.domain.candles import FloatArray


def studentised_differences(returns: FloatArray, block: int, resamples: int, rng: np.random.Generator) -> FloatArray:
    """t* of `resamples` resamples of `returns` (t, 2), shape (resamples,).

    A resample in which a series does not move has no Sharpe ratio; it gets +∞, which counts against the candidate.
    """
    deviation = returns.std(axis=0)
    scaled = returns / deviation  # the Sharpe ratio has no unit, and sums of numbers near 1 keep their digits
    mean = scaled.mean(axis=0)
    sums = _block_sums(scaled - mean, block)
    found = np.empty(resamples)
    ratio = returns.mean(axis=0) / returns.std(axis=0, ddof=1)
    difference = float(ratio[0] - ratio[1])
    seed = new_seed(rng)

    def work(first: int, end: int) -> None:
        _resample(sums, float(mean[0]), float(mean[1]), difference, block, seed, first, end, found)

    spread(work, resamples)
    return found


def _block_sums(centred: FloatArray, block: int) -> FloatArray:
    """Sums of each circular block: of (u1, u2, u1² - 1, u2² - 1), then their ten products, shape (t, 14); E u² is 1."""
    moments = np.hstack([centred, centred * centred - 1.0])
    circle = np.vstack([moments, moments[: block - 1]])
    total = np.vstack([np.zeros(4), np.cumsum(circle, axis=0)])
    sums = total[block:] - total[:-block]
    products = [sums[:, i] * sums[:, j] for i in range(4) for j in range(i, 4)]
    return np.ascontiguousarray(np.hstack([sums, np.stack(products, axis=1)]))


def _resample_kernel(
    sums: FloatArray,
    mean_1: float,
    mean_2: float,
    difference: float,
    block: int,
    seed: np.uint64,
    first: int,
    end: int,
    found: FloatArray,
) -> None:
    """Write t* of the resamples `first` … `end` - 1 to `found`."""
    length = sums.shape[0]
    bound = np.uint64(length)
    blocks = length // block
    days = blocks * block
    shrink = math.sqrt((days - 1) / days)
    total = np.empty(14)
    gradient = np.empty(4)
    for resample in range(first, end):
        state = stream(seed, resample)
        total[:] = 0.0
        for _ in range(blocks):
            state = advance(state)
            start = below(mix(state), bound)
            for i in range(14):
                total[i] += sums[start, i]
        u1, u2, w1, w2 = total[0] / days, total[1] / days, total[2] / days, total[3] / days
        variance_1, variance_2 = 1.0 + w1 - u1 * u1, 1.0 + w2 - u2 * u2
        if variance_1 < 1e-12 or variance_2 < 1e-12:
            found[resample] = np.inf
            continue
        sd_1, sd_2 = math.sqrt(variance_1), math.sqrt(variance_2)
        level_1, level_2 = mean_1 + u1, mean_2 + u2
        # derivatives by the centred moments: the same standard error as by (μ, γ), without cancellation
        gradient[0] = 1.0 / sd_1 + level_1 * u1 / (variance_1 * sd_1)
        gradient[1] = -1.0 / sd_2 - level_2 * u2 / (variance_2 * sd_2)
        gradient[2] = -0.5 * level_1 / (variance_1 * sd_1)
        gradient[3] = 0.5 * level_2 / (variance_2 * sd_2)
        at_mean = gradient[0] * u1 + gradient[1] * u2 + gradient[2] * w1 + gradient[3] * w2
        spread_of_blocks = 0.0
        product = 4
        for i in range(4):
            for j in range(i, 4):
                weight = 1.0 if i == j else 2.0
                spread_of_blocks += weight * gradient[i] * gradient[j] * total[product]
                product += 1
        variance = (spread_of_blocks / days - block * at_mean * at_mean) / days
        if variance < 1e-18:
            found[resample] = np.inf
            continue
        found[resample] = (shrink * (level_1 / sd_1 - level_2 / sd_2) - difference) / math.sqrt(variance)


_resample = compiled(_resample_kernel)
