"""What the book has earned per unit of exposure, bar by bar: the record that Kelly sizing is estimated from.

The return of a bar is divided by the notional that was held when it opened, after the trades of the step before it. Bars
without a position do not count. The moments stand in each equity point: a start needs no older one than the newest.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from shared.domain.candles import FloatArray
from shared.domain.records import EquityPoint, UnitReturns
from shared.risk.kelly import extended


def unit_returns(points: Iterable[EquityPoint]) -> FloatArray:
    """Shape (n,): profit of each bar divided by the notional that was held at its open; `points` oldest first."""
    earned = (_earned(before, after) for before, after in pairwise(points))
    return np.array([one for one in earned if one is not None], dtype=np.float64)


def moments(points: Iterable[EquityPoint]) -> UnitReturns:
    """The record of all `points`, oldest first, whatever they say of it themselves."""
    record = UnitReturns()
    for before, after in pairwise(points):
        record = followed(record, before, after)
    return record


def followed(record: UnitReturns, before: EquityPoint, after: EquityPoint) -> UnitReturns:
    """The record up to `before` with the bar that ended at `after`."""
    earned = _earned(before, after)
    return record if earned is None else extended(record, earned)


def _earned(before: EquityPoint, after: EquityPoint) -> float | None:
    return float((after.equity - before.equity) / before.exposure) if before.exposure > 0 else None
