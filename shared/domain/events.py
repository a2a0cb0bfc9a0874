"""What the parts of the system tell each other and the outside world; here the observer hooks of the reference documents.

An event of a book is written to the ledger's outbox in the transaction of its effect and published from there, at least once;
those about market data are in `data_events.py`. An id is derived from the content, so that a redelivery has the same id and a
consumer can tell it from a second event. `data` is plain JSON, money as texts. The envelope follows CloudEvents 1.0
(`as_cloud_event`; `event_reading.py` is the way back); `schemas/` has a JSON schema of each kind and version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from shared.domain.ids import content_id
from shared.domain.orders import Fill
from shared.domain.records import Halt, RegimeState

VERSION = 1
"""of the form of `data`: whatever a consumer of today could not read is another version with a schema of its own"""

TYPE_PREFIX = "one-smart-trade."
DATA_SOURCE = "/one-smart-trade/data"
BOOK_SOURCE = "/one-smart-trade/books/"


class EventKind(StrEnum):
    """What has happened, or is asked for."""

    # The four hooks `on_trade_executed`, `on_regime_changed`, `on_drawdown_threshold`, `on_error`: of a book.
    TRADE_EXECUTED = "trade.executed"
    REGIME_CHANGED = "regime.changed"
    DRAWDOWN_THRESHOLD = "drawdown.threshold"
    ERROR = "error"
    # About market data, of no book.
    CANDLES_REQUESTED = "candles.requested"
    CANDLES_INGESTED = "candles.ingested"
    CANDLES_CURATED = "candles.curated"
    REGIME_CLASSIFIED = "regime.classified"
    RECALIBRATION_TRIGGERED = "recalibration.triggered"


@dataclass(frozen=True, slots=True)
class Event:
    """One event."""

    id: str
    kind: EventKind
    book: str
    """whose it is; empty for an event about market data"""
    subject: str
    """what it is about: a symbol, the book, an asset and interval"""
    time_ms: int
    data: Mapping[str, Any]

    def as_cloud_event(self) -> dict[str, Any]:
        """The event in CloudEvents' structured JSON form."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": f"{BOOK_SOURCE}{self.book}" if self.book else DATA_SOURCE,
            "type": f"{TYPE_PREFIX}{self.kind.value}.v{VERSION}",
            "subject": self.subject,
            "time": _rfc3339(self.time_ms),
            "datacontenttype": "application/json",
            "data": dict(self.data),
        }


def event(kind: EventKind, book: str, subject: str, time_ms: int, data: Mapping[str, Any]) -> Event:
    """An event with its id."""
    return Event(content_id("e", kind.value, VERSION, book, subject, time_ms, dict(data)), kind, book, subject, time_ms, data)


def trade_executed(book: str, fill: Fill) -> Event:
    """One execution."""
    data = {
        "symbol": fill.symbol,
        "trade_id": fill.trade_id,
        "client_id": fill.client_id,
        "side": fill.side.value,
        "quantity": str(fill.quantity),
        "price": str(fill.price),
        "fee": str(fill.fee),
    }
    return event(EventKind.TRADE_EXECUTED, book, fill.symbol, fill.time_ms, data)


def regime_changed(book: str, before: RegimeState | None, after: RegimeState) -> Event:
    """The held regime of an asset is another one than before."""
    data = {
        "asset": str(after.asset),
        "from": before.regime.value if before else None,
        "to": after.regime.value,
        "probabilities": after.probabilities.as_dict(),
        "model_id": after.model_id,
    }
    return event(EventKind.REGIME_CHANGED, book, after.asset.symbol, after.bar_close_ms, data)


def failed(book: str, source: str, message: str, time_ms: int, context: Mapping[str, Any] | None) -> Event:
    """Something went wrong in `source`. `context` is plain JSON."""
    data = {"source": source, "message": message, "context": None if context is None else dict(context)}
    return event(EventKind.ERROR, book, source, time_ms, data)


def halted(kind: EventKind, halt: Halt) -> Event:
    """Trading was halted: by a drawdown (`DRAWDOWN_THRESHOLD`) or by anything else (`ERROR`)."""
    data = {
        "reason": halt.reason,
        "since_ms": halt.since_ms,
        "until_ms": halt.until_ms,
        "symbol": halt.symbol,
        "kind": halt.kind.value,
    }
    return event(kind, halt.book, halt.symbol or halt.book, halt.since_ms, data)


def _rfc3339(time_ms: int) -> str:
    seconds, milliseconds = divmod(time_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"
