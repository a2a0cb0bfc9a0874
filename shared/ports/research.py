"""The memory of research."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from shared.domain.asset import Asset
from shared.domain.research import CampaignRecord, Champion, Pattern, RecalibrationEvent, TaskRecord, Trial


class Research(Protocol):
    """The memory of research, beside the ledger's. A method is one transaction; all raise `LedgerUnavailable` if it is down.

    Records are keyed by id: the same id again changes nothing. A prefix of an id is enough where one record is looked up.
    """

    def record_trials(self, trials: Iterable[Trial]) -> int:
        """Store trials; return how many were new."""
        ...

    def trials(self, asset: Asset, *, campaign_id: str | None = None) -> list[Trial]:
        """Trials of an asset, oldest first: one for each variant, data range and code that were evaluated."""
        ...

    def register_campaign(self, campaign: CampaignRecord) -> None:
        """Remember a campaign before its first task."""
        ...

    def finish_campaign(self, campaign_id: str, outcome: Mapping[str, Any], now_ms: int) -> None:
        """Store the verdict; a finished campaign keeps its first one."""
        ...

    def campaign(self, campaign_id: str) -> CampaignRecord | None:
        """One campaign. Raises `UsageError` where a prefix fits several."""
        ...

    def campaigns(self, asset: Asset | None = None) -> list[CampaignRecord]:
        """Campaigns, oldest first."""
        ...

    def record_task(self, task: TaskRecord) -> None:
        """Store a finished task."""
        ...

    def tasks(self, campaign_id: str) -> list[TaskRecord]:
        """Finished tasks of a campaign, by position."""
        ...

    def champion(self, champion_id: str) -> Champion | None:
        """One champion. Raises `UsageError` where a prefix fits several."""
        ...

    def champions(self, asset: Asset | None = None, *, active: bool = False) -> list[Champion]:
        """Champions, oldest first; with `active` only those in force."""
        ...

    def promote(self, champion: Champion, now_ms: int) -> Champion | None:
        """Make it the active champion of its asset and deactivate the one before, in one transaction; return that one.

        The active one again changes nothing and returns `None`. Raises `UsageError` where its lineage does not name the
        `predecessor` that it was compared with (`None`: no champion), `Conflict` where another one is active by then, or where
        the id is that of an earlier reign or of another asset.
        """
        ...

    def record_recalibration(self, event: RecalibrationEvent) -> None:
        """Store an event."""
        ...

    def advance_recalibration(
        self, event_id: str, status: str, now_ms: int, outcome: Mapping[str, Any] | None = None
    ) -> RecalibrationEvent:
        """Set the status; one that ends the event (`champion`, `no_improvement`, `failed`) also stores instant and outcome."""
        ...

    def recalibrations(self, asset: Asset | None = None) -> list[RecalibrationEvent]:
        """Recalibration events, oldest first."""
        ...

    def record_patterns(self, patterns: Iterable[Pattern]) -> int:
        """Store patterns; return how many were new."""
        ...

    def patterns(self, asset: Asset, *, since_ms: int = 0) -> list[Pattern]:
        """Patterns of an asset by the instant at which they became known."""
        ...
