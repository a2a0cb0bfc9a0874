"""A `Bus` on Pub/Sub: an event is one message, its CloudEvent as data, sent to the topic of its kind.

Events of a book are ordered by subject: their publisher waits for the answer of each before it sends the next, and the service
delivers what has one ordering key in the order in which it came. One request for one event means that there is nothing to
resume after an error: no later message waits behind the one that failed, and the caller knows which one that was (Google's
batching client waits without end for a message with an ordering key, and goes on sending what its caller has given up).
Delivery is at least once: an answer that was lost makes the publisher send the event again, with the same id.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from shared.adapters.gcp.errors import FAILURES, reason
from shared.adapters.gcp.rest import JsonApi, pubsub_api
from shared.domain.errors import BusUnavailable, UsageError
from shared.domain.events import Event, EventKind

BOOK_EVENTS = "book-events"
TOPICS: Mapping[EventKind, str] = MappingProxyType(
    {
        EventKind.CANDLES_REQUESTED: "candles-requested",
        EventKind.CANDLES_INGESTED: "candles-ingested",
        EventKind.CANDLES_CURATED: "candles-curated",
        EventKind.REGIME_CLASSIFIED: "regimes-classified",
        EventKind.RECALIBRATION_TRIGGERED: "recalibration-triggered",
        EventKind.TRADE_EXECUTED: BOOK_EVENTS,
        EventKind.REGIME_CHANGED: BOOK_EVENTS,
        EventKind.DRAWDOWN_THRESHOLD: BOOK_EVENTS,
        EventKind.ERROR: BOOK_EVENTS,
    }
)
"""Topic by kind of event, as Terraform makes them."""

PATIENCE_S = 10.0
"""How long an event is offered, all attempts together."""


def project_of(url: str) -> str:
    """The project of `pubsub://PROJECT`. Raises `UsageError` for another kind of URL."""
    scheme, _, project = url.partition("://")
    if scheme != "pubsub" or not project or "/" in project:
        raise UsageError(f"{url!r} is no bus; expected pubsub://PROJECT")
    return project


class PubSubBus:
    """Publishes to the topics of `project`."""

    def __init__(self, project: str, *, pubsub: JsonApi | None = None, patience_s: float = PATIENCE_S) -> None:
        self.project = project
        self._pubsub, self._patience_s = pubsub or pubsub_api(), patience_s

    def __repr__(self) -> str:
        return f"PubSubBus({self.project!r})"

    async def publish(self, event: Event) -> None:
        """Hand an event over. Raises `BusUnavailable` where Pub/Sub did not take it, for all we know."""
        topic = TOPICS[event.kind]
        message = message_of(event.as_cloud_event(), event.subject if topic == BOOK_EVENTS else "")
        path = f"projects/{self.project}/topics/{topic}:publish"
        try:
            await asyncio.to_thread(self._pubsub.insist, self._patience_s, "POST", path, {"messages": [message]})
        except FAILURES as error:
            raise BusUnavailable(f"Pub/Sub did not take {event.kind.value} {event.id} on {topic}: {reason(error)}") from error


def message_of(envelope: dict[str, Any], ordering_key: str) -> dict[str, Any]:
    """The message of a CloudEvent in the API's JSON form: itself as data, what a subscriber may look at as attributes."""
    data = json.dumps(envelope, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return {
        "data": base64.b64encode(data).decode(),
        "attributes": {name: envelope[name] for name in ("type", "id", "subject")},
        "orderingKey": ordering_key,
    }
