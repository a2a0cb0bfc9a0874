"""One bar for each instant, where a source has several.

Copies that are equal once the more precise one is rounded to the decimals of the other are *duplicates*; anything else is a
*conflict*. In both cases the copy with the most decimals stays, on a tie the first of the source: a stated rule, so that the
same source always gives the same candles.
"""

from __future__ import annotations

import numpy as np

from shared.data.findings import Finding, FindingKind
from shared.data.raw_tables import RawBars
from shared.domain.candles import PRICE_COLUMNS, BoolArray, IntArray
from shared.domain.interval import format_ms

_VALUES = (*PRICE_COLUMNS, "volume")
_NAMED_BARS = 3


def keep_one(raw: RawBars) -> tuple[IntArray, list[Finding]]:
    """Row numbers to keep (one per instant, ascending) of rows that are sorted by time, and what was found."""
    times = raw.open_time
    again = np.zeros(len(times), dtype=bool)
    again[1:] = times[1:] == times[:-1]
    if not again.any():
        return np.arange(len(times)), []
    table = np.stack([getattr(raw, name) for name in _VALUES], axis=1)
    identical = again.copy()
    identical[1:] &= (table[1:] == table[:-1]).all(axis=1)
    kept = np.ones(len(times), dtype=bool)
    kept[identical] = False
    duplicates = [int(time) for time in times[identical]]
    conflicts: list[int] = []
    for rows in _groups(times, kept):
        best = max(rows, key=lambda row: (_decimals(table[row]), -row))
        kept[rows] = False
        kept[best] = True
        for row in rows:
            if row != best:
                (duplicates if _same(table[best], table[row]) else conflicts).append(int(times[row]))
    return np.flatnonzero(kept), _findings(duplicates, conflicts)


def _groups(times: IntArray, rows: BoolArray) -> list[list[int]]:
    """Row numbers that share an instant, for each instant with more than one of `rows`."""
    numbers = np.flatnonzero(rows)
    if len(numbers) == 0:
        return []
    starts = np.flatnonzero(np.diff(times[numbers], prepend=times[numbers[0]] - 1))
    return [[int(n) for n in group] for group in np.split(numbers, starts[1:]) if len(group) > 1]


def _places(value: float) -> int:
    text = repr(float(value))
    return 0 if "e" in text or text.endswith(".0") else len(text.partition(".")[2])


def _decimals(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> int:
    return sum(_places(value) for value in values)


def _same(precise: np.ndarray[tuple[int], np.dtype[np.float64]], rounded: np.ndarray[tuple[int], np.dtype[np.float64]]) -> bool:
    """Whether each value of `rounded` is the one of `precise` at its own number of decimals (half a unit and float dust)."""
    for exact, coarse in zip(precise, rounded, strict=True):
        places = _places(coarse)
        # Trailing zeros are lost in a float: 1.50 looks like one decimal. Two decimals are the coarsest that sources keep.
        unit = 0.5 * 10.0 ** -max(places, 2)
        if abs(exact - coarse) > unit * 1.0000001 + 1e-9 * abs(exact):
            return False
    return True


def _findings(duplicates: list[int], conflicts: list[int]) -> list[Finding]:
    found = []
    for kind, times in ((FindingKind.DUPLICATE, duplicates), (FindingKind.CONFLICT, conflicts)):
        if times:
            named = ", ".join(format_ms(int(time)) for time in sorted(times)[:_NAMED_BARS]) + " …" * (len(times) > _NAMED_BARS)
            detail = f"at {named}" if kind is FindingKind.CONFLICT else "equal copies, the most precise kept"
            found.append(Finding(kind, int(min(times)), int(max(times)), len(times), detail))
    return found
