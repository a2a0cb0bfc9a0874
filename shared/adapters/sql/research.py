"""The memory of research on SQLAlchemy: the port `shared.ports.Research`, each method one transaction.

This module only opens transactions and says which function answers; the functions stand by concern in their own modules
(trials, campaigns, champions, recalibrations). It lives in the ledger's database. Safe for threads; each process opens its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Engine

from shared.adapters.sql import campaigns, champions, recalibrations
from shared.adapters.sql import trials as trial_rows
from shared.adapters.sql.engine import PATIENT, Patience, close_engine, label, make_engine, reading, writing
from shared.adapters.sql.migrate import migrate as migrate_engine
from shared.domain.asset import Asset
from shared.domain.research import CampaignRecord, Champion, Pattern, RecalibrationEvent, TaskRecord, Trial
from shared.ports import Research


def open_research(url: str, *, migrate: bool = True, patience: Patience = PATIENT) -> SqlResearch:
    """The memory of research in the ledger at `url`, its schema up to date. Errors: as `open_ledger`."""
    engine = make_engine(url, patience)
    if migrate:
        migrate_engine(engine)
    return SqlResearch(engine)


class SqlResearch(Research):
    """`shared.ports.Research` on an engine of `shared.adapters.sql.engine.make_engine`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __repr__(self) -> str:
        return f"SqlResearch({label(self.engine)})"

    def close(self) -> None:
        """Release connections."""
        close_engine(self.engine)

    def record_trials(self, trials: Iterable[Trial]) -> int:
        """Store trials; return how many were new."""
        with writing(self.engine) as connection:
            return trial_rows.record(connection, trials)

    def trials(self, asset: Asset, *, campaign_id: str | None = None) -> list[Trial]:
        """Trials of an asset, oldest first."""
        with reading(self.engine) as connection:
            return trial_rows.listed(connection, asset, campaign_id)

    def register_campaign(self, campaign: CampaignRecord) -> None:
        """Remember a campaign before its first task."""
        with writing(self.engine) as connection:
            campaigns.register(connection, campaign)

    def finish_campaign(self, campaign_id: str, outcome: Mapping[str, Any], now_ms: int) -> None:
        """Store the verdict; raises `LedgerError` for a campaign that was never registered."""
        with writing(self.engine) as connection:
            campaigns.finish(connection, campaign_id, outcome, now_ms)

    def campaign(self, campaign_id: str) -> CampaignRecord | None:
        """One campaign by id or unique prefix; raises `UsageError` listing the candidates of an ambiguous one."""
        with reading(self.engine) as connection:
            return campaigns.find(connection, campaign_id)

    def campaigns(self, asset: Asset | None = None) -> list[CampaignRecord]:
        """Campaigns, oldest first."""
        with reading(self.engine) as connection:
            return campaigns.listed(connection, asset)

    def record_task(self, task: TaskRecord) -> None:
        """Store a finished task; raises `LedgerError` where its campaign is unknown."""
        with writing(self.engine) as connection:
            campaigns.record_task(connection, task)

    def tasks(self, campaign_id: str) -> list[TaskRecord]:
        """Finished tasks of a campaign, by position."""
        with reading(self.engine) as connection:
            return campaigns.tasks(connection, campaign_id)

    def champion(self, champion_id: str) -> Champion | None:
        """One champion by id or unique prefix; raises `UsageError` listing the candidates of an ambiguous one."""
        with reading(self.engine) as connection:
            return champions.find(connection, champion_id)

    def champions(self, asset: Asset | None = None, *, active: bool = False) -> list[Champion]:
        """Champions, oldest first; with `active` only those in force."""
        with reading(self.engine) as connection:
            return champions.listed(connection, asset, active=active)

    def promote(self, champion: Champion, now_ms: int) -> Champion | None:
        """Activate a champion in the place of its lineage's predecessor; see the port and `champions.promote`."""
        with writing(self.engine) as connection:
            return champions.promote(connection, champion, now_ms)

    def record_recalibration(self, event: RecalibrationEvent) -> None:
        """Store an event."""
        with writing(self.engine) as connection:
            recalibrations.record(connection, event)

    def advance_recalibration(
        self, event_id: str, status: str, now_ms: int, outcome: Mapping[str, Any] | None = None
    ) -> RecalibrationEvent:
        """Set the status; raises `Conflict` for an event that has ended otherwise."""
        with writing(self.engine) as connection:
            return recalibrations.advance(connection, event_id, status, now_ms, outcome)

    def recalibrations(self, asset: Asset | None = None) -> list[RecalibrationEvent]:
        """Recalibration events, oldest first."""
        with reading(self.engine) as connection:
            return recalibrations.listed(connection, asset)

    def record_patterns(self, patterns: Iterable[Pattern]) -> int:
        """Store patterns; return how many were new."""
        with writing(self.engine) as connection:
            return trial_rows.record_patterns(connection, patterns)

    def patterns(self, asset: Asset, *, since_ms: int = 0) -> list[Pattern]:
        """Patterns of an asset by the instant at which they became known."""
        with reading(self.engine) as connection:
            return trial_rows.patterns(connection, asset, since_ms)
