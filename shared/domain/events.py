"""What the trader tells the outside world: the observer hooks of the reference documents as events.

An event is written to the ledger's outbox in the transaction of its effect and published from there, at least once. Its id is
derived from its content, so that a redelivery has the same id and a consumer can tell it from a second event. `data` is plain
JSON, money as texts. The envelope follows CloudEvents 1.0 (`as_cloud_event`).
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


class EventKind(StrEnum):
    """The four hooks: `on_trade_executed`, `on_regime_changed`, `on_drawdown_threshold`, `on_error`."""

    TRADE_EXECUTED = "trade.executed"
    REGIME_CHANGED = "regime.changed"
    DRAWDOWN_THRESHOLD = "drawdown.threshold"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Event:
    """One event of one book."""

    id: str
    kind: EventKind
    book: str
    subject: str
    """what it is about: a symbol, or the book"""
    time_ms: int
    data: Mapping[str, Any]

    def as_cloud_event(self) -> dict[str, Any]:
        """The event in CloudEvents' structured JSON form."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": f"/one-smart-trade/books/{self.book}",
            "type": f"one-smart-trade.{self.kind.value}.v{VERSION}",
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
