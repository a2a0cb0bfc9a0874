"""Topics and subscriptions in the Pub/Sub emulator, as Terraform makes them in the cloud."""

from __future__ import annotations

import time
from typing import Any

from google.api_core.exceptions import DeadlineExceeded

from shared.adapters.gcp.clients import publisher_client, subscriber_client

ANSWER_S = 20.0
PULL_S = 1.0


def topic(project: str, name: str) -> str:
    """A topic; its path."""
    path = f"projects/{project}/topics/{name}"
    publisher_client().create_topic(name=path)
    return path


class Subscription:
    """A pull subscription, with its topic; `dead_letters` is the path of the topic for what was refused five times."""

    def __init__(
        self, project: str, topic_name: str, name: str, *, is_ordered: bool = False, dead_letters: str | None = None
    ) -> None:
        self.path = f"projects/{project}/subscriptions/{name}"
        self._client = subscriber_client()
        request: dict[str, Any] = {
            "name": self.path,
            "topic": topic(project, topic_name),
            "enable_message_ordering": is_ordered,
        }
        if dead_letters:
            request["dead_letter_policy"] = {"dead_letter_topic": dead_letters, "max_delivery_attempts": 5}
        self._client.create_subscription(request=request)

    def messages(self, count: int) -> list[Any]:
        """The next `count` messages, acknowledged; fewer where no more come in time."""
        found: list[Any] = []
        deadline = time.monotonic() + ANSWER_S
        while len(found) < count and time.monotonic() < deadline:
            received = self._pull(count - len(found))
            if received:
                self._client.acknowledge(subscription=self.path, ack_ids=[one.ack_id for one in received])
            found += [one.message for one in received]
        return found

    def _pull(self, most: int) -> Any:
        try:
            return self._client.pull(subscription=self.path, max_messages=most, timeout=PULL_S, retry=None).received_messages
        except DeadlineExceeded:
            return []

    def refuse(self, attempts: int = 5) -> None:
        """Take the next message and give it back, so often. The emulator passes a dead letter on at the pull after that."""
        deadline = time.monotonic() + ANSWER_S
        while attempts and time.monotonic() < deadline:
            received = self._pull(1)
            if received:
                attempts -= 1
                self._client.modify_ack_deadline(subscription=self.path, ack_ids=[received[0].ack_id], ack_deadline_seconds=0)
        self._pull(1)
