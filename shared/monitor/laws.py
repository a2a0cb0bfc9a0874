"""Laws that daily returns are drawn from, all with the same deviation and Sharpe ratio: what false alarms are measured on.

Normal; heavy (Student's t, 4 degrees of freedom); clustered (the GARCH(1, 1) of `calibration/significance/clustering.py`:
volatility that rises and falls over weeks, as in crypto). The hours of a day share its scale, so that their sum follows the
law exactly.
"""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np

from shared.calibration.significance.clustering import DEGREES, clustered_scales, heavy_scales
from shared.domain.candles import FloatArray

DAILY_DEVIATION = 0.01
_DEGREES = {"heavy": 4.0, "clustered": DEGREES}


class Law(StrEnum):
    """What returns are drawn from."""

    NORMAL = "normal"
    HEAVY = "heavy"
    CLUSTERED = "clustered"


def draw_returns(law: Law, rng: np.random.Generator, days: int, steps: int, drift: float) -> FloatArray:
    """(days, steps) returns whose daily sums follow `law`, with a per-day Sharpe ratio of `drift`."""
    normal = rng.standard_normal((days, steps)) / math.sqrt(steps)
    if law is Law.NORMAL:
        scale = np.ones(days)
    else:
        # One factor a day for all of its hours makes the day's sum Student's t, exactly.
        scale = heavy_scales(rng, days, _DEGREES[law.value])
        if law is Law.CLUSTERED:
            scale = clustered_scales(scale, normal.sum(axis=1), rng)
    return np.asarray(DAILY_DEVIATION * (normal * scale[:, None] + drift / steps))
