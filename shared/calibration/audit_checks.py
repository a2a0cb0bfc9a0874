"""The checks of an audit: what a subject said of shorter histories, of the whole twice, and of windows, beside each other.

Equal means to 1e-12 for a history and the next longer one, to 1e-9 for a window and the whole, to the bit for the same history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from shared.calibration.audit_subjects import Subject
from shared.data.curation import Series, curate
from shared.data.params import CurationParams
from shared.domain.candles import Candles, FloatArray
from shared.domain.errors import UsageError
from shared.domain.frame import Frame

PREFIX_TOLERANCE = 1e-12
WINDOW_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Finding:
    """The first bar at which a check fails."""

    subject: str
    kind: str
    column: str
    check: str
    """`prefix`, `window`, `repetition` or `answer`"""
    bar_close_ms: int
    full: float | None
    """value on the full history"""
    cut: float | None
    """value on the cut one"""
    difference: float | None
    """`None` where only one of them is a number"""
    cause: str


@dataclass(frozen=True, eq=False, slots=True)
class History:
    """All that is cut together."""

    candles: Candles
    funding: Series
    open_interest: Series
    curation: CurationParams

    def frame(self, rows: slice) -> Frame:
        """The curated frame of some bars, from what was known at the close of the last of them."""
        candles = self.candles[rows]
        end_ms = int(candles.close_time[-1])
        return curate(candles, self.curation, _until(self.funding, end_ms), _until(self.open_interest, end_ms))


@dataclass(slots=True)
class Answers:
    """What one subject has said so far."""

    subject: Subject
    values: Mapping[str, FloatArray] = field(default_factory=dict)
    """of the longest history yet"""
    changes: dict[str, list[Change]] = field(default_factory=dict)
    failure: str = ""

    def ask(self, frame: Frame) -> Mapping[str, FloatArray]:
        """Its columns on a frame; nothing once it has failed."""
        if self.failure:
            return {}
        try:
            # A copy: a subject may hand out an array that it goes on writing to.
            return {name: np.array(values, dtype=np.float64) for name, values in self.subject.compute(frame).items()}
        except UsageError as error:
            self.failure = str(error)
            return {}


@dataclass(frozen=True, slots=True)
class Change:
    """Values of a shorter history that a longer one changed."""

    end: int
    """bars of the shorter one"""
    first: int
    rows: int
    """how many"""
    full: float
    cut: float


def _until(series: Series, end_ms: int) -> Series:
    known = int(np.searchsorted(series[0], end_ms, side="right"))
    return series[0][:known], series[1][:known]


def compare(answers: Answers, longer: Mapping[str, FloatArray]) -> None:
    """Note which values of the history before a longer one changes, and keep the longer one's."""
    for column, values in answers.values.items():
        if column not in longer:
            continue
        changed = np.flatnonzero(apart(longer[column][: len(values)], values, PREFIX_TOLERANCE))
        if len(changed):
            first = int(changed[0])
            one = Change(len(values), first, len(changed), float(longer[column][first]), float(values[first]))
            answers.changes.setdefault(column, []).append(one)
    answers.values = longer


def repetition_finding(answers: Answers, whole: Frame) -> Finding | None:
    """The first value that differs where the whole history is asked for again."""
    again = answers.ask(whole)
    for column, values in again.items():
        before = answers.values[column]
        moved = np.flatnonzero(apart(before, values, 0.0))
        if len(moved):
            row = int(moved[0])
            cause = "asked twice it answers differently: global state or randomness"
            return finding(answers.subject, column, "repetition", whole, row, float(before[row]), float(values[row]), cause)
    return None


def findings_of(answers: Answers, history: History, whole: Frame, ends: Sequence[int], rows: Sequence[int]) -> list[Finding]:
    """One finding for each column that fails; one for all where the subject gives no answer."""
    found = {column: _prefix_finding(answers, column, whole, ends[0]) for column in answers.changes}
    clean = [column for column in answers.values if column not in found]
    if clean and not answers.failure:
        found |= _window_findings(answers, clean, history, whole, rows)
    if answers.failure:
        subject, close_ms = answers.subject, int(whole.close_time[-1])
        return [Finding(subject.name, subject.kind, "", "answer", close_ms, None, None, None, answers.failure)]
    return list(found.values())


def _prefix_finding(answers: Answers, column: str, whole: Frame, shortest: int) -> Finding:
    """The first bar whose value changes with the future, and what the pattern of changes says."""
    changes = answers.changes[column]
    reach = max(one.end - one.first for one in changes)
    if reach <= 0.1 * shortest:
        bars = f"{reach} bar{'s' if reach > 1 else ''}"
        cause = f"it reads {bars} ahead: a shift by -{reach}, or a centred window of {2 * reach + 1} bars"
    elif max(one.rows / one.end for one in changes) > 0.3:
        cause = "values change all over the history: a statistic of the whole series (mean, deviation, maximum, rank, fit)"
    else:
        cause = "values change far back: a fill from later bars, or a smoother over the whole series"
    first = min(changes, key=lambda one: one.first)
    return finding(answers.subject, column, "prefix", whole, first.first, first.full, first.cut, cause)


def _window_findings(
    answers: Answers, columns: Sequence[str], history: History, whole: Frame, rows: Sequence[int]
) -> dict[str, Finding]:
    """For each column the first of `rows` whose value needs more than the declared look-back."""
    subject = answers.subject
    declared = history.curation.lookback_bars + max(subject.lookback_bars, 1)
    found: dict[str, Finding] = {}

    def window(row: int, bars: int) -> Mapping[str, FloatArray]:
        return answers.ask(history.frame(slice(max(0, row + 1 - bars), row + 1)))

    def moved(column: str, row: int, part: Mapping[str, FloatArray]) -> bool:
        values = answers.values[column][row : row + 1]
        return column in part and bool(apart(values, part[column][-1:], WINDOW_TOLERANCE)[0])

    for row in rows:
        part = window(row, declared)
        for column in columns:
            if column not in found and moved(column, row, part):
                full, cut = float(answers.values[column][row]), float(part[column][-1])
                found[column] = finding(subject, column, "window", whole, row, full, cut, "")
    if not found:
        return found
    last, enough = len(whole) - 1, dict[str, int]()
    for bars in (round(1.5 * declared), 2 * declared, 4 * declared):
        if bars <= last:
            part = window(last, bars)
            for column in found:
                if not moved(column, last, part):
                    enough.setdefault(column, bars - history.curation.lookback_bars)
    for column, one in found.items():
        row = int(np.searchsorted(whole.close_time, one.bar_close_ms))
        # With its whole past and without its future: what differs now is not a question of memory.
        past = answers.ask(history.frame(slice(0, row + 1)))
        if moved(column, row, past):
            cause = "it reads later bars: with the whole past and without what follows, the value is another one"
            found[column] = replace(one, check="prefix", cause=cause)
        else:
            found[column] = replace(one, cause=_forgets(subject, enough.get(column)))
    return found


def _forgets(subject: Subject, enough: int | None) -> str:
    if enough is None:
        return "it remembers everything: a cumulative sum or mean, a count, a recursive average without end, or a state"
    return f"it needs more than the declared look-back of {subject.lookback_bars} bars; {enough} are enough"


def apart(one: FloatArray, other: FloatArray, tolerance: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Rows that differ by more than `tolerance` (relative to the larger of both and 1), or are a number in one of them only."""
    unknown = np.isnan(one) != np.isnan(other)
    scale = np.maximum(1.0, np.maximum(np.abs(np.nan_to_num(one)), np.abs(np.nan_to_num(other))))
    return np.asarray(unknown | (np.abs(np.nan_to_num(one) - np.nan_to_num(other)) > tolerance * scale), dtype=np.bool_)


def finding(subject: Subject, column: str, check: str, whole: Frame, row: int, full: float, cut: float, cause: str) -> Finding:
    """A finding at a row of the whole history."""
    known = (None if np.isnan(full) else full, None if np.isnan(cut) else cut)
    apart = abs(full - cut) if None not in known else None
    return Finding(subject.name, subject.kind, column, check, int(whole.close_time[row]), *known, apart, cause)
