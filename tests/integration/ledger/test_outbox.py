"""Every event reaches the bus at least once and in order, exactly those are marked, and one stops no others for ever."""

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
from shared.domain.events import Event, EventKind
from shared.domain.records import Heartbeat
from shared.trading.outbox import BUS_IS_AWAY, MOST_ATTEMPTS, relay


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
    faults=st.lists(st.sampled_from(["", "", "before", "after"]), max_size=MOST_ATTEMPTS - 1),
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


class Refusing(LocalBus):
    """Never takes some events, or none at all."""

    def __init__(self, *refused: Event, away: bool = False) -> None:
        super().__init__()
        self.refused, self.away = refused, away
        self.asked: list[Event] = []
        self.taken: list[Event] = []

    async def publish(self, event: Event) -> None:
        self.asked.append(event)
        if self.away or event in self.refused:
            raise BusUnavailable("not this one")
        self.taken.append(event)


async def relayed(ledger: SqlLedger, bus: Refusing, passes: int) -> None:
    for _ in range(passes):
        try:
            await relay(ledger, bus, VirtualClock(5))
        except BusUnavailable:
            continue


async def test_an_event_that_is_refused_holds_up_its_own_subject_only(ledger: SqlLedger, make: Any) -> None:
    fills = [make.fill(n, "1", symbol=symbol) for n, symbol in enumerate(("BTCUSDT", "ETHUSDT", "BTCUSDT", "ETHUSDT"), 1)]
    ledger.add_fills("b", fills)
    poisoned, *others = ledger.unpublished_events()
    bus = Refusing(poisoned)
    await relayed(ledger, bus, MOST_ATTEMPTS - 1)
    assert bus.taken == [event for event in others if event.subject == "ETHUSDT"]
    assert [event.subject for event in ledger.unpublished_events()] == ["BTCUSDT", "BTCUSDT"]
    assert ledger.set_aside_events("b") == []


async def test_after_a_number_of_attempts_it_is_set_aside_told_of_and_kept(ledger: SqlLedger, make: Any) -> None:
    ledger.add_fills("b", [make.fill(n, "1") for n in (1, 2, 3)])
    poisoned, *others = ledger.unpublished_events()
    bus = Refusing(poisoned)
    await relayed(ledger, bus, MOST_ATTEMPTS + 1)
    told = [event for event in bus.taken if event.kind is EventKind.ERROR]
    assert bus.taken == [*others, *told]
    assert [event.data["context"] for event in told] == [{"event": poisoned.id}]
    assert ledger.set_aside_events("b") == [poisoned]
    assert ledger.unpublished_events() == []
    bus.refused = ()
    assert ledger.retry_set_aside("b") == 1
    await relayed(ledger, bus, 1)
    assert bus.taken[-1] == poisoned
    assert ledger.set_aside_events("b") == []


async def test_a_long_queue_of_one_refused_subject_holds_no_other_up(ledger: SqlLedger, make: Any) -> None:
    ledger.add_fills("b", [make.fill(n, "1") for n in range(1, 6)])
    ledger.add_fills("b", [make.fill(9, "1", symbol="ETHUSDT")])
    *queue, other = ledger.unpublished_events()
    bus = Refusing(*queue)
    with pytest.raises(BusUnavailable):
        await relay(ledger, bus, VirtualClock(5), limit=5)
    assert bus.taken == [other]


async def test_while_the_bus_is_away_nothing_is_set_aside_and_few_events_are_tried(ledger: SqlLedger, make: Any) -> None:
    ledger.add_fills("b", [make.fill(n, "1", symbol=f"S{n}") for n in range(1, 6)])
    waiting, bus = ledger.unpublished_events(), Refusing(away=True)
    await relayed(ledger, bus, 3 * MOST_ATTEMPTS)
    assert ledger.unpublished_events() == waiting
    assert len(bus.asked) <= 3 * MOST_ATTEMPTS * (BUS_IS_AWAY + 1)
    bus.away = False
    await relayed(ledger, bus, 1)
    assert bus.taken == waiting


async def test_what_is_told_of_an_event_that_was_set_aside_makes_no_further_events(ledger: SqlLedger, make: Any) -> None:
    class OnlyTrades(Refusing):
        async def publish(self, event: Event) -> None:
            self.refused = (event,) if event.kind is EventKind.ERROR else ()
            await super().publish(event)

    ledger.log("b", "test", "error", "refused", 1)
    bus = OnlyTrades()
    for n in range(1, 3 * MOST_ATTEMPTS):
        ledger.add_fills("b", [make.fill(n, "1")])
        await relayed(ledger, bus, 1)
    assert len(ledger.set_aside_events("b")) == 2
    assert ledger.unpublished_events() == []


def test_only_what_was_published_and_who_is_silent_for_long_is_pruned(ledger: SqlLedger, make: Any) -> None:
    for n in (1, 2, 3):
        ledger.add_fills("b", [make.fill(n, "1")])
    ledger.add_fills("c", [make.fill(4, "1")])
    for n, holder in ((100, "old"), (200, "new")):
        ledger.beat(Heartbeat("b", "trader", holder, n, {}))
    first, second, third, other = ledger.unpublished_events()
    ledger.mark_published([first.id, other.id], 10)
    ledger.mark_published([second.id], 20)
    assert ledger.prune("b", published_before_ms=20, heard_before_ms=200) == 2
    assert published(ledger) == {second.id, other.id}
    assert ledger.unpublished_events() == [third]
    assert [beat.holder for beat in ledger.heartbeats("b")] == ["new"]
