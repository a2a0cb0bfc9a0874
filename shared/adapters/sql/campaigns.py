"""Walk-forward campaigns and their finished tasks: what a killed campaign goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, select, update

from shared.adapters.sql.research_models import CampaignRow, TaskRow
from shared.adapters.sql.statements import asset_columns, insert_missing, row_by_id, table, with_asset
from shared.domain.asset import Asset
from shared.domain.errors import LedgerError
from shared.domain.research import CampaignRecord, TaskRecord

_CAMPAIGNS = table(CampaignRow)
_TASKS = table(TaskRow)


def register(connection: Connection, campaign: CampaignRecord) -> None:
    """Remember a campaign; the same id again changes nothing."""
    row = {
        "id": campaign.id,
        **asset_columns(campaign.asset),
        "interval": campaign.interval.value,
        "spec": dict(campaign.spec),
        "regime": dict(campaign.regime),
        "created_ms": campaign.created_ms,
        "finished_ms": campaign.finished_ms,
        "outcome": None if campaign.outcome is None else dict(campaign.outcome),
    }
    insert_missing(connection, CampaignRow, row)


def finish(connection: Connection, campaign_id: str, outcome: Mapping[str, Any], now_ms: int) -> None:
    """Store the verdict; the first one stays. Raises `LedgerError` for a campaign that was never registered."""
    unfinished = update(_CAMPAIGNS).where(_CAMPAIGNS.c.id == campaign_id, _CAMPAIGNS.c.finished_ms.is_(None))
    if connection.execute(unfinished.values(finished_ms=now_ms, outcome=dict(outcome))).rowcount:
        return
    if connection.execute(select(_CAMPAIGNS.c.id).where(_CAMPAIGNS.c.id == campaign_id)).first() is None:
        raise LedgerError(f"campaign {campaign_id} cannot be finished: it was never registered")


def find(connection: Connection, campaign_id: str) -> CampaignRecord | None:
    """One campaign by its id or a unique prefix of it."""
    row = row_by_id(connection, CampaignRow, campaign_id, noun="campaign", listing="ost campaign list")
    return None if row is None else CampaignRecord(**with_asset(row))


def listed(connection: Connection, asset: Asset | None) -> list[CampaignRecord]:
    """Campaigns, oldest first."""
    query = select(_CAMPAIGNS).order_by(_CAMPAIGNS.c.created_ms, _CAMPAIGNS.c.id)
    if asset is not None:
        query = query.where(_CAMPAIGNS.c.venue == asset.venue, _CAMPAIGNS.c.symbol == asset.symbol)
    return [CampaignRecord(**with_asset(row)) for row in connection.execute(query).mappings()]


def record_task(connection: Connection, task: TaskRecord) -> None:
    """Store a finished task; the same id again changes nothing."""
    row = {field.name: getattr(task, field.name) for field in fields(task)}
    insert_missing(connection, TaskRow, row)


def tasks(connection: Connection, campaign_id: str) -> list[TaskRecord]:
    """Finished tasks of a campaign, by position."""
    query = select(_TASKS).where(_TASKS.c.campaign_id == campaign_id).order_by(_TASKS.c.position, _TASKS.c.id)
    return [TaskRecord(**row) for row in connection.execute(query).mappings()]
