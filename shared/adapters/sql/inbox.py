"""The inbox: which events a consumer has handled, stored in the transaction of their effect.

Delivery is at least once and in any order. Whoever has an effect calls `add` first with its own connection: where the receipt
is there already, the event was handled and the effect must not be had again. Two deliveries at once wait for each other here.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, select

from shared.adapters.sql import journal, recalibrations, regimes
from shared.adapters.sql.research_models import InboxRow
from shared.adapters.sql.statements import insert_missing, kept, table
from shared.domain.records import Handled, LogEntry, Receipt, RegimeState
from shared.domain.research import RecalibrationEvent

_INBOX = table(InboxRow)
_ONE = kept(select(_INBOX).where(_INBOX.c.consumer == bindparam("consumer_key"), _INBOX.c.event_id == bindparam("event_key")))
_PRUNE = kept(delete(_INBOX).where(_INBOX.c.received_ms < bindparam("before_ms")))


def add(connection: Connection, receipt: Receipt) -> bool:
    """Store a receipt; whether it was new."""
    row = {
        "consumer": receipt.consumer,
        "event_id": receipt.event_id,
        "subject": receipt.subject,
        "received_ms": receipt.received_ms,
        "outcome": receipt.outcome.value,
    }
    return insert_missing(connection, InboxRow, row)


def found(connection: Connection, consumer: str, event_id: str) -> Receipt | None:
    """The receipt of an event."""
    row = connection.execute(_ONE, {"consumer_key": consumer, "event_key": event_id}).mappings().one_or_none()
    return None if row is None else Receipt(**{**row, "outcome": Handled(row["outcome"])})


def prune(connection: Connection, before_ms: int) -> int:
    """Remove receipts of before `before_ms`; how many there were."""
    return connection.execute(_PRUNE, {"before_ms": before_ms}).rowcount


def apply_regime(connection: Connection, receipt: Receipt, book: str, state: RegimeState) -> Handled:
    """Store the state that an event led to, unless the event was handled or a newer state is there."""
    newest = regimes.last(connection, book, state.asset)
    is_stale = newest is not None and newest.bar_close_ms > state.bar_close_ms
    outcome = Handled.STALE if is_stale else Handled.APPLIED
    if not add(connection, _with(receipt, outcome)):
        return Handled.DUPLICATE
    if not is_stale:
        regimes.record(connection, book, [state])
    return outcome


def apply_watch(
    connection: Connection,
    receipt: Receipt | None,
    book: str,
    entries: Sequence[LogEntry],
    opened: Sequence[RecalibrationEvent],
    now_ms: int,
) -> Handled:
    """Store what a look at a book found, unless that look was handled."""
    if receipt is not None and not add(connection, receipt):
        return Handled.DUPLICATE
    for event in opened:
        recalibrations.record(connection, event)
    for entry in entries:
        journal.log(connection, book, entry.source, entry.level, entry.message, now_ms, entry.context)
    return Handled.APPLIED


def _with(receipt: Receipt, outcome: Handled) -> Receipt:
    return Receipt(receipt.consumer, receipt.event_id, receipt.subject, receipt.received_ms, outcome)
