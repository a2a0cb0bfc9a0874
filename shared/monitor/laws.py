"""Laws that daily returns are drawn from, all with the same deviation and Sharpe ratio: what false alarms are measured on.

Normal; heavy (Student's t, 4 degrees of freedom); clustered (GARCH(1,1), Bollerslev 1986, α 0.08, β 0.90, with t shocks of 5
degrees: volatility that rises and falls over weeks, as in crypto). The hours of a day share its scale, so that their sum
follows the law exactly.
"""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np

from shared.domain.candles import FloatArray

DAILY_DEVIATION = 0.01
_ARCH, _GARCH = 0.08, 0.90
_DEGREES = {"heavy": 4.0, "clustered": 5.0}
_BURN_IN_DAYS = 200


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
        degrees = _DEGREES[law.value]
        scale = np.sqrt((degrees - 2.0) / rng.chisquare(degrees, days))
        if law is Law.CLUSTERED:
            scale = clustered_scales(scale, normal.sum(axis=1), rng)
    return np.asarray(DAILY_DEVIATION * (normal * scale[:, None] + drift / steps))


def clustered_scales(scale: FloatArray, normal: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Scales (days,) of a GARCH(1,1) with unit variance whose shocks are `scale` · `normal`."""
    level = 1.0
    for shock in np.sqrt(3.0 / rng.chisquare(5.0, _BURN_IN_DAYS)) * rng.standard_normal(_BURN_IN_DAYS):
        level = 1.0 - _ARCH - _GARCH + (_ARCH * shock**2 + _GARCH) * level
    levels = np.empty_like(scale)
    for day, shock in enumerate((scale * normal).tolist()):
        levels[day] = level
        level = 1.0 - _ARCH - _GARCH + (_ARCH * shock**2 + _GARCH) * level
    return np.asarray(scale * np.sqrt(levels))
