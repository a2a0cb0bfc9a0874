"""What live trading keeps for judging and watching itself: arrivals of orders, runs of the emergency protocol, heartbeats, and
the pauses that a venue has ordered.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import BindParameter, Connection, Insert, bindparam, delete, func, select

from shared.adapters.sql.live_models import ArrivalRow, EmergencyRow, HeartbeatRow, PauseRow
from shared.adapters.sql.statements import insert_into, insert_or_replace, kept, table, unread, values_of
from shared.domain.records import Arrival, EmergencyRecord, HaltKind, Heartbeat

_ARRIVALS = table(ArrivalRow)
_EMERGENCIES = table(EmergencyRow)
_HEARTBEATS = table(HeartbeatRow)
_PAUSES = table(PauseRow)
_BOOK: BindParameter[str] = bindparam("book_key")
_ARRIVED = select(_ARRIVALS).where(_ARRIVALS.c.book == _BOOK, _ARRIVALS.c.sent_ms >= bindparam("since_ms"))
_ALL_ARRIVED = kept(_ARRIVED.order_by(_ARRIVALS.c.sent_ms, _ARRIVALS.c.client_id))
_LATEST_ARRIVED = kept(_ARRIVED.order_by(_ARRIVALS.c.sent_ms.desc(), _ARRIVALS.c.client_id.desc()).limit(bindparam("most")))
_UNTIL = kept(select(_PAUSES.c.until_ms).where(_PAUSES.c.venue == bindparam("venue_key")))
_UNHEARD = kept(delete(_HEARTBEATS).where(_HEARTBEATS.c.book == _BOOK, _HEARTBEATS.c.time_ms < bindparam("before_ms")))


def record_arrival(connection: Connection, arrival: Arrival) -> None:
    """Store an arrival; the same client id again only adds the time of the answer, where none is known yet."""
    connection.execute(unread(_arriving(connection.dialect.name)), values_of(arrival))


def arrivals(connection: Connection, book: str, since_ms: int, limit: int | None) -> list[Arrival]:
    """Arrivals from `since_ms` on, oldest first; with `limit` the newest ones."""
    if limit is None:
        rows = connection.execute(_ALL_ARRIVED, {"book_key": book, "since_ms": since_ms}).mappings()
        return [Arrival(**row) for row in rows]
    newest_first = connection.execute(_LATEST_ARRIVED, {"book_key": book, "since_ms": since_ms, "most": limit}).mappings()
    return [Arrival(**row) for row in reversed(newest_first.all())]


def record_emergency(connection: Connection, emergency: EmergencyRecord) -> None:
    """Store a run; the same id again replaces it."""
    insert_or_replace(connection, EmergencyRow, [{**values_of(emergency), "kind": emergency.kind.value}])


def emergencies(connection: Connection, book: str) -> list[EmergencyRecord]:
    """Runs, oldest first."""
    query = select(_EMERGENCIES).where(_EMERGENCIES.c.book == book)
    rows = connection.execute(query.order_by(_EMERGENCIES.c.started_ms, _EMERGENCIES.c.id)).mappings()
    return [
        EmergencyRecord(
            **{**row, "kind": HaltKind(row["kind"]), "closed": tuple(row["closed"]), "steps": tuple(row["steps"])},
        )
        for row in rows
    ]


def beat(connection: Connection, heartbeat: Heartbeat) -> None:
    """Store a heartbeat in place of the process's older one; one that is older than what is stored changes nothing."""
    row: dict[str, Any] = {
        "book": heartbeat.book,
        "role": heartbeat.role,
        "holder": heartbeat.holder,
        "time_ms": heartbeat.time_ms,
        "state": dict(heartbeat.state),
    }
    connection.execute(unread(_beating(connection.dialect.name)), row)


def heartbeats(connection: Connection, book: str) -> list[Heartbeat]:
    """The newest heartbeat of each process, by role, the liveliest first."""
    query = select(_HEARTBEATS).where(_HEARTBEATS.c.book == book)
    ordered = query.order_by(_HEARTBEATS.c.role, _HEARTBEATS.c.time_ms.desc(), _HEARTBEATS.c.holder)
    return [Heartbeat(**row) for row in connection.execute(ordered).mappings()]


def forget_heartbeats(connection: Connection, book: str, before_ms: int) -> int:
    """Remove the heartbeats of processes of a book that were last heard before `before_ms`; how many there were."""
    return connection.execute(_UNHEARD, {"book_key": book, "before_ms": before_ms}).rowcount


def note_pause(connection: Connection, venue: str, until_ms: int) -> None:
    """A venue wants no requests before `until_ms`; a later instant that is known already stays."""
    connection.execute(unread(_pausing(connection.dialect.name)), {"venue": venue, "until_ms": until_ms})


def pause_until_ms(connection: Connection, venue: str) -> int:
    """Until when a venue wants no requests; 0 where it never said so."""
    return connection.execute(_UNTIL, {"venue_key": venue}).scalar() or 0


@cache
def _arriving(dialect: str) -> Insert:
    statement = insert_into(dialect, ArrivalRow)
    answered = func.coalesce(_ARRIVALS.c.answered_ms, statement.excluded.answered_ms)
    return statement.on_conflict_do_update(index_elements=["client_id"], set_={"answered_ms": answered})


@cache
def _beating(dialect: str) -> Insert:
    statement = insert_into(dialect, HeartbeatRow)
    return statement.on_conflict_do_update(
        index_elements=["book", "role", "holder"],
        set_={"time_ms": statement.excluded.time_ms, "state": statement.excluded.state},
        where=statement.excluded.time_ms >= _HEARTBEATS.c.time_ms,
    )


@cache
def _pausing(dialect: str) -> Insert:
    statement = insert_into(dialect, PauseRow)
    until_ms = statement.excluded.until_ms
    return statement.on_conflict_do_update(
        index_elements=["venue"], set_={"until_ms": until_ms}, where=until_ms > _PAUSES.c.until_ms
    )
