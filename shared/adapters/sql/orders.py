"""Orders: what was meant (the intent) and the furthest state that the venue reported.

An order's row is locked while a report is applied, and `OrderRecord.advanced` decides, so late and repeated reports from
several processes change nothing.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, Connection, Double, RowMapping, Select, bindparam, cast, func, or_, select, update

from shared.adapters.sql.models import UNFINISHED, FillRow, IntentRow, OrderRow
from shared.adapters.sql.statements import kept, table, unread
from shared.domain.errors import LedgerError
from shared.domain.money import ZERO
from shared.domain.orders import OrderIntent, OrderKind, OrderRecord, OrderReport, OrderState, Side

INTENTS = table(IntentRow)
ORDERS = table(OrderRow)
FILLS = table(FillRow)
_ROUNDING = 1e-12
"""by which sums of floats may differ from the exact ones, as a fraction"""

_RECORDS = select(INTENTS, *(column for column in ORDERS.c if column.name not in ("client_id", "book"))).join(
    ORDERS, ORDERS.c.client_id == INTENTS.c.client_id
)
_KEY: BindParameter[str] = bindparam("key")
_SYMBOL: BindParameter[str] = bindparam("symbol_key")
_OLDEST_FIRST = (INTENTS.c.created_ms, INTENTS.c.decision_id, INTENTS.c.position)
_ONE = kept(_RECORDS.where(INTENTS.c.client_id == _KEY))
_LOCKED = kept(_ONE.with_for_update(of=ORDERS))
_ADVANCE = unread(update(ORDERS).where(ORDERS.c.client_id == _KEY))


@cache
def _listing(*, unfinished: bool, of_decision: bool, of_symbol: bool, limited: bool) -> Select[Any]:
    # The book is asked of the table whose index narrows more; asking both lets SQLite read every order of the book.
    query = _RECORDS.where(ORDERS.c.book == _KEY, UNFINISHED) if unfinished else _RECORDS.where(INTENTS.c.book == _KEY)
    if of_decision:
        query = query.where(INTENTS.c.decision_id == bindparam("decision_key"))
    if of_symbol:
        query = query.where(INTENTS.c.symbol == _SYMBOL)
    if not limited:
        return kept(query.order_by(*_OLDEST_FIRST))
    return kept(query.order_by(*(column.desc() for column in _OLDEST_FIRST)).limit(bindparam("most")))


def _unbooked() -> Select[Any]:
    """The database compares floats, which tell any two quantities apart that a venue can; what is returned is exact."""
    is_its = or_(FILLS.c.client_id == ORDERS.c.client_id, FILLS.c.client_id == ORDERS.c.fill_client_id)
    total = select(func.sum(cast(FILLS.c.quantity, Double))).where(FILLS.c.book == _KEY, is_its).scalar_subquery()
    of_symbol = (INTENTS.c.book == _KEY, INTENTS.c.symbol == _SYMBOL)
    missing = cast(ORDERS.c.filled, Double) > func.coalesce(total, 0.0) * (1 + _ROUNDING)
    return kept(_RECORDS.where(*of_symbol, missing).order_by(*_OLDEST_FIRST))


_UNBOOKED = _unbooked()


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


def listed(
    connection: Connection,
    book: str,
    *,
    unfinished: bool = False,
    decision_id: str | None = None,
    symbol: str | None = None,
    limit: int | None = None,
) -> list[OrderRecord]:
    """Orders of a book, oldest first, and in their decision's order; with `limit` the newest ones."""
    query = _listing(
        unfinished=unfinished, of_decision=decision_id is not None, of_symbol=symbol is not None, limited=limit is not None
    )
    values = {"key": book, "decision_key": decision_id, "symbol_key": symbol, "most": limit}
    found = [_record(row) for row in connection.execute(query, values).mappings()]
    return found if limit is None else found[::-1]


def unbooked(connection: Connection, book: str, symbol: str) -> list[OrderRecord]:
    """Orders of a symbol that have filled more than is booked of them, oldest first."""
    rows = connection.execute(_UNBOOKED, {"key": book, "symbol_key": symbol}).mappings()
    return [_record(row) for row in rows]


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
