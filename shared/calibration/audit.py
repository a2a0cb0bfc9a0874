"""Does a score see the future? Every feature, alpha, agent and plug-in is asked on histories that were cut, and compared.

    prefix          cut off after bar t: no value up to t may change (a value knows no later bar); at evenly spread bars, then
                    directly behind the bars where a score begins, turns or changes (`audit_near`)
    window          only the declared look-back before bar t: the value at t is that of the full history to 1e-9
    repetition      asked twice, it says the same (no global state, no randomness)

At the evenly spread cuts everybody is asked on the shortest history, then on the next longer one, up to the whole: nobody has
been shown a later bar before, so that neither its own memory nor that of another one tells it the future. Funding and open
interest are cut like the candles, and made up where there are none, so that their columns are read too. The pattern of what
changes tells what probably causes it. A finding is a proof by example; none is evidence over the cuts tried, no proof.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from shared.backtest.market import AssetMarket
from shared.calibration.audit_checks import Answers, Finding, History, compare, findings_of, repetition_finding
from shared.calibration.audit_near import OWN_CUTS, look_near
from shared.calibration.audit_subjects import Subject, plugin_subjects
from shared.data.curation import Series
from shared.data.params import CurationParams
from shared.domain.candles import Candles
from shared.domain.errors import NotEnoughData, UsageError
from shared.domain.interval import format_ms
from shared.strategy.plugins import Plugin


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit has tried and found."""

    subjects: tuple[Subject, ...]
    bars: int
    cuts: int
    """histories that were cut off: evenly, and behind the bars where each subject speaks up"""
    windows: int
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def audit(
    candles: Candles,
    subjects: Sequence[Subject],
    curation: CurationParams,
    *,
    funding: Series | None = None,
    open_interest: Series | None = None,
    cuts: int = 16,
    windows: int = 16,
    on_progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Ask every subject on cut histories of `candles`. Raises `NotEnoughData` where its look-back does not fit in them.

    `cuts` of them are evenly spread; those behind the bars where a subject speaks up come on top (`audit_near`).
    `on_progress(done, total)` is told of each history and each subject.
    """
    n = len(candles)
    longest = curation.lookback_bars + max((subject.lookback_bars for subject in subjects), default=0)
    if n < longest + 50:
        raise NotEnoughData(f"{n} bars; an audit of a look-back of {longest} bars needs {longest + 50}")
    history = History(candles, funding or _made_up(candles, 8), open_interest or _made_up(candles, 1), curation)
    # Odd distances, so that cuts fall on every place of a block or a day.
    ends = sorted({int(end) for end in np.linspace(longest // 2, n - 1, cuts)})
    rows = sorted({int(row) for row in np.linspace(longest, n - 1, windows)})
    asked = [Answers(subject) for subject in subjects]
    steps = len(ends) + 1 + len(asked)
    for done, end in enumerate((*ends, n), start=1):
        frame = history.frame(slice(0, end))
        for answers in asked:
            compare(answers, answers.ask(frame))
        if on_progress is not None:
            on_progress(done, steps)
    repetitions = [repetition_finding(answers, frame) for answers in asked]
    found: list[Finding] = []
    tried = len(ends)
    for done, (answers, repetition) in enumerate(zip(asked, repetitions, strict=True), start=len(ends) + 2):
        if repetition is None and not answers.changes and not answers.failure:
            near = look_near(answers, history, frame, ends[0], max(cuts, OWN_CUTS))
            tried += near.cuts
            found += [near.finding] if near.finding is not None else findings_of(answers, history, frame, ends, rows)
        else:
            found += [repetition] if repetition is not None else findings_of(answers, history, frame, ends, rows)
        if on_progress is not None:
            on_progress(done, steps)
    return Audit(tuple(subjects), n, tried, len(rows), tuple(found))


def refuse_lookahead(markets: Sequence[AssetMarket], plugins: Sequence[Plugin], curation: CurationParams) -> None:
    """Ask the plug-ins on cut histories of the very candles that they are to be measured on.

    Raises `UsageError` where one is seen to know the future, answers differently when asked again, or gives no answer: a number
    about it would be praise of an oracle.
    """
    for market in markets if plugins else ():
        asked = audit(
            market.candles,
            plugin_subjects(plugins),
            curation,
            funding=market.funding,
            open_interest=market.open_interest,
            cuts=64,
            windows=0,
        )
        lines = [
            f"plug-in {one.subject} fails the {one.check} check at {format_ms(one.bar_close_ms)} of {market.asset.symbol}: "
            f"{one.cause}"
            for one in asked.findings
        ]
        if lines:
            raise UsageError(
                "\n".join((*lines, "nothing was measured; mend it, and see: ost audit lookahead --plugins FOLDER"))
            )


def _made_up(candles: Candles, every_bars: int) -> Series:
    """A bounded series without a pattern, stamped at each `every_bars`-th close: sin k² is dense and never repeats."""
    stamps = candles.close_time[::every_bars]
    return stamps, 1e-4 * np.sin(np.arange(1, len(stamps) + 1, dtype=np.float64) ** 2)
