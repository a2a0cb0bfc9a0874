"""Who gets which event: subscriptions in the Pub/Sub emulator as Terraform makes them, or without it a relay of a file.

Both push an event to its consumers until one answers with 2xx. The relay tries five times, as the subscriptions do, and says
what it gives up.
"""

from __future__ import annotations

import base64
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cloudrun.laptop.components import PROJECT

PUSHES = {
    "candles-requested-ingest": ("candles-requested", "ingest"),
    "candles-ingested-curate": ("candles-ingested", "curate"),
    "candles-curated-classify": ("candles-curated", "classify"),
    "regimes-classified-bot": ("regimes-classified", "bot"),
    "recalibration-triggered-recalibrate": ("recalibration-triggered", "recalibrate"),
}
HOLDS = {"book-events-hold": "book-events", "dead-letters-hold": "dead-letters"}
TOPIC_OF = {
    "candles.requested": "candles-requested",
    "candles.ingested": "candles-ingested",
    "candles.curated": "candles-curated",
    "regime.classified": "regimes-classified",
    "recalibration.triggered": "recalibration-triggered",
}
_MOST_ATTEMPTS = 5
_RETRY_S = 1.0


def subscribe(pubsub: str, endpoints: Mapping[str, str]) -> None:
    """Make the topics and subscriptions in the emulator at `pubsub`; `endpoints` by consumer."""
    topics = {topic for topic, _ in PUSHES.values()} | set(HOLDS.values())
    for topic in sorted(topics):
        _put(pubsub, f"topics/{topic}", {})
    for name, topic in HOLDS.items():
        _put(pubsub, f"subscriptions/{name}", {"topic": f"projects/{PROJECT}/topics/{topic}", "ackDeadlineSeconds": 60})
    for name, (topic, consumer) in PUSHES.items():
        push = {
            "topic": f"projects/{PROJECT}/topics/{topic}",
            "pushConfig": {"pushEndpoint": endpoints[consumer]},
            "ackDeadlineSeconds": 300,
            "retryPolicy": {"minimumBackoff": "1s", "maximumBackoff": "60s"},
            "deadLetterPolicy": {
                "deadLetterTopic": f"projects/{PROJECT}/topics/dead-letters",
                "maxDeliveryAttempts": _MOST_ATTEMPTS,
            },
        }
        _put(pubsub, f"subscriptions/{name}", push)


def post(url: str, body: Any, headers: Mapping[str, str] | None = None, timeout_s: float = 300.0) -> tuple[int, str]:
    """What a POST of JSON is answered with: status (0 where nobody answers) and text."""
    request = urllib.request.Request(  # noqa: S310 - loopback
        url, method="POST", data=json.dumps(body).encode(), headers={"Content-Type": "application/json", **(headers or {})}
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


class FileRelay(threading.Thread):
    """Pushes what is appended to `path` (a CloudEvent a line) to its consumers, in the order of the file."""

    def __init__(self, path: Path, endpoints: Mapping[str, str], over: threading.Event, say: Callable[[str], None]) -> None:
        super().__init__(name="relay", daemon=True)
        self._path, self._endpoints, self._over, self._say = path, endpoints, over, say
        self._place = 0

    def run(self) -> None:
        """Until it is over."""
        while not self._over.wait(0.1):
            for line in self._new_lines():
                self._push(json.loads(line))

    def _new_lines(self) -> list[bytes]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._place)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._place += len(whole)
        return whole.splitlines()

    def _push(self, event: Mapping[str, Any]) -> None:
        kind = str(event["type"]).removeprefix("one-smart-trade.").rpartition(".")[0]
        data = base64.b64encode(json.dumps(event).encode()).decode()
        for topic, consumer in PUSHES.values():
            if topic != TOPIC_OF.get(kind):
                continue
            for attempt in range(_MOST_ATTEMPTS):
                status, text = post(self._endpoints[consumer], {"message": {"data": data, "messageId": event["id"]}})
                if 200 <= status < 300 or self._over.wait(_RETRY_S * 2**attempt):
                    break
            else:
                self._say(f"{consumer} did not take {kind} {event['id']}: {status} {text[:200]}")


def _put(pubsub: str, path: str, body: Any) -> None:
    request = urllib.request.Request(
        f"http://{pubsub}/v1/projects/{PROJECT}/{path}",
        method="PUT",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310
