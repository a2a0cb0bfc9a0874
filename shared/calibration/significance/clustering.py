"""The law of clustered volatility that every simulation here draws from: a GARCH(1, 1) whose shocks are those of the returns.

Level(t + 1) = 1 - a - b + a · shock(t)² · level(t) + b · level(t) (Bollerslev 1986) with reaction a = 0.08 and persistence
b = 0.90, near what daily crypto returns show, and Student's t of 5 degrees of freedom. Unconditional variance 1.
"""

from __future__ import annotations

import numpy as np

from shared.domain.candles import FloatArray

REACTION, PERSISTENCE = 0.08, 0.90
DEGREES = 5.0
"""of freedom of Student's t"""
_BURN_IN_DAYS = 200


def heavy_scales(rng: np.random.Generator, days: int, degrees: float = DEGREES) -> FloatArray:
    """(days,) factors that make standard normal draws Student's t with `degrees` of freedom and variance 1."""
    return np.asarray(np.sqrt((degrees - 2.0) / rng.chisquare(degrees, days)))


def clustered_scales(scale: FloatArray, normal: FloatArray, rng: np.random.Generator) -> FloatArray:
    """`scale` (days,) times the volatility of a GARCH(1, 1) with unit variance whose shocks are `scale` · `normal`.

    A large shock of one day raises the volatility of the next ones. `rng` draws the days before the first.
    """
    level = 1.0
    for shock in heavy_scales(rng, _BURN_IN_DAYS) * rng.standard_normal(_BURN_IN_DAYS):
        level = _next_level(level, shock)
    levels = np.empty_like(scale)
    for day, shock in enumerate((scale * normal).tolist()):
        levels[day] = level
        level = _next_level(level, shock)
    return np.asarray(scale * np.sqrt(levels))


def _next_level(level: float, shock: float) -> float:
    return 1.0 - REACTION - PERSISTENCE + (REACTION * shock**2 + PERSISTENCE) * level
