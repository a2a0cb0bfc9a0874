"""A `Bus` inside the process: handlers by kind of event, and a file of CloudEvents for whoever wants to read along.

Delivery is at least once: where a handler or the file refuses, the publisher keeps the event and comes again, and handlers
that had taken it see it a second time, with the same id.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from shared.domain.errors import BusUnavailable, OstError
from shared.domain.events import Event, EventKind

Handler = Callable[[Event], Awaitable[None]]


class LocalBus:
    """Hands events to subscribers, in the order of their subscription, after appending them to `path` (JSON lines)."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._handlers: dict[EventKind, list[Handler]] = {kind: [] for kind in EventKind}

    def subscribe(self, handler: Handler, *kinds: EventKind) -> None:
        """Call `handler` with every event of `kinds`; of all kinds where none is named."""
        for kind in kinds or tuple(EventKind):
            self._handlers[kind].append(handler)

    async def publish(self, event: Event) -> None:
        """Hand an event over. Raises `BusUnavailable` where the file or a handler (by an `OstError`) did not take it."""
        if self._path is not None:
            _append(self._path, json.dumps(event.as_cloud_event(), separators=(",", ":")))
        for handler in self._handlers[event.kind]:
            try:
                await handler(event)
            except OstError as error:
                raise BusUnavailable(f"a subscriber did not take {event.kind.value} {event.id}: {error}") from error


def _append(path: Path, line: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
    except OSError as error:
        raise BusUnavailable(f"cannot append to {path}: {error.strerror or error}; free the disk") from error
