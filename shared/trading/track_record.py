"""What the book has earned per unit of exposure, bar by bar: the record that Kelly sizing is estimated from.

The return of a bar is divided by the notional that was held when it opened, after the trades of the step before it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import numpy as np

from shared.domain.candles import FloatArray
from shared.domain.records import EquityPoint


class TrackRecord:
    """Per-bar returns of one unit of exposure, from consecutive equity rows; bars without a position do not count."""

    def __init__(self, points: Iterable[EquityPoint]) -> None:
        self._returns = array("d")  # a list of years would be converted at every bar
        self._last: EquityPoint | None = None
        for point in points:
            self.add(point)

    def add(self, point: EquityPoint) -> None:
        """One more bar; an older one is ignored. The same instant again tells the notional that is held after its trades."""
        last = self._last
        if last is not None and point.time_ms <= last.time_ms:
            if point.time_ms == last.time_ms:
                self._last = point
            return
        if last is not None and last.exposure > 0:
            self._returns.append(float((point.equity - last.equity) / last.exposure))
        self._last = point

    def returns(self) -> FloatArray:
        """Shape (n,): profit of each bar divided by the notional that was held at its open."""
        return np.array(self._returns)
