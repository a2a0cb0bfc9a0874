"""Is a Sharpe ratio higher than that of the luckiest of all tries? Bailey and Lopez de Prado (2014), the Deflated Sharpe Ratio.

Sharpe ratios are per day. Invariant: trying more never lowers what must be exceeded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from shared.calibration.significance.sharpe import probabilistic_sharpe
from shared.domain.candles import FloatArray, IntArray
from shared.domain.errors import MalformedData, NotEnoughData

_EULER_GAMMA = 0.5772156649015329


def expected_maximum_sharpe(trials: int, variance: float) -> float:
    """Expected largest Sharpe ratio of `trials` worthless strategies whose estimates have `variance` (both per day).

    √V ((1 - γ) Φ⁻¹(1 - 1/N) + γ Φ⁻¹(1 - 1/(N e))), γ Euler's constant; Bailey and Lopez de Prado (2014), equation 2. 0 for one.
    """
    if trials < 1 or not variance >= 0:
        raise MalformedData(f"{trials} trials with variance {variance}; expected at least one trial and a variance >= 0")
    return float(_expected_maxima(np.array([trials]), np.array([variance]))[0])


def deflated_sharpe(returns: ArrayLike, trials: Sequence[float | None], dates: Sequence[int] | None = None) -> float:
    """Probability that the Sharpe ratio of `returns` (t,) is above what the best of all `trials` shows by luck alone.

    `trials` holds the per-day Sharpe ratio of every variant ever tried, the chosen one included; `None` where nothing moved: it
    counts as a trial and adds nothing to their variance. Bailey and Lopez de Prado (2014), equation 9: PSR(SR0). `trials` and
    `dates`: as in `deflation_benchmark`.
    """
    return probabilistic_sharpe(returns, deflation_benchmark(trials, dates))


def deflation_benchmark(trials: Sequence[float | None], dates: Sequence[int] | None = None) -> float:
    """SR0 of `deflated_sharpe`, per day: the luckiest Sharpe ratio to expect among `trials`, oldest first.

    The largest SR0 of every date: `dates` says how many trials were known at each; `None`: one came after the other. The
    paper's V is the variance across all trials. A search around one variant adds trials that are alike, so that V falls faster
    than the expected maximum of N rises: the bar would be lower for having tried more. Later trials cannot undo earlier luck.

    Raises:
        NotEnoughData: no trial. MalformedData: one that is not finite, or dates that `trials` does not reach.
    """
    if not trials:
        raise NotEnoughData(
            "no trial is recorded; the winner itself is one: expected the Sharpe ratio of every variant ever tried"
        )
    moved = np.array([trial is not None for trial in trials])
    values = np.array([0.0 if trial is None else trial for trial in trials], dtype=np.float64)
    if not np.isfinite(values).all():
        raise MalformedData(
            "a recorded trial has a Sharpe ratio that is not finite; expected a number, or None where nothing moved"
        )
    counts = np.arange(1, len(trials) + 1) if dates is None else np.array([*dates, len(trials)])
    if counts.min() < 1 or counts.max() > len(trials):
        raise MalformedData(f"dates after {counts.min()} to {counts.max()} trials; expected 1 to {len(trials)}")
    known = moved.cumsum()
    # Around their mean, so that the difference of two sums of squares loses no digits.
    centred = np.where(moved, values - values.sum() / max(known[-1], 1), 0.0)
    squares = (centred**2).cumsum() - centred.cumsum() ** 2 / np.maximum(known, 1)
    variances = np.maximum(squares, 0.0) / np.maximum(known - 1, 1)
    return float(_expected_maxima(counts, variances[counts - 1]).max())


def _expected_maxima(trials: IntArray, variances: FloatArray) -> FloatArray:
    from scipy.special import ndtri

    several = np.maximum(trials, 2)
    upper, far = ndtri(1 - 1 / several), ndtri(1 - 1 / (several * math.e))
    factors = (1 - _EULER_GAMMA) * upper + _EULER_GAMMA * far
    return np.asarray(np.where(trials > 1, np.sqrt(variances) * factors, 0.0))
