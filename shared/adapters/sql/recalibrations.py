"""Reasons to tune an asset again, and what came of each: open -> running -> champion, no_improvement or failed.

A failed one may run again; the other two ends are final.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select, update

from shared.adapters.sql.research_models import RecalibrationRow
from shared.adapters.sql.statements import asset_columns, insert_missing, table, with_asset
from shared.domain.asset import Asset
from shared.domain.errors import Conflict, LedgerError, UsageError
from shared.domain.research import FINAL, RecalibrationEvent

_EVENTS = table(RecalibrationRow)
_STATUSES = ("open", "running", "champion", "no_improvement", "failed")
_ENDS = (*FINAL, "failed")


def record(connection: Connection, event: RecalibrationEvent) -> None:
    """Store an event; the same id again changes nothing."""
    row = {
        "id": event.id,
        **asset_columns(event.asset),
        "created_ms": event.created_ms,
        "trigger": event.trigger,
        "measured": dict(event.measured),
        "regime": dict(event.regime),
        "status": event.status,
        "finished_ms": event.finished_ms,
        "outcome": None if event.outcome is None else dict(event.outcome),
    }
    insert_missing(connection, RecalibrationRow, row)


def advance(
    connection: Connection, event_id: str, status: str, now_ms: int, outcome: Mapping[str, Any] | None
) -> RecalibrationEvent:
    """Set the status and return the event; the same end again changes nothing.

    Raises `UsageError` for a status that there is not, `LedgerError` for an unknown event, `Conflict` for one that has ended
    otherwise.
    """
    if status not in _STATUSES:
        raise UsageError(f"{status!r} is no status of a recalibration; expected one of {' '.join(_STATUSES)}")
    row = connection.execute(select(_EVENTS).where(_EVENTS.c.id == event_id).with_for_update()).mappings().one_or_none()
    if row is None:
        raise LedgerError(f"recalibration {event_id} cannot become {status}: it was never recorded")
    if row["status"] in FINAL:
        if row["status"] != status:
            raise Conflict(f"recalibration {event_id} ended as {row['status']} and cannot become {status}; start another one")
        return RecalibrationEvent(**with_asset(row))
    ended = status in _ENDS
    values = {
        "status": status,
        "finished_ms": now_ms if ended else None,
        "outcome": dict(outcome or {}) if ended else None,
    }
    connection.execute(update(_EVENTS).where(_EVENTS.c.id == event_id).values(values))
    return RecalibrationEvent(**{**with_asset(row), **values})


def listed(connection: Connection, asset: Asset | None) -> list[RecalibrationEvent]:
    """Events, oldest first."""
    query = select(_EVENTS).order_by(_EVENTS.c.created_ms, _EVENTS.c.id)
    if asset is not None:
        query = query.where(_EVENTS.c.venue == asset.venue, _EVENTS.c.symbol == asset.symbol)
    return [RecalibrationEvent(**with_asset(row)) for row in connection.execute(query).mappings()]
