"""From a message back to its event: a CloudEvent of ours, in a version that this program reads, with the fields of its kind.

What is refused can never be understood by trying again: `MalformedData`, which sends a message to the dead letters. Fields that
this version does not know are left alone, so that a later publisher may add some.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from shared.domain.data_events import READERS
from shared.domain.errors import MalformedData
from shared.domain.events import BOOK_SOURCE, DATA_SOURCE, TYPE_PREFIX, VERSION, Event, EventKind
from shared.domain.fields import Fields


def read_event(content: bytes) -> Event:
    """The event in a CloudEvent's structured JSON form. Raises `MalformedData`."""
    envelope = Fields("the message", _object(content))
    if envelope.text("specversion") != "1.0":
        raise MalformedData(f"CloudEvents specversion is {envelope.text('specversion')!r}, expected '1.0'")
    kind = _kind(envelope.text("type"))
    name = f"{kind.value} {envelope.text('id')}"
    data = Fields(name, envelope.values).inner("data")
    found = Event(
        envelope.text("id"),
        kind,
        _book(name, envelope.text("source"), is_of_data=kind in READERS),
        envelope.text("subject"),
        _time_ms(name, envelope.text("time")),
        data.values,
    )
    if kind in READERS:
        READERS[kind](found)
    else:
        _BOOK_FIELDS[kind](Fields(name, data.values))
    return found


def _object(content: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, or nested without end
        raise MalformedData(f"the message is no JSON ({str(error)[:80]}); expected a CloudEvent") from None
    if not isinstance(value, dict):
        raise MalformedData(f"the message is a {type(value).__name__}; expected a CloudEvent, a JSON object")
    return value


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _kind(text: str) -> EventKind:
    name, _, version = text.removeprefix(TYPE_PREFIX).rpartition(".v")
    known = {kind.value: kind for kind in EventKind}
    if not text.startswith(TYPE_PREFIX) or name not in known:
        raise MalformedData(f"unknown type {text!r}; expected {TYPE_PREFIX}KIND.v{VERSION} with one of {' '.join(known)}")
    if version != str(VERSION):
        raise MalformedData(f"{name} has version {version!r}, this program reads {VERSION}; deploy the one that reads it")
    return known[name]


def _book(name: str, source: str, *, is_of_data: bool) -> str:
    """The book in an event's source; empty for market data."""
    expected = DATA_SOURCE if is_of_data else f"{BOOK_SOURCE}NAME"
    if is_of_data and source == DATA_SOURCE:
        return ""
    if not is_of_data and source.startswith(BOOK_SOURCE) and source != BOOK_SOURCE:
        return source.removeprefix(BOOK_SOURCE)
    raise MalformedData(f"{name} comes from {source!r}, expected {expected}")


def _time_ms(name: str, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise MalformedData(f"{name} has the time {text!r}, expected one of RFC 3339 such as 2025-07-01T14:00:00.123Z")
    return round(moment.timestamp() * 1000)


def _check_trade(fields: Fields) -> None:
    for field in ("symbol", "trade_id", "client_id", "side", "quantity", "price", "fee"):
        fields.text(field)


def _check_regime(fields: Fields) -> None:
    for field in ("asset", "to", "model_id"):
        fields.text(field)
    if not fields.is_null("from"):
        fields.text("from")
    probabilities = fields.inner("probabilities")
    for field in ("calm", "balanced", "stress"):
        probabilities.number(field)


def _check_halt(fields: Fields) -> None:
    for field in ("reason", "kind"):
        fields.text(field)
    fields.count("since_ms")
    if not fields.is_null("until_ms"):
        fields.count("until_ms")
    if not fields.is_null("symbol"):
        fields.text("symbol")


def _check_error(fields: Fields) -> None:
    """A halt that is no drawdown, or a failure of some part."""
    if "reason" in fields.values:
        _check_halt(fields)
        return
    for field in ("source", "message"):
        fields.text(field)
    if not fields.is_null("context"):
        fields.inner("context")


_BOOK_FIELDS: Mapping[EventKind, Callable[[Fields], None]] = {
    EventKind.TRADE_EXECUTED: _check_trade,
    EventKind.REGIME_CHANGED: _check_regime,
    EventKind.DRAWDOWN_THRESHOLD: _check_halt,
    EventKind.ERROR: _check_error,
}
