"""What the service says about itself: one JSON object per line on standard error, as Cloud Logging reads it.

On Cloud Run (which sets `K_SERVICE`) the lines go through google-cloud-logging's handler; anywhere else they are the same
without it. `GOOGLE_CLOUD_PROJECT` is the project of their traces. The field `event` is what alerts and metrics count.
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, TextIO

from shared.adapters.gcp.log import set_up
from shared.domain.events import Event, EventKind

if TYPE_CHECKING:
    from shared.cli.live_run import Live
    from shared.ports import Bus

_LOG = logging.getLogger("cloudrun.bot")
_SEVERITIES = {EventKind.DRAWDOWN_THRESHOLD: "WARNING", EventKind.ERROR: "ERROR"}


def say(severity: str, message: str, **fields: str) -> None:
    """Write one line. `severity` is `INFO`, `WARNING` or `ERROR`; `fields` stand in the line beside the message."""
    _ready(sys.stderr)
    _LOG.log(logging.getLevelNamesMapping()[severity], "%s", message, extra={"json_fields": fields}, stacklevel=2)


def heartbeat(book: str) -> None:
    """Say that somebody looks after a book."""
    say("INFO", f"the book {book} is looked after", event="heartbeat", book=book)


def telling(live: Live) -> Live:
    """The session, whose events stand in the log as well, at each attempt to publish them."""
    return replace(live, ports=replace(live.ports, bus=_ToldBus(live.ports.bus)))


class _ToldBus:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def publish(self, event: Event) -> None:
        try:
            await self._bus.publish(event)
        finally:  # alerts read the log: they must not be silent because the bus is
            message = f"{event.kind.value} of {event.subject} in the book {event.book}"
            if why := event.data.get("reason") or event.data.get("message"):
                message += f": {why}"
            say(_SEVERITIES.get(event.kind, "INFO"), message, event=event.kind.value, event_id=event.id, book=event.book)


@cache
def _ready(stream: TextIO) -> None:
    set_up(os.environ.get("GOOGLE_CLOUD_PROJECT"), lives_long="K_SERVICE" in os.environ, stream=stream)
