"""Who has looked at the days of a confirmation before? Days that were looked at confirm less.

A look is a finished campaign that tried its winner on any of these days, or one of this campaign's own candidates whose returns
on such days were shown before: by a backtest, a report, or the test windows of another campaign. Whoever saw what a candidate
earned there may have put it among the candidates for that. A candidate is known by interval, regime mode and what it decides
by: seen at other costs, with another stake or other safety limits, it was seen. Other variants that were shown on these days
are counted too, but are no looks: they say nothing of these candidates themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.calibration.spec import CampaignSpec
from shared.calibration.trials import mode_of, variant_key
from shared.calibration.variants import LIMITS, changes_between
from shared.domain.ids import canonical_json
from shared.domain.research import CampaignRecord, Trial
from shared.trading.params import SystemParams

_NO_IDEA = (*LIMITS, "max_decision_age")
"""parameters in which the same idea may differ"""


@dataclass(frozen=True, slots=True)
class Seen:
    """How often the days of a confirmation were looked at before."""

    campaigns: int
    """finished campaigns that tried their winner on some of them"""
    candidates: int
    """candidates of this campaign whose returns on some of them were shown before"""
    other_variants: int
    """other variants whose returns on some of them were shown before; they are no looks"""

    @property
    def looks(self) -> int:
        """What the level of the confirmation is spent on."""
        return self.campaigns + self.candidates


def seen_before(spec: CampaignSpec, campaigns: Sequence[CampaignRecord], known: Sequence[Trial]) -> Seen:
    """Looks at the confirmation of `spec` before its own. `campaigns`, `known`: every campaign and every trial of the asset."""
    confirm = spec.plan.confirm
    confirmed = 0
    for other in campaigns:
        if other.id == spec.id or other.outcome is None or other.outcome["confirmation"] is None:
            continue
        days = other.spec["plan"]["confirm"]
        confirmed += days["start_ms"] < confirm.end_ms and confirm.start_ms < days["end_ms"]
    # The campaign's own trials are its test windows, which end before the confirmation begins.
    shown = [trial for trial in known if trial.start_ms < confirm.end_ms and confirm.start_ms < trial.end_ms]
    setting = (spec.interval.value, spec.mode.value)
    candidates = {
        (*setting, _idea(changes_between(SystemParams(), spec.system(variant)), change=None)) for variant in spec.variants[1:]
    }
    ideas = {
        variant_key(trial): (
            trial.interval.value,
            mode_of(trial),
            _idea(trial.params, change=trial.metrics.get("change")),
        )
        for trial in shown
    }
    own = candidates.intersection(ideas.values())
    others = sum(idea not in candidates for idea in ideas.values())
    return Seen(confirmed, len(own), others)


def _idea(params: Mapping[str, Any], *, change: Any) -> str:
    """What a variant decides by, comparable: its differences from the defaults without what makes it no other idea."""
    return canonical_json([{name: value for name, value in params.items() if name not in _NO_IDEA}, change])
