"""Does a score see the future? Every feature, alpha, agent and plug-in is asked on histories that were cut, and compared.

    prefix          cut off after bar t: no value up to t may change (a value knows no later bar)
    window          only the declared look-back before bar t: the value at t is that of the full history to 1e-9
    repetition      asked twice, it says the same (no global state, no randomness)

Shorter histories are asked first, so that a score that remembers what it was shown has not seen the future yet. The pattern of
what changes tells what probably causes it. A finding is a proof by example; none is evidence over the cuts that were tried.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shared.data.curation import Series, curate
from shared.data.params import CurationParams
from shared.domain.candles import Candles, FloatArray
from shared.domain.errors import NotEnoughData, UsageError
from shared.domain.frame import Frame
from shared.regime.features import regime_features
from shared.strategy.agents import AGENTS
from shared.strategy.alphas import ALPHAS, compute_alphas
from shared.strategy.params import StrategyParams
from shared.strategy.plugins import Plugin, raw_score

PREFIX_TOLERANCE = 1e-12
WINDOW_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that gives columns of values over the bars of a frame."""

    name: str
    kind: str
    """`features`, `alpha`, `agent` or `plug-in`"""
    compute: Callable[[Frame], Mapping[str, FloatArray]]
    lookback_bars: int
    """curated rows that a value depends on"""


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


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit has tried and found."""

    subjects: tuple[Subject, ...]
    bars: int
    cuts: int
    windows: int
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


Columns = Mapping[str, FloatArray]


def subjects_of(curation: CurationParams, strategy: StrategyParams, plugins: Sequence[Plugin] = ()) -> tuple[Subject, ...]:
    """The curated features, the regime's features, every alpha and agent, and the user's plug-ins."""

    def alpha(name: str) -> Callable[[Frame], Columns]:
        return lambda frame: {"score": ALPHAS[name].compute(frame, strategy)}

    def agent(place: int) -> Callable[[Frame], Columns]:
        def compute(frame: Frame) -> Columns:
            reading = AGENTS[place].read(frame, strategy)
            signal = AGENTS[place].generate_signal(reading, compute_alphas(frame, strategy), strategy)
            conviction = np.broadcast_to(np.asarray(reading.conviction, dtype=np.float64), (len(frame),))
            return {"entry": reading.entry, "conviction": conviction, "vote": signal}

        return compute

    def plugin(own: Plugin) -> Callable[[Frame], Columns]:
        return lambda frame: {"score": raw_score(own, frame)}

    def regime(frame: Frame) -> Columns:
        return {f"feature {place}": column for place, column in enumerate(regime_features(frame).T)}

    return (
        Subject("curation", "features", lambda frame: frame.columns, 0),
        Subject("regime", "features", regime, 0),
        *(Subject(name, "alpha", alpha(name), strategy.lookback_bars) for name in ALPHAS),
        *(Subject(one.name, "agent", agent(place), strategy.lookback_bars) for place, one in enumerate(AGENTS)),
        *(Subject(own.name, "plug-in", plugin(own), own.lookback_bars) for own in plugins),
    )


def audit(
    candles: Candles,
    subjects: Sequence[Subject],
    curation: CurationParams,
    *,
    funding: Series | None = None,
    cuts: int = 16,
    windows: int = 16,
    on_progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Ask every subject on cut histories of `candles`. Raises `NotEnoughData` where its look-back does not fit in them."""
    n = len(candles)
    longest = curation.lookback_bars + max(subject.lookback_bars for subject in subjects)
    if n < longest + 50:
        raise NotEnoughData(f"{n} bars; an audit of a look-back of {longest} bars needs {longest + 50}")
    # Odd distances, so that cuts fall on every place of a block or a day.
    ends = sorted({int(end) for end in np.linspace(longest // 2, n - 1, cuts)})
    prefixes = [curate(candles[:end], curation, funding) for end in ends]
    whole = curate(candles, curation, funding)
    rows = sorted({int(row) for row in np.linspace(longest, n - 1, windows)})
    findings: list[Finding] = []
    for done, subject in enumerate(subjects, start=1):
        try:
            findings += _audited(subject, candles, funding, curation, whole, prefixes, ends, rows)
        except UsageError as error:
            findings.append(
                Finding(subject.name, subject.kind, "", "answer", int(whole.close_time[-1]), None, None, None, str(error))
            )
        if on_progress is not None:
            on_progress(done, len(subjects))
    return Audit(tuple(subjects), n, len(ends), len(rows), tuple(findings))


def _audited(
    subject: Subject,
    candles: Candles,
    funding: Series | None,
    curation: CurationParams,
    whole: Frame,
    prefixes: Sequence[Frame],
    ends: Sequence[int],
    rows: Sequence[int],
) -> list[Finding]:
    parts = [_copied(subject.compute(prefix)) for prefix in prefixes]
    full = _copied(subject.compute(whole))
    again = subject.compute(whole)
    for column, values in full.items():
        moved = np.flatnonzero(_apart(values, again[column], 0.0))
        if len(moved):
            cause = "asked twice it answers differently: global state or randomness"
            return [_finding(subject, column, "repetition", whole, int(moved[0]), values, again[column], int(moved[0]), cause)]
    findings = []
    for column, values in full.items():
        found = _prefix_finding(subject, column, whole, values, [part[column] for part in parts], ends)
        if found is None:
            found = _window_finding(subject, column, candles, funding, curation, whole, values, rows)
        if found is not None:
            findings.append(found)
    return findings


def _prefix_finding(
    subject: Subject, column: str, whole: Frame, values: FloatArray, parts: Sequence[FloatArray], ends: Sequence[int]
) -> Finding | None:
    """The first bar whose value changes with the future, and what the pattern of changes says."""
    changed = [np.flatnonzero(_apart(values[:end], part, PREFIX_TOLERANCE)) for end, part in zip(ends, parts, strict=True)]
    hit = [place for place, rows in enumerate(changed) if len(rows)]
    if not hit:
        return None
    reach = max(ends[place] - int(changed[place][0]) for place in hit)
    shares = [len(changed[place]) / ends[place] for place in hit]
    place = min(hit, key=lambda one: int(changed[one][0]))
    row = int(changed[place][0])
    if reach <= 0.1 * ends[0]:
        bars = f"{reach} bar{'s' if reach > 1 else ''}"
        cause = f"it reads {bars} ahead: a shift by -{reach}" + (
            f", or a centred window of {2 * reach + 1} bars" if reach > 1 else ""
        )
        if reach == 1:
            cause += ", or a centred window of 3 bars"
    elif max(shares) > 0.3:
        cause = "values change all over the history: a statistic of the whole series (mean, deviation, maximum, rank, fit)"
    else:
        cause = "values change far back: a fill from later bars, or a smoother over the whole series"
    return _finding(subject, column, "prefix", whole, row, values, parts[place], row, cause)


def _window_finding(
    subject: Subject,
    column: str,
    candles: Candles,
    funding: Series | None,
    curation: CurationParams,
    whole: Frame,
    values: FloatArray,
    rows: Sequence[int],
) -> Finding | None:
    """The first of `rows` whose value needs more than the declared look-back."""

    def last_value(row: int, bars: int) -> FloatArray:
        window = curate(candles[max(0, row + 1 - bars) : row + 1], curation, funding)
        return subject.compute(window)[column][-1:]

    declared = curation.lookback_bars + max(subject.lookback_bars, 1)
    for row in rows:
        part = last_value(row, declared)
        if not _apart(values[row : row + 1], part, WINDOW_TOLERANCE)[0]:
            continue
        last = len(whole) - 1
        enough = next(
            (
                bars
                for bars in (round(1.5 * declared), 2 * declared, 4 * declared)
                if bars <= last and not _apart(values[last:], last_value(last, bars), WINDOW_TOLERANCE)[0]
            ),
            None,
        )
        own = subject.lookback_bars
        cause = (
            f"it needs more than the declared look-back of {own} bars; {enough - curation.lookback_bars} are enough"
            if enough
            else "it remembers everything: a cumulative sum or mean, a count, a recursive average without end, or a state"
        )
        return _finding(subject, column, "window", whole, row, values, part, -1, cause)
    return None


def _copied(columns: Columns) -> dict[str, FloatArray]:
    """A copy: a subject may hand out an array that it goes on writing to."""
    return {name: np.array(values, dtype=np.float64) for name, values in columns.items()}


def _apart(one: FloatArray, other: FloatArray, tolerance: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Rows that differ by more than `tolerance` (relative to the larger of both and 1), or are a number in one of them only."""
    unknown = np.isnan(one) != np.isnan(other)
    scale = np.maximum(1.0, np.maximum(np.abs(np.nan_to_num(one)), np.abs(np.nan_to_num(other))))
    return np.asarray(unknown | (np.abs(np.nan_to_num(one) - np.nan_to_num(other)) > tolerance * scale), dtype=np.bool_)


def _finding(
    subject: Subject,
    column: str,
    check: str,
    whole: Frame,
    row: int,
    full: FloatArray,
    cut: FloatArray,
    cut_row: int,
    cause: str,
) -> Finding:
    one, other = float(full[row]), float(cut[cut_row])
    known = (None if np.isnan(one) else one, None if np.isnan(other) else other)
    apart = abs(one - other) if None not in known else None
    return Finding(subject.name, subject.kind, column, check, int(whole.close_time[row]), *known, apart, cause)
