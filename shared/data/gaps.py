"""Bars that are missing on the interval's grid: where a series has holes, and what a range lacks.

A hole is a fact of the source (an outage), not an error: it is reported and never filled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.data.findings import Finding, FindingKind
from shared.domain.candles import Candles
from shared.domain.interval import format_ms


@dataclass(frozen=True, slots=True)
class Gap:
    """`missing` bars, the first of which would open at `start_ms`; the next one that could exist opens at `end_ms`."""

    start_ms: int
    end_ms: int
    missing: int

    def __str__(self) -> str:
        return f"{self.missing} missing from {format_ms(self.start_ms)} to {format_ms(self.end_ms)}"

    def as_finding(self, interval_ms: int) -> Finding:
        """The same as a finding of a quality report."""
        return Finding(FindingKind.GAP, self.start_ms, self.end_ms - interval_ms, self.missing)


def inner_gaps(candles: Candles, since_ms: int | None = None) -> list[Gap]:
    """Runs of missing bars between existing ones, oldest first; with `since_ms` only those that end after it."""
    step = candles.interval.ms
    steps = np.diff(candles.open_time)
    gaps = []
    for row in np.flatnonzero(steps > step):
        start, end = int(candles.open_time[row]) + step, int(candles.open_time[row + 1])
        if since_ms is None or end > since_ms:
            gaps.append(Gap(start, end, (end - start) // step))
    return gaps


def missing_ranges(candles: Candles, start_ms: int, end_ms: int) -> list[Gap]:
    """What [start_ms, end_ms) lacks: before the first bar, between bars and after the last one, oldest first."""
    interval = candles.interval
    first, last = interval.ceil(start_ms), interval.ceil(end_ms)
    if first >= last:
        return []
    inside = candles.between(first, last)
    if len(inside) == 0:
        return [Gap(first, last, (last - first) // interval.ms)]
    head = Gap(first, int(inside.open_time[0]), (int(inside.open_time[0]) - first) // interval.ms)
    tail = Gap(int(inside.close_time[-1]), last, (last - int(inside.close_time[-1])) // interval.ms)
    return [gap for gap in (head, *inner_gaps(inside), tail) if gap.missing]
