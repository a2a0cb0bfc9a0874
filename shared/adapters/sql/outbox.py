"""The outbox: events are stored in the transaction of their effect and published from here, in order, at least once.

Whoever has the effect calls `add` with its own connection. An event's id comes from its content, so an effect that is stored
again tells nothing again. A position that becomes visible late (its transaction was slower) is still unpublished and comes in
the next pass: nothing is skipped. An event that was set aside keeps its row until the bus has taken it; only what was
published is ever removed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import BindParameter, Connection, RowMapping, bindparam, delete, select, update

from shared.adapters.sql.live_models import UNPUBLISHED, OutboxRow
from shared.adapters.sql.statements import insert_all_missing, kept, table, unread
from shared.domain.events import Event, EventKind, failed

SOURCE = "outbox"
"""What the event about an event that was set aside is about."""

_OUTBOX = table(OutboxRow)
_IN_TURN = _OUTBOX.c.set_aside_ms.is_(None)
_WAITING = kept(select(_OUTBOX).where(UNPUBLISHED, _IN_TURN).order_by(_OUTBOX.c.position).limit(bindparam("most")))
_TAKEN = unread(update(_OUTBOX).where(_OUTBOX.c.id == bindparam("taken"), UNPUBLISHED).values(published_ms=bindparam("now_ms")))
_BOOK: BindParameter[str] = bindparam("book_key")
_RETRIED = update(_OUTBOX).where(UNPUBLISHED, _OUTBOX.c.set_aside_ms.is_not(None), _OUTBOX.c.book == _BOOK)
_RETRY = kept(_RETRIED.values(set_aside_ms=None, attempts=0))
_PRUNE = kept(delete(_OUTBOX).where(_OUTBOX.c.book == _BOOK, _OUTBOX.c.published_ms < bindparam("before_ms")))


def add(connection: Connection, events: Iterable[Event]) -> None:
    """Store events that are to be published; those that are there already change nothing."""
    insert_all_missing(connection, OutboxRow, [_row(event) for event in events])


def waiting(connection: Connection, limit: int) -> list[Event]:
    """Events that are not known to have been published, oldest first."""
    return [_event(row) for row in connection.execute(_WAITING, {"most": limit}).mappings()]


def mark(connection: Connection, event_ids: Iterable[str], now_ms: int) -> None:
    """Note that the bus took them at `now_ms`; the first time stays."""
    rows = [{"taken": event_id, "now_ms": now_ms} for event_id in event_ids]
    if rows:
        connection.execute(_TAKEN, rows)


def refused(connection: Connection, event_ids: Iterable[str]) -> dict[str, int]:
    """Count an attempt at each of the events that are not published; how many there were by now, by id."""
    named = (_OUTBOX.c.id.in_(list(event_ids)), UNPUBLISHED)
    counted = update(_OUTBOX).where(*named).values(attempts=_OUTBOX.c.attempts + 1)
    return {row.id: row.attempts for row in connection.execute(counted.returning(_OUTBOX.c.id, _OUTBOX.c.attempts))}


def set_aside(connection: Connection, event_ids: Iterable[str], now_ms: int) -> None:
    """Take the events out of the turn, and tell of it by an event of its own; of what is told so, nothing more is told."""
    named = (_OUTBOX.c.id.in_(list(event_ids)), UNPUBLISHED, _IN_TURN)
    passed = update(_OUTBOX).where(*named).values(set_aside_ms=now_ms).returning(_OUTBOX)
    for row in connection.execute(passed).mappings().all():
        if row["subject"] != SOURCE:
            message = f"the bus refused the event {row['id']} ({row['kind']}) {row['attempts']} times; it is set aside"
            add(connection, [failed(row["book"], SOURCE, message, now_ms, {"event": row["id"]})])


def aside(connection: Connection, book: str) -> list[Event]:
    """Events of a book that are set aside, oldest first."""
    query = select(_OUTBOX).where(UNPUBLISHED, _OUTBOX.c.set_aside_ms.is_not(None), _OUTBOX.c.book == book)
    return [_event(row) for row in connection.execute(query.order_by(_OUTBOX.c.position)).mappings()]


def retry(connection: Connection, book: str) -> int:
    """Put the events of a book that are set aside back into the turn; how many there were."""
    return connection.execute(_RETRY, {"book_key": book}).rowcount


def prune(connection: Connection, book: str, before_ms: int) -> int:
    """Remove events of a book that were published before `before_ms`; how many there were."""
    return connection.execute(_PRUNE, {"book_key": book, "before_ms": before_ms}).rowcount


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
