"""What every `Bus` promises. Another adapter joins by adding its factory to `FACTORIES`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.local.bus import LocalBus
from shared.domain.errors import BusUnavailable
from shared.domain.events import Event, EventKind, event
from shared.ports import Bus


class Line:
    """A bus, what came out of it, and a way to make it refuse."""

    def __init__(self, bus: Bus, came: Callable[[int], list[dict[str, Any]]], broken: Callable[[], Bus]) -> None:
        self.bus, self.came, self.broken = bus, came, broken


def _local(request: pytest.FixtureRequest) -> Line:
    path: Path = request.getfixturevalue("tmp_path") / "events.jsonl"
    return Line(
        LocalBus(path),
        lambda _: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()],
        lambda: LocalBus(path.parent),
    )


def _pubsub(request: pytest.FixtureRequest) -> Line:
    project: str = request.getfixturevalue("pubsub_project")
    from shared.adapters.gcp.bus import BOOK_EVENTS, PubSubBus
    from tests.integration.gcp.topics import Subscription

    held = Subscription(project, BOOK_EVENTS, "book-events-hold", is_ordered=True)
    return Line(
        PubSubBus(project),
        lambda count: [json.loads(message.data) for message in held.messages(count)],
        lambda: PubSubBus("no-such-project", patience_s=1.0),
    )


FACTORIES: dict[str, Callable[[pytest.FixtureRequest], Line]] = {"local": _local, "pubsub": _pubsub}


@pytest.fixture(params=sorted(FACTORIES))
def line(request: pytest.FixtureRequest) -> Line:
    return FACTORIES[request.param](request)


def made(number: int, subject: str = "BTCUSDT", kind: EventKind = EventKind.TRADE_EXECUTED) -> Event:
    return event(kind, "b", subject, 1_751_328_000_000 + number, {"number": number, "text": "α ≥ 1"})


async def test_an_event_arrives_as_its_cloud_event(line: Line) -> None:
    await line.bus.publish(made(1))
    assert line.came(1) == [made(1).as_cloud_event()]


async def test_events_of_a_subject_arrive_in_their_order(line: Line) -> None:
    sent = [made(number, subject) for number in range(10) for subject in ("BTCUSDT", "ETHUSDT")]
    for one in sent:
        await line.bus.publish(one)
    came = line.came(len(sent))
    for subject in ("BTCUSDT", "ETHUSDT"):
        numbers = [envelope["data"]["number"] for envelope in came if envelope["subject"] == subject]
        assert numbers == list(range(10))


async def test_an_event_that_is_published_again_has_the_same_id(line: Line) -> None:
    for _ in range(2):
        await line.bus.publish(made(1))
    assert [envelope["id"] for envelope in line.came(2)] == [made(1).id] * 2


async def test_what_the_bus_did_not_take_is_told_and_holds_up_nothing(line: Line) -> None:
    with pytest.raises(BusUnavailable):
        await line.broken().publish(made(1))
    await line.bus.publish(made(2))
    assert [envelope["data"]["number"] for envelope in line.came(1)] == [2]
