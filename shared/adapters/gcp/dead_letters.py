"""The dead letters: messages that no attempt could deliver, held by a subscription until a person has looked at them.

Listing pulls and gives back at once, so that nothing is lost and the next look finds the same. A replay publishes a message
anew, with the same data, attributes and ordering key, on the topic that it came from, and only then lets go of it: a kill in
between leaves it where it was, and the consumers' inbox makes the second delivery harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from google.api_core import exceptions as api

from shared.adapters.gcp.bus import TOPICS
from shared.adapters.gcp.clients import publisher_client, subscriber_client
from shared.adapters.gcp.errors import FAILURES, reason
from shared.domain.errors import BusUnavailable
from shared.domain.events import TYPE_PREFIX

SUBSCRIPTION = "dead-letters-hold"

_ORIGIN = "CloudPubSubDeadLetterSource"
"""What the service puts before the names of the attributes by which a dead letter tells where it comes from."""

_MOST_A_PULL = 100
_EMPTY_PULLS = 2
"""Pulls without a message after which there is none: a pull may come back with nothing though something waits."""
WAIT_S = 5.0
"""How long a pull waits for a message."""
PATIENCE_S = 10.0
"""How long a request is tried again where the service does not answer or cannot answer now."""

_HELD_S = 600
"""For how long pulled messages are kept from other pulls, the most that Pub/Sub allows."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that could not be delivered."""

    message_id: str
    data: bytes
    attributes: Mapping[str, str]
    """those of its publisher"""
    ordering_key: str
    published_ms: int
    """when it became a dead letter"""
    subscription: str
    """whose attempts failed, e.g. `candles-ingested-curate`; empty where the message does not tell"""
    topic: str
    """where it was published first, e.g. `candles-ingested`; empty where nothing tells"""
    attempts: int

    @property
    def event_id(self) -> str:
        """Id of the event; the message's own where it carries none."""
        return self.attributes.get("id") or self.message_id

    @property
    def event_type(self) -> str:
        """CloudEvents type of the event; empty where it carries none."""
        return self.attributes.get("type", "")


@dataclass(frozen=True, slots=True)
class Replay:
    """What became of a replay."""

    replayed: tuple[DeadLetter, ...]
    kept: tuple[tuple[DeadLetter, str], ...]
    """letters that stay, each with the reason"""


class DeadLetters:
    """The dead letters of `project`."""

    def __init__(
        self,
        project: str,
        *,
        subscription: str = SUBSCRIPTION,
        subscriber: Any | None = None,
        publisher: Any | None = None,
        wait_s: float = WAIT_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        from google.api_core.retry import Retry, if_exception_type

        self.project, self._wait_s = project, wait_s
        passing = if_exception_type(
            api.ServiceUnavailable, api.InternalServerError, api.ResourceExhausted, api.Aborted, api.Unknown
        )
        self._options: dict[str, Any] = {"retry": Retry(passing, initial=0.2, timeout=patience_s), "timeout": patience_s}
        self._path = f"projects/{project}/subscriptions/{subscription}"
        self._subscriber = subscriber or subscriber_client()
        self._publisher = publisher

    def listed(self, limit: int = 1000) -> list[DeadLetter]:
        """Up to `limit` letters, oldest first; they stay. Raises `BusUnavailable`."""
        with self._pulled(limit) as pulled:
            return sorted((letter for _, letter in pulled), key=lambda letter: (letter.published_ms, letter.message_id))

    def replay(self, wanted: Callable[[DeadLetter], bool] = lambda _: True, limit: int = 1000) -> Replay:
        """Send the letters that are `wanted` on their way again, oldest first; a letter goes once it was taken.

        One that tells no topic stays, and so does one that its topic refuses. Raises `BusUnavailable` where nothing can be
        pulled or let go; what was replayed by then may come once more.
        """
        self._publisher = self._publisher or publisher_client()
        replayed, kept = [], []
        with self._pulled(limit) as pulled:
            for ack_id, letter in sorted(pulled, key=lambda pair: (pair[1].published_ms, pair[1].message_id)):
                if not wanted(letter):
                    continue
                refusal = self._published(letter)
                if refusal:
                    kept.append((letter, refusal))
                    continue
                self._subscriber.acknowledge(subscription=self._path, ack_ids=[ack_id], **self._options)
                pulled.remove((ack_id, letter))
                replayed.append(letter)
        return Replay(tuple(replayed), tuple(kept))

    def _published(self, letter: DeadLetter) -> str:
        """Publish `letter` where it came from; why that was not possible, or nothing."""
        if not letter.topic:
            return f"it does not tell its topic (subscription {letter.subscription or 'unknown'})"
        message = {"data": letter.data, "attributes": dict(letter.attributes), "ordering_key": letter.ordering_key}
        try:
            topic = f"projects/{self.project}/topics/{letter.topic}"
            self._publisher.publish(topic=topic, messages=[message], **self._options)  # type: ignore[union-attr]
        except FAILURES as error:
            return reason(error)
        return ""

    @contextmanager
    def _pulled(self, limit: int) -> Iterator[list[tuple[str, DeadLetter]]]:
        """Letters with the ids by which they are let go; those that are still in the list at the end are given back."""
        pulled: list[tuple[str, DeadLetter]] = []
        try:
            try:
                self._pull(pulled, limit)
                yield pulled
            finally:
                self._extend(pulled, 0)
        except FAILURES as error:
            raise BusUnavailable(f"cannot use {self._path}: {reason(error)}") from error

    def _pull(self, pulled: list[tuple[str, DeadLetter]], limit: int) -> None:
        empty = 0
        while len(pulled) < limit and empty < _EMPTY_PULLS:
            found = self._messages(min(_MOST_A_PULL, limit - len(pulled)))
            empty = 0 if found else empty + 1
            new = [(received.ack_id, _letter(received.message)) for received in found]
            pulled += new
            self._extend(new, _HELD_S)

    def _messages(self, most: int) -> Sequence[Any]:
        try:
            options = {**self._options, "timeout": self._wait_s}
            answer = self._subscriber.pull(subscription=self._path, max_messages=most, **options)
        except api.DeadlineExceeded:  # how an empty pull may end
            return ()
        found: Sequence[Any] = answer.received_messages
        return found

    def _extend(self, pulled: Sequence[tuple[str, DeadLetter]], seconds: int) -> None:
        """Keep messages for so long from now on; 0 gives them back."""
        for start in range(0, len(pulled), _MOST_A_PULL):
            ids = [ack_id for ack_id, _ in pulled[start : start + _MOST_A_PULL]]
            request = {"subscription": self._path, "ack_ids": ids, "ack_deadline_seconds": seconds}
            self._subscriber.modify_ack_deadline(request=request, **self._options)


def _letter(message: Any) -> DeadLetter:
    attributes = dict(message.attributes)
    origin = {name: attributes.pop(name) for name in tuple(attributes) if name.startswith(_ORIGIN)}
    subscription = origin.get(f"{_ORIGIN}Subscription", "").rpartition("/")[2]
    attempts = origin.get(f"{_ORIGIN}DeliveryCount", "")
    return DeadLetter(
        message_id=message.message_id,
        data=bytes(message.data),
        attributes=attributes,
        ordering_key=message.ordering_key,
        published_ms=round(message.publish_time.timestamp() * 1000),
        subscription=subscription,
        topic=_topic(subscription, attributes.get("type", "")),
        attempts=int(attempts) if attempts.isdecimal() else 0,
    )


def _topic(subscription: str, event_type: str) -> str:
    """The topic of a push subscription (they are named `TOPIC-CONSUMER`), else that of the event's kind."""
    topics = sorted(set(TOPICS.values()), key=len, reverse=True)
    kind = event_type.removeprefix(TYPE_PREFIX).rpartition(".")[0]
    known = next((topic for named, topic in TOPICS.items() if named == kind), "")
    return next((topic for topic in topics if subscription.startswith(f"{topic}-")), known)
