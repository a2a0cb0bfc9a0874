"""Which block length should the bootstrap of a Sharpe difference have? Ledoit and Wolf (2008), algorithm 3.1.

A VAR(1) is fitted to the two series and its residuals are resampled (stationary bootstrap) into many pseudo histories whose
true difference is the observed one. The block length wins whose test rejects it most nearly as often as it should.
"""

from __future__ import annotations

import numpy as np

from shared.calibration.significance.hac import hac_standard_error
from shared.calibration.significance.returns import sharpe_ratio
from shared.domain.candles import FloatArray

CANDIDATE_BLOCKS = (1, 3, 6, 10, 20)
"""days; the paper's choice, and 20 for returns whose volatility clusters"""
_HISTORIES = 200
_RESAMPLES = 199
_MEAN_BLOCK = 5.0  # of the residuals, as in the paper
_WARM_UP = 50


def calibrated_block(returns: FloatArray, rng: np.random.Generator, *, alpha: float = 0.05) -> int:
    """The block length in days for `returns` (t, 2), of those candidates of which at least three fit into the data."""
    # imported here: it compiles, and most callers give a block length
    from shared.calibration.significance.sharpe_bootstrap import studentised_differences

    blocks = [block for block in CANDIDATE_BLOCKS if 3 * block <= len(returns)]
    scaled = returns / returns.std(axis=0)
    truth = _difference(scaled)
    rejections = np.zeros(len(blocks))
    for _ in range(_HISTORIES):
        history = _pseudo_history(scaled, rng)
        statistic = abs(_difference(history) - truth) / hac_standard_error(history / history.std(axis=0))
        for at, block in enumerate(blocks):
            drawn = np.abs(studentised_differences(history, block, _RESAMPLES, rng))
            rejections[at] += 1 + np.count_nonzero(drawn >= statistic) <= alpha * (1 + _RESAMPLES)
    return blocks[int(np.argmin(np.abs(rejections / _HISTORIES - alpha)))]


def _pseudo_history(returns: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A history of the same length from the VAR(1) of `returns` with resampled residuals."""
    before = np.column_stack([np.ones(len(returns) - 1), returns[:-1]])
    coefficients = np.linalg.lstsq(before, returns[1:], rcond=None)[0]
    residuals = returns[1:] - before @ coefficients
    length = _WARM_UP + len(returns)
    starts = rng.integers(0, len(residuals), length)
    fresh = rng.random(length) < 1 / _MEAN_BLOCK
    fresh[0] = True
    since = np.arange(length) - np.maximum.accumulate(np.where(fresh, np.arange(length), 0))
    origin = np.maximum.accumulate(np.where(fresh, np.arange(length), 0))
    drawn = residuals[(starts[origin] + since) % len(residuals)]
    history = np.empty((length, 2))
    value = returns[0]
    for at in range(length):
        value = coefficients[0] + value @ coefficients[1:] + drawn[at]
        history[at] = value
    return history[_WARM_UP:]


def _difference(returns: FloatArray) -> float:
    ratios = sharpe_ratio(returns)
    return float(ratios[0] - ratios[1])
