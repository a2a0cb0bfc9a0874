"""What research leaves in the ledger: trials, campaigns, champions, reasons to tune again, recognised patterns.

Every record is keyed by its content, so that a repetition changes nothing. Metrics and parameters are JSON-able mappings;
instants are ms UTC; Sharpe ratios are per day, not annualised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.domain.asset import Asset
from shared.domain.interval import Interval

FINAL = ("champion", "no_improvement")
"""statuses of a recalibration that nothing changes any more; a failed one may run again"""


@dataclass(frozen=True, slots=True)
class Trial:
    """One parameter variant that was evaluated on one asset, whatever came of it: the count corrects every later test."""

    id: str
    asset: Asset
    interval: Interval
    params_version: str
    params: Mapping[str, Any]
    """what differs from the defaults, by dotted setting name (`strategy.entry_threshold`)"""
    code_version: str
    data_hash: str
    start_ms: int
    end_ms: int
    sharpe: float | None
    """per day, net of costs; `None` where nothing moved"""
    days: int
    """daily returns that it was computed from"""
    metrics: Mapping[str, Any]
    campaign_id: str | None
    created_ms: int


@dataclass(frozen=True, slots=True)
class CampaignRecord:
    """A walk-forward campaign on one asset; its id names its content (data, folds, variants, costs, code)."""

    id: str
    asset: Asset
    interval: Interval
    spec: Mapping[str, Any]
    regime: Mapping[str, Any]
    """regime probabilities and held regime at the end of the data: the context in which it was started"""
    created_ms: int
    finished_ms: int | None = None
    outcome: Mapping[str, Any] | None = None
    """the verdict with its full statistical record"""


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """One finished task of a campaign. The id names what was computed, so that it is never computed again."""

    id: str
    campaign_id: str
    position: int
    """its place in the campaign's task list"""
    result: Mapping[str, Any]
    artefact: str | None
    """object in the bucket that holds its arrays"""
    created_ms: int


@dataclass(frozen=True, slots=True)
class Champion:
    """Parameters that earned an asset. At most one per asset is active; the database holds that.

    A run trades the settings; it trades a champion where they are the champion's (`ost champions show ID --settings`).
    """

    id: str
    asset: Asset
    interval: Interval
    params: Mapping[str, Any]
    """what differs from the defaults, by dotted setting name"""
    params_version: str
    metrics: Mapping[str, Any]
    """out of sample: `sharpe_daily`, `volatility_daily`, `days`, …: the baseline that drift is measured from"""
    trained_on_regime: Mapping[str, Any]
    statistical_test: Mapping[str, Any]
    lineage: Mapping[str, Any]
    """campaign, predecessor, code version, data hash, recalibration event"""
    reason: str
    created_ms: int
    active: bool = False
    activated_ms: int | None = None
    deactivated_ms: int | None = None


@dataclass(frozen=True, slots=True)
class RecalibrationEvent:
    """A reason to tune an asset again, with the regime of that moment, and what came of it."""

    id: str
    asset: Asset
    created_ms: int
    trigger: str
    """`sharpe`, `volatility` or `manual`"""
    measured: Mapping[str, Any]
    """current, baseline, relative change, z, threshold"""
    regime: Mapping[str, Any]
    status: str
    """`open`, `running`, `champion`, `no_improvement` or `failed`"""
    finished_ms: int | None = None
    outcome: Mapping[str, Any] | None = None


def unfinished_events(events: Sequence[RecalibrationEvent]) -> list[RecalibrationEvent]:
    """Events that can go on, in the order of `events` (oldest first): open, running (perhaps killed) and failed ones.

    A failed one counts only while its asset has no newer event.
    """
    newest = {event.asset: event.id for event in events}
    return [
        event for event in events if event.status not in FINAL and (event.status != "failed" or newest[event.asset] == event.id)
    ]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A market pattern that a detector recognised."""

    id: str
    asset: Asset
    interval: Interval
    kind: str
    """e.g. `order_block_bullish`"""
    start_ms: int
    end_ms: int
    """when it became known"""
    strength: float
    """in [0, 1]"""
    detail: Mapping[str, Any]
