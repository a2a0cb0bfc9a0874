"""Whatever fails, every event reaches the bus at least once, in order, and exactly those that did are marked."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from shared.adapters.local.bus import LocalBus
from shared.adapters.local.clock import VirtualClock
from shared.adapters.sql import SqlLedger
from shared.adapters.sql.engine import reading, writing
from shared.domain.errors import BusUnavailable, StorageError
from shared.domain.events import Event
from shared.trading.outbox import relay


class Unsteady:
    """A subscriber that refuses as it is told: not at all, before it has taken an event, or after."""

    def __init__(self, faults: Iterator[str]) -> None:
        self.taken: list[Event] = []
        self._faults = faults

    async def __call__(self, event: Event) -> None:
        fault = next(self._faults, "")
        if fault == "before":
            raise StorageError("not now")
        self.taken.append(event)
        if fault == "after":
            raise StorageError("the answer was lost")


def published(ledger: SqlLedger) -> set[str]:
    with reading(ledger.engine) as connection:
        return set(connection.execute(text("SELECT id FROM outbox WHERE published_ms IS NOT NULL")).scalars())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=st.integers(0, 12),
    faults=st.lists(st.sampled_from(["", "", "before", "after"]), max_size=30),
    limit=st.integers(1, 5),
)
async def test_every_event_is_published_at_least_once_in_order_and_exactly_those_are_marked(
    ledger: SqlLedger, make: Any, events: int, faults: list[str], limit: int
) -> None:
    with writing(ledger.engine) as connection:
        connection.execute(text("DELETE FROM outbox"))
        connection.execute(text("DELETE FROM fills"))
    for n in range(events):
        ledger.add_fills("b", [make.fill(n + 1, "1")])
    waiting = ledger.unpublished_events()
    subscriber, bus, clock = Unsteady(iter(faults)), LocalBus(), VirtualClock(5)
    bus.subscribe(subscriber)
    confirmed: list[str] = []
    for _ in range(len(faults) + events + 1):
        before = len(subscriber.taken)
        try:
            count = await relay(ledger, bus, clock, limit)
        except BusUnavailable:
            count = len(published(ledger)) - len(confirmed)
        confirmed += [event.id for event in subscriber.taken[before : before + count]]
        assert published(ledger) == set(confirmed)
    assert ledger.unpublished_events() == []
    first_seen = list(dict.fromkeys(event.id for event in subscriber.taken))
    assert first_seen == confirmed == [event.id for event in waiting]


async def test_a_cancelled_relay_marks_what_was_taken(ledger: SqlLedger, make: Any) -> None:
    ledger.add_fills("b", [make.fill(n, "1") for n in (1, 2, 3)])
    first, *others = ledger.unpublished_events()

    class Interrupted(LocalBus):
        async def publish(self, event: Event) -> None:
            if event != first:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await relay(ledger, Interrupted(), VirtualClock(5))
    assert ledger.unpublished_events() == others


async def test_where_nothing_waits_nothing_is_done(ledger: SqlLedger) -> None:
    assert await relay(ledger, LocalBus(), VirtualClock(5)) == 0


def test_looking_for_waiting_events_uses_the_partial_index(ledger: SqlLedger, make: Any) -> None:
    with writing(ledger.engine) as connection:
        row = "'x' || n, 'error', 'b', 'b', 1, '{}', 1"
        numbers = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 3000)"
        columns = "(id, kind, book, subject, time_ms, data, published_ms)"
        cast = row.replace("'{}'", "CAST('{}' AS JSONB)") if connection.dialect.name == "postgresql" else row
        connection.execute(text(f"INSERT INTO outbox {columns} {numbers} SELECT {cast} FROM s"))
    ledger.add_fills("b", [make.fill(1, "1", fee=Decimal(0))])
    with writing(ledger.engine) as connection:
        connection.execute(text("ANALYZE outbox"))
        explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
        query = "SELECT * FROM outbox WHERE published_ms IS NULL ORDER BY position LIMIT 100"
        plan = " ".join(str(row) for row in connection.execute(text(f"{explain} {query}")))
    assert "ix_outbox_unpublished" in plan
    assert len(ledger.unpublished_events()) == 1
