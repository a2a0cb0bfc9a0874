"""Subscribers get their kinds in order; what is not taken is said to be not taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.adapters.local.bus import LocalBus
from shared.domain.errors import BusUnavailable, StorageError
from shared.domain.events import Event, EventKind, event

EVENTS = [event(kind, "b", "BTCUSDT", n, {"n": n}) for n, kind in enumerate(EventKind)]


class Recorder:
    """A subscriber that remembers, and refuses the first `refusals` events."""

    def __init__(self, refusals: int = 0) -> None:
        self.seen: list[Event] = []
        self._refusals = refusals

    async def __call__(self, event: Event) -> None:
        if self._refusals:
            self._refusals -= 1
            raise StorageError("the disk is full")
        self.seen.append(event)


async def test_subscribers_get_their_kinds_and_all_where_none_is_named() -> None:
    bus, everything, errors = LocalBus(), Recorder(), Recorder()
    bus.subscribe(everything)
    bus.subscribe(errors, EventKind.ERROR, EventKind.DRAWDOWN_THRESHOLD)
    for published in EVENTS:
        await bus.publish(published)
    assert everything.seen == EVENTS
    assert [seen.kind for seen in errors.seen] == [EventKind.DRAWDOWN_THRESHOLD, EventKind.ERROR]


async def test_a_subscriber_that_refuses_makes_the_bus_unavailable_and_sees_the_event_again() -> None:
    bus, first, second = LocalBus(), Recorder(), Recorder(refusals=1)
    bus.subscribe(first)
    bus.subscribe(second)
    with pytest.raises(BusUnavailable, match=r"trade\.executed.*the disk is full"):
        await bus.publish(EVENTS[0])
    await bus.publish(EVENTS[0])
    assert (first.seen, second.seen) == ([EVENTS[0]] * 2, [EVENTS[0]])


async def test_the_file_holds_one_cloud_event_a_line(tmp_path: Path) -> None:
    path = tmp_path / "events" / "b.jsonl"
    for published in EVENTS:
        await LocalBus(path).publish(published)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [published.as_cloud_event() for published in EVENTS]


async def test_a_file_that_cannot_be_written_makes_the_bus_unavailable(tmp_path: Path) -> None:
    with pytest.raises(BusUnavailable, match="Is a directory"):
        await LocalBus(tmp_path).publish(EVENTS[0])
