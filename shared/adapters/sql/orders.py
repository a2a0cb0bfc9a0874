"""Orders: what was meant (the intent) and the furthest state that the venue reported.

An order's row is locked while a report is applied, and `OrderRecord.advanced` decides, so late and repeated reports from
several processes change nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import BindParameter, Connection, RowMapping, Select, bindparam, select, update

from shared.adapters.sql.models import UNFINISHED, IntentRow, OrderRow
from shared.adapters.sql.statements import kept, table, unread
from shared.domain.errors import LedgerError
from shared.domain.money import ZERO
from shared.domain.orders import OrderIntent, OrderKind, OrderRecord, OrderReport, OrderState, Side

INTENTS = table(IntentRow)
ORDERS = table(OrderRow)

_RECORDS = select(INTENTS, *(column for column in ORDERS.c if column.name not in ("client_id", "book"))).join(
    ORDERS, ORDERS.c.client_id == INTENTS.c.client_id
)
_KEY: BindParameter[str] = bindparam("key")
_ONE = kept(_RECORDS.where(INTENTS.c.client_id == _KEY))
_LOCKED = kept(_ONE.with_for_update(of=ORDERS))
_ADVANCE = unread(update(ORDERS).where(ORDERS.c.client_id == _KEY))


def _listing(*, unfinished: bool, of_decision: bool) -> Select[Any]:
    # The book is asked of the table whose index narrows more; asking both lets SQLite read every order of the book.
    query = _RECORDS.where(ORDERS.c.book == _KEY, UNFINISHED) if unfinished else _RECORDS.where(INTENTS.c.book == _KEY)
    if of_decision:
        query = query.where(INTENTS.c.decision_id == bindparam("decision_key"))
    return kept(query.order_by(INTENTS.c.created_ms, INTENTS.c.decision_id, INTENTS.c.position))


_LISTED = {(some, of): _listing(unfinished=some, of_decision=of) for some in (False, True) for of in (False, True)}


class Owner(NamedTuple):
    """The order that a fill belongs to, and its decision."""

    client_id: str
    decision_id: str


def intent_row(intent: OrderIntent, position: int) -> dict[str, Any]:
    """The row of an intent; `position` is its place in the decision."""
    return {
        "client_id": intent.client_id,
        "book": intent.book,
        "decision_id": intent.decision_id,
        "position": position,
        "leg": intent.leg,
        "symbol": intent.symbol,
        "side": intent.side.value,
        "kind": intent.kind.value,
        "quantity": intent.quantity,
        "created_ms": intent.created_ms,
        "price": intent.price,
        "stop_price": intent.stop_price,
        "reduce_only": intent.reduce_only,
        "due_ms": intent.due_ms,
    }


def new_order_row(intent: OrderIntent) -> dict[str, Any]:
    """The order of an intent that was not sent yet."""
    return {"client_id": intent.client_id, "book": intent.book, **_state(OrderRecord(intent, OrderState.INTENT))}


def find(connection: Connection, client_id: str) -> OrderRecord | None:
    """One order."""
    row = connection.execute(_ONE, {"key": client_id}).mappings().one_or_none()
    return None if row is None else _record(row)


def listed(connection: Connection, book: str, *, unfinished: bool, decision_id: str | None) -> list[OrderRecord]:
    """Orders of a book, oldest first, and in their decision's order."""
    query = _LISTED[unfinished, decision_id is not None]
    return [_record(row) for row in connection.execute(query, {"key": book, "decision_key": decision_id}).mappings()]


def advance(connection: Connection, report: OrderReport) -> OrderRecord:
    """Apply a report to its order. Raises `LedgerError` for an order that is not in the ledger."""
    row = connection.execute(_LOCKED, {"key": report.client_id}).mappings().one_or_none()
    if row is None:
        raise LedgerError(
            f"order {report.client_id} is not in the ledger: an intent is committed before its order is sent; "
            "a foreign order is frozen, not booked"
        )
    before = _record(row)
    after = before.advanced(report)
    fill_client_id = row["fill_client_id"] or report.fill_client_id
    if after != before or fill_client_id != row["fill_client_id"]:
        values = {**_state(after), "fill_client_id": fill_client_id}
        connection.execute(_ADVANCE, {"key": report.client_id, **values})
    return after


def owners(connection: Connection, book: str) -> dict[str, Owner]:
    """The order behind each client id under which fills of the book may be booked."""
    query = select(INTENTS.c.client_id, INTENTS.c.decision_id, ORDERS.c.fill_client_id).join(
        ORDERS, ORDERS.c.client_id == INTENTS.c.client_id
    )
    rows = connection.execute(query.where(INTENTS.c.book == book)).all()
    return {name: Owner(row.client_id, row.decision_id) for row in rows for name in (row.client_id, row.fill_client_id) if name}


def _state(record: OrderRecord) -> dict[str, Any]:
    return {
        "state": record.state.value,
        "filled": record.filled,
        "venue_id": record.venue_id,
        "average_price": record.average_price,
        "updated_ms": record.updated_ms,
        "reason": record.reason,
    }


def _record(row: RowMapping) -> OrderRecord:
    intent = OrderIntent(
        client_id=row["client_id"],
        book=row["book"],
        decision_id=row["decision_id"],
        leg=row["leg"],
        symbol=row["symbol"],
        side=Side(row["side"]),
        kind=OrderKind(row["kind"]),
        quantity=row["quantity"],
        created_ms=row["created_ms"],
        price=row["price"],
        stop_price=row["stop_price"],
        reduce_only=row["reduce_only"],
        due_ms=row["due_ms"],
    )
    return OrderRecord(
        intent=intent,
        state=OrderState(row["state"]),
        filled=row["filled"] or ZERO,
        venue_id=row["venue_id"],
        average_price=row["average_price"],
        updated_ms=row["updated_ms"],
        reason=row["reason"],
    )
