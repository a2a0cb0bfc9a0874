"""What Pub/Sub adds to the bus's contract: topics, attributes, ordering keys, refusals; and dead letters that are not lost."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import grpc
import pytest
import requests
from google.protobuf import json_format
from google.pubsub_v1.types import PublishRequest, PublishResponse

from shared.adapters.gcp.bus import BOOK_EVENTS, TOPICS, PubSubBus, project_of
from shared.adapters.gcp.clients import publisher_client, subscriber_client
from shared.adapters.gcp.dead_letters import DeadLetter, DeadLetters
from shared.adapters.gcp.rest import JsonApi
from shared.domain.errors import BusUnavailable, UsageError
from shared.domain.events import Event, EventKind, event
from tests.integration.gcp.fake_http import FakeHttpApi, Refusal
from tests.integration.gcp.topics import Subscription, topic

EVENT = event(EventKind.REGIME_CHANGED, "b", "BTCUSDT", 1_751_328_000_000, {"to": "stress"})


class Publisher(FakeHttpApi):
    """Takes messages in Pub/Sub's own form."""

    def __init__(self, *statuses: int) -> None:
        super().__init__()
        self.refusals = [Refusal(status) for status in statuses]
        self.taken: list[tuple[str, Any]] = []

    def answer(self, method: str, path: str, body: bytes) -> Any:
        request = PublishRequest.pb(PublishRequest())
        json_format.Parse(body, request)
        self.taken.append((path, request.messages[0]))
        return PublishResponse.pb(PublishResponse(message_ids=["1"]))


async def sent(publisher: Publisher, event_: Event = EVENT, patience_s: float = 5.0) -> None:
    with publisher:
        pubsub = JsonApi(f"http://{publisher.address}/v1", requests.Session())
        await PubSubBus("p", pubsub=pubsub, patience_s=patience_s).publish(event_)


async def test_a_message_is_the_cloud_event_with_what_a_subscriber_may_look_at() -> None:
    publisher = Publisher()
    await sent(publisher)
    ((path, message),) = publisher.taken
    assert path == f"projects/p/topics/{BOOK_EVENTS}:publish"
    assert json.loads(message.data) == EVENT.as_cloud_event()
    assert dict(message.attributes) == {"type": "one-smart-trade.regime.changed.v1", "id": EVENT.id, "subject": "BTCUSDT"}
    assert message.ordering_key == "BTCUSDT"


async def test_an_event_of_no_book_has_no_order() -> None:
    publisher = Publisher()
    await sent(publisher, event(EventKind.CANDLES_INGESTED, "", "BTCUSDT", 1_751_328_000_000, {}))
    ((path, message),) = publisher.taken
    assert (path, message.ordering_key) == ("projects/p/topics/candles-ingested:publish", "")


def test_every_kind_of_event_has_a_topic() -> None:
    assert set(TOPICS) == set(EventKind)


async def test_a_passing_refusal_is_tried_again_by_itself() -> None:
    publisher = Publisher(503, 500, 429)
    await sent(publisher)
    assert len(publisher.taken) == 1


async def test_a_message_whose_answer_was_lost_is_sent_again_with_the_same_id() -> None:
    publisher = Publisher()
    publisher.loses_answer = True
    await sent(publisher)
    assert [message.attributes["id"] for _, message in publisher.taken] == [EVENT.id] * 2


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, "permission denied; grant the service account the role"),
        (404, "it does not exist; check the name, or create it with Terraform"),
        (400, "the request is refused as it is"),
    ],
)
async def test_a_lasting_refusal_is_told_at_once_with_the_event_and_what_to_do(status: int, message: str) -> None:
    publisher = Publisher(status)
    with pytest.raises(BusUnavailable, match=rf"regime\.changed {EVENT.id} on book-events: {message}.*said the test"):
        await sent(publisher)
    assert publisher.taken == []


async def test_a_bus_that_is_away_is_told_after_the_patience() -> None:
    with pytest.raises(BusUnavailable, match="no answer in time; try again"):
        await sent(Publisher(*[503] * 99), patience_s=0.5)
    nobody = JsonApi("http://127.0.0.1:9/v1", requests.Session())
    with pytest.raises(BusUnavailable, match=EVENT.id):
        await PubSubBus("p", pubsub=nobody, patience_s=0.5).publish(EVENT)


async def test_after_an_error_the_next_event_of_the_subject_goes(pubsub_project: str) -> None:
    bus = PubSubBus(pubsub_project, patience_s=2.0)
    with pytest.raises(BusUnavailable, match="it does not exist"):
        await bus.publish(EVENT)
    held = Subscription(pubsub_project, BOOK_EVENTS, "book-events-hold", is_ordered=True)
    following = replace(EVENT, id="e-2")
    await bus.publish(EVENT)
    await bus.publish(following)
    assert [message.attributes["id"] for message in held.messages(2)] == [EVENT.id, "e-2"]


def test_an_address_that_is_no_bus_is_refused() -> None:
    assert project_of("pubsub://demo") == "demo"
    for url in ("demo", "pubsub://", "gs://demo"):
        with pytest.raises(UsageError, match="expected pubsub://PROJECT"):
            project_of(url)


class Chain:
    """`candles-ingested` with the subscription of `curate`, and the dead letters behind it."""

    def __init__(self, project: str) -> None:
        self.project = project
        self.held = Subscription(project, "dead-letters", "dead-letters-hold")
        dead = f"projects/{project}/topics/dead-letters"
        self.curate = Subscription(project, "candles-ingested", "candles-ingested-curate", dead_letters=dead)
        self.letters = DeadLetters(project, wait_s=1.0)

    def publish(self, number: int) -> None:
        self.send(
            "candles-ingested", {"id": f"e-{number}", "type": "one-smart-trade.candles.ingested.v1", "subject": "BTCUSDT"}
        )

    def send(self, name: str, attributes: dict[str, str], ordering_key: str = "") -> None:
        message = {"data": json.dumps(attributes).encode(), "attributes": attributes, "ordering_key": ordering_key}
        publisher_client().publish(topic=f"projects/{self.project}/topics/{name}", messages=[message])


@pytest.fixture
def chain(pubsub_project: str) -> Chain:
    return Chain(pubsub_project)


def test_no_letters_are_an_empty_list(chain: Chain) -> None:
    assert chain.letters.listed() == []
    assert chain.letters.replay().replayed == ()


def test_a_poison_message_becomes_a_letter_that_looking_does_not_lose_and_a_replay_brings_back(chain: Chain) -> None:
    chain.publish(1)
    chain.curate.refuse(5)
    for _ in range(2):
        (letter,) = chain.letters.listed()
        assert (letter.event_id, letter.event_type) == ("e-1", "one-smart-trade.candles.ingested.v1")
        assert (letter.topic, letter.subscription) == ("candles-ingested", "candles-ingested-curate")
        assert set(letter.attributes) == {"id", "type", "subject"}
    assert [replayed.event_id for replayed in chain.letters.replay().replayed] == ["e-1"]
    (again,) = chain.curate.messages(1)
    assert json.loads(again.data)["id"] == again.attributes["id"] == "e-1"
    assert chain.letters.listed() == []


def test_only_the_letters_that_are_wanted_are_replayed(chain: Chain) -> None:
    for number in (1, 2, 3):
        attributes = {"id": f"e-{number}", "type": "one-smart-trade.candles.ingested.v1"}
        chain.send("dead-letters", attributes)
    result = chain.letters.replay(lambda letter: letter.event_id == "e-2")
    assert [letter.event_id for letter in result.replayed] == ["e-2"]
    assert sorted(letter.event_id for letter in chain.letters.listed()) == ["e-1", "e-3"]
    assert len(chain.letters.listed(limit=1)) == 1


def test_a_letter_that_its_topic_does_not_take_stays_with_the_reason(chain: Chain) -> None:
    chain.send("dead-letters", {"id": "e-1", "type": "one-smart-trade.candles.curated.v1"})  # whose topic is not there
    chain.send("dead-letters", {"id": "e-2", "type": "somebody.else"})
    result = chain.letters.replay()
    assert result.replayed == ()
    reasons = {letter.event_id: why for letter, why in result.kept}
    assert "it does not exist" in reasons["e-1"]
    assert reasons["e-2"] == "it does not tell its topic (subscription unknown)"
    assert len(chain.letters.listed()) == 2


def test_letters_that_were_pulled_when_something_goes_wrong_are_given_back_at_once(chain: Chain) -> None:
    chain.send("dead-letters", {"id": "e-1", "type": "one-smart-trade.candles.ingested.v1"})

    def interrupted(_: DeadLetter) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        chain.letters.replay(interrupted)
    assert [letter.event_id for letter in chain.letters.listed()] == ["e-1"]


def test_a_replay_keeps_the_ordering_key(chain: Chain) -> None:
    held = Subscription(chain.project, BOOK_EVENTS, "book-events-hold", is_ordered=True)
    chain.send("dead-letters", {"id": "e-1", "type": "one-smart-trade.trade.executed.v1"}, ordering_key="BTCUSDT")
    chain.letters.replay()
    assert [message.ordering_key for message in held.messages(1)] == ["BTCUSDT"]


def test_an_absent_subscription_is_told(pubsub_project: str) -> None:
    topic(pubsub_project, "dead-letters")
    with pytest.raises(BusUnavailable, match="dead-letters-hold: it does not exist"):
        DeadLetters(pubsub_project).listed()


def test_a_service_that_is_away_is_told_after_the_patience() -> None:
    away = subscriber_client(grpc.insecure_channel("127.0.0.1:9"))
    began = time.monotonic()
    with pytest.raises(BusUnavailable, match="no answer in time"):
        DeadLetters("demo", subscriber=away, patience_s=0.5).listed()
    assert time.monotonic() - began < 10.0
