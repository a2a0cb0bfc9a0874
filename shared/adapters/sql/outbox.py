"""The outbox: events are stored in the transaction of their effect and published from here, in order, at least once.

Whoever has the effect calls `add` with its own connection. An event's id comes from its content, so an effect that is stored
again tells nothing again. A position that becomes visible late (its transaction was slower) is still unpublished and comes in
the next pass: nothing is skipped.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, select, update

from shared.adapters.sql.live_models import UNPUBLISHED, OutboxRow
from shared.adapters.sql.statements import insert_all_missing, table, unread
from shared.domain.events import Event, EventKind

_OUTBOX = table(OutboxRow)
_WAITING = select(_OUTBOX).where(UNPUBLISHED).order_by(_OUTBOX.c.position).limit(bindparam("most"))
_TAKEN = unread(
    update(_OUTBOX)
    .where(_OUTBOX.c.id.in_(bindparam("taken", expanding=True)), UNPUBLISHED)
    .values(published_ms=bindparam("now_ms"))
)


def add(connection: Connection, events: Iterable[Event]) -> None:
    """Store events that are to be published; those that are there already change nothing."""
    insert_all_missing(connection, OutboxRow, [_row(event) for event in events])


def waiting(connection: Connection, limit: int) -> list[Event]:
    """Events that are not known to have been published, oldest first."""
    return [_event(row) for row in connection.execute(_WAITING, {"most": limit}).mappings()]


def mark(connection: Connection, event_ids: Iterable[str], now_ms: int) -> None:
    """Note that the bus took them at `now_ms`; the first time stays."""
    connection.execute(_TAKEN, {"taken": list(event_ids), "now_ms": now_ms})


def _row(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "kind": event.kind.value,
        "book": event.book,
        "subject": event.subject,
        "time_ms": event.time_ms,
        "data": dict(event.data),
    }


def _event(row: RowMapping) -> Event:
    return Event(row["id"], EventKind(row["kind"]), row["book"], row["subject"], row["time_ms"], row["data"])
