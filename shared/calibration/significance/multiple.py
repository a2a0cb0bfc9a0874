"""p-values of several tests at once, adjusted so that one level holds for all of them.

Holm (1979) keeps the chance of a single false discovery below the level, whatever the dependence. Benjamini and Hochberg (1995)
keeps the expected share of false ones among the discoveries below it, for independent or positively dependent tests.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from shared.domain.candles import FloatArray
from shared.domain.errors import MalformedData


def holm(p_values: ArrayLike) -> FloatArray:
    """Adjusted p-values (m,) in the order given: reject those at or below the level. max over i <= k of (m - i + 1) p_(i)."""
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted


def benjamini_hochberg(p_values: ArrayLike) -> FloatArray:
    """Adjusted p-values (m,) in the order given: reject those at or below the level. min over i >= k of p_(i) m / i."""
    p = _checked(p_values)
    order = np.argsort(-p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.minimum.accumulate(p[order] * len(p) / np.arange(len(p), 0, -1)), 1.0)
    return adjusted


def _checked(p_values: ArrayLike) -> FloatArray:
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not len(p) or not ((p >= 0) & (p <= 1)).all():
        raise MalformedData("expected a list of at least one p-value, each from 0 to 1")
    return p
