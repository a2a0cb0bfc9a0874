"""Cuts directly behind the bars where a score speaks up: a look of one bar ahead shows on the last bar before a cut only.

A score that peeks on few bars passes any number of evenly spread cuts. So the whole history is asked first, and then cut off
behind the bars at which the score begins, turns or changes; a quarter of the cuts stays evenly spread, for what a peek keeps
silent. Where the declared look-back is enough for a value, a cut is a window of so many curated rows, and cheap; where it is
not, it is the whole past. A difference is confirmed on a history that ends with the bar, curated anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from shared.calibration.audit_checks import WINDOW_TOLERANCE, Answers, Finding, History, apart, finding
from shared.domain.candles import FloatArray, IntArray
from shared.domain.errors import UsageError
from shared.domain.frame import Frame

OWN_CUTS = 200
"""of each of our own scores"""
PLUGIN_CUTS = 3000
"""of a plug-in, at most"""
PLUGIN_ROWS = 500_000
"""rows that a plug-in is asked for in all of its cuts, above `OWN_CUTS` of them"""
WHOLE_PAST_CUTS = 64
"""where its look-back is too short for its values"""
FARTHEST_BARS = 24
"""How far ahead a look is measured"""


@dataclass(frozen=True, slots=True)
class Near:
    """What the cuts behind a subject's own bars have found."""

    cuts: int
    finding: Finding | None


def look_near(answers: Answers, history: History, whole: Frame, first: int, cuts: int) -> Near:
    """Cut behind the bars where a subject speaks up; the earliest of them whose value knows what follows, if there is one.

    `first`: the first row that may be tried, which leaves a history long enough to be asked for. `cuts`: so many (fewer where
    there are fewer bars); plug-ins get more, as their look-back allows.
    """
    subject, plugin = answers.subject, answers.subject.kind == "plug-in"
    bars = max(subject.lookback_bars, 1)
    wanted = min(PLUGIN_CUTS, max(cuts, PLUGIN_ROWS // bars)) if plugin else cuts
    tried, whole_past = 0, False
    rows = telling_rows(answers.values, first, wanted).tolist()
    while rows:
        row = rows.pop(0)
        tried += 1
        start = 0 if whole_past else max(0, row + 1 - bars)
        moved = _moved(answers, row, _asked(answers, history, whole, slice(start, row + 1)))
        if moved is None:
            continue
        past = answers.ask(history.frame(slice(0, row + 1)))
        if answers.failure:
            return Near(tried, None)
        moved = _moved(answers, row, past)
        if moved is not None:
            full, cut = float(answers.values[moved][row]), float(past[moved][row])
            cause = _cause(answers, history, whole, row, moved)
            return Near(tried, finding(subject, moved, "prefix", whole, row, full, cut, cause))
        if not whole_past:  # the look-back is too short for its values, which is another check's business
            whole_past = True
            rows = telling_rows(answers.values, first, min(cuts, WHOLE_PAST_CUTS)).tolist()
    return Near(tried, None)


def telling_rows(values: Mapping[str, FloatArray], first: int, limit: int) -> IntArray:
    """At most `limit` rows from `first` on: where a column (n,) leaves zero or turns, where it changes, and evenly spread."""
    n = max((len(column) for column in values.values()), default=0)
    begins, changes = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    for column in values.values():
        known = np.nan_to_num(column)
        before = np.concatenate([[0.0], known[:-1]])
        begins |= (known != 0) & (np.sign(known) != np.sign(before))
        changes |= known != before
    every = np.arange(first, n)
    chosen = _spread(every, limit // 4)
    for rows in (np.flatnonzero(begins), np.flatnonzero(changes), every):
        rows = rows[rows >= first]
        chosen = np.union1d(chosen, _spread(np.setdiff1d(rows, chosen), limit - len(chosen)))
    return np.asarray(chosen, dtype=np.int64)


def _spread(rows: IntArray, count: int) -> IntArray:
    """At most `count` of them, evenly."""
    if len(rows) <= count:
        return rows
    return rows[np.unique(np.linspace(0, len(rows) - 1, max(count, 0)).astype(np.int64))]


def _asked(answers: Answers, history: History, whole: Frame, rows: slice) -> Mapping[str, FloatArray] | None:
    """The subject's columns on these rows alone; `None` where it cannot answer on so few."""
    if answers.subject.kind == "features":  # they are the curation: only candles can be cut
        return answers.ask(history.frame(slice(max(0, rows.start - history.curation.lookback_bars), rows.stop)))
    try:
        return answers.subject.compute(whole.rows(rows))
    except UsageError:
        return None


def _moved(answers: Answers, row: int, part: Mapping[str, FloatArray] | None) -> str | None:
    """The first column whose last value in `part` is not that of the whole history at `row`."""
    for column, values in answers.values.items():
        if part is None or column not in part or apart(values[row : row + 1], part[column][-1:], WINDOW_TOLERANCE)[0]:
            return column
    return None


def _cause(answers: Answers, history: History, whole: Frame, row: int, column: str) -> str:
    """How many of the bars that follow make the value what it is in the whole history."""
    value, behind = answers.values[column][row : row + 1], "cut off directly behind this bar, it says something else"
    for bars in range(1, min(FARTHEST_BARS, len(whole) - 1 - row) + 1):
        part = answers.ask(history.frame(slice(0, row + 1 + bars)))
        if column in part and not apart(value, part[column][row : row + 1], WINDOW_TOLERANCE)[0]:
            return f"it reads {bars} bar{'s' if bars > 1 else ''} ahead here: {behind}"
    return f"it reads later bars: {behind}"
