"""Read a message without ever failing: what is malformed is counted, logged once for its kind, and given to who cares."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from shared.adapters.exchange.payloads import Json
from shared.adapters.exchange.stream_payloads import decode, kind_of
from shared.domain.errors import MalformedData

CLOSED = "the stream was closed; open a new one"
NO_EVENT = "no event"
"""kind of a message that is not even JSON"""
_LOG = logging.getLogger(__name__)


class Malformed:
    """Messages that could not be read, counted by kind."""

    def __init__(self, stream: str) -> None:
        self.counts: Counter[str] = Counter()
        self._stream = stream

    def note(self, kind: str, error: MalformedData) -> bool:
        """Count one; the first of its kind is logged. Whether it was the first."""
        self.counts[kind] += 1
        if self.counts[kind] == 1:
            _LOG.warning("%s: a message of the kind %r was left out, as all like it will be: %s", self._stream, kind, error)
        return self.counts[kind] == 1


def read_safely(
    text: str,
    take: Callable[[Json], None],
    malformed: Malformed,
    unreadable: Callable[[str, MalformedData, bool], None] = lambda *_: None,
) -> None:
    """Give the event in `text` to `take`; what is malformed is noted instead of raised.

    `unreadable` is told of it: the kind of event, the error, and whether it was the first of its kind.
    """
    kind = NO_EVENT
    try:
        event = decode(text)
        kind = kind_of(event)
        take(event)
    except MalformedData as error:
        unreadable(kind, error, malformed.note(kind, error))
