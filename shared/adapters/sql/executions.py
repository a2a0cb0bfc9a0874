"""Fills, and the positions and trades that follow from them in the same transaction.

A fill is keyed by (book, symbol, trade id). New fills are folded onto the stored position; one that is older than the last
folded fill makes the symbol's position and trades be rebuilt from where it was flat before it, so the result never depends on
the order of arrival, and its cost not on the age of the book.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, Connection, RowMapping, Select, bindparam, delete, func, or_, select

from shared.adapters.sql import orders, outbox
from shared.adapters.sql.models import FillRow, PositionRow, TradeRow
from shared.adapters.sql.round_trips import Holding, RoundTrip, fill_key, fold, order_key
from shared.adapters.sql.statements import insert_missing, insert_or_replace, kept, table, values_of
from shared.domain.events import trade_executed
from shared.domain.money import ZERO
from shared.domain.orders import Fill, Position, Side
from shared.domain.records import Trade

_FILLS = orders.FILLS
_POSITIONS = table(PositionRow)
_TRADES = table(TradeRow)
_BOOK: BindParameter[str] = bindparam("book_key")
_SYMBOL: BindParameter[str] = bindparam("symbol_key")
_OF_BOOK = kept(select(_POSITIONS).where(_POSITIONS.c.book == _BOOK).order_by(_POSITIONS.c.symbol))
_OF_SYMBOL = select(_POSITIONS).where(_POSITIONS.c.book == _BOOK, _POSITIONS.c.symbol == _SYMBOL)
_LOCKED_POSITION = kept(_OF_SYMBOL.with_for_update())
_CLIENT_ID: BindParameter[str] = bindparam("client_id_key")
_CUT: BindParameter[int] = bindparam("cut_ms")
_FLAT_BEFORE = kept(
    select(_TRADES)
    .where(_TRADES.c.book == _BOOK, _TRADES.c.symbol == _SYMBOL, _TRADES.c.closed_ms < _CUT, _TRADES.c.fees_after.is_not(None))
    .order_by(_TRADES.c.closed_ms.desc())
    .limit(1)
)
_BEGUN_AT = kept(select(_TRADES.c.id).where(_TRADES.c.book == _BOOK, _TRADES.c.symbol == _SYMBOL, _TRADES.c.opened_ms == _CUT))
_OPEN_TRIP = kept(select(_TRADES).where(_TRADES.c.book == _BOOK, _TRADES.c.symbol == _SYMBOL, _TRADES.c.closed_ms.is_(None)))


def add(connection: Connection, book: str, fills: Iterable[Fill]) -> list[Fill]:
    """Store fills, and an event for each new one; return those that were new, in the given order."""
    by_symbol: dict[str, dict[str, Fill]] = {}
    for fill in fills:
        by_symbol.setdefault(fill.symbol, {}).setdefault(fill.trade_id, fill)
    added: dict[str, list[Fill]] = {}
    for symbol in sorted(by_symbol):  # one order of locks for every process
        added[symbol] = _add_to_symbol(connection, book, symbol, by_symbol[symbol].values())
    new = {(fill.symbol, fill.trade_id) for fresh in added.values() for fill in fresh}
    stored = [fill for group in by_symbol.values() for fill in group.values() if (fill.symbol, fill.trade_id) in new]
    outbox.add(connection, [trade_executed(book, fill) for fill in stored])
    return stored


def listed(
    connection: Connection,
    book: str,
    *,
    symbol: str | None = None,
    client_id: str | None = None,
    trade_id: str | None = None,
    since_ms: int = 0,
    limit: int | None = None,
) -> list[Fill]:
    """Fills from `since_ms` on, oldest first; with `limit` the newest ones.

    `client_id` also finds those that the venue booked under the order's other id.
    """
    query = _listing(symbol is not None, client_id is not None, trade_id is not None, bool(since_ms), limit is not None)
    given = {"symbol_key": symbol, "client_id_key": client_id, "trade_key": trade_id, "since_ms": since_ms, "most": limit}
    values = {"book_key": book, **given}
    fills = [_fill(row) for row in connection.execute(query, values).mappings()]
    return sorted(fills, key=lambda fill: (fill.time_ms, fill.symbol, fill_key(fill)))


@cache
def _listing(of_symbol: bool, of_order: bool, of_trade: bool, newer: bool, limited: bool) -> Select[Any]:
    query = select(_FILLS).where(_FILLS.c.book == _BOOK)
    if of_symbol:
        query = query.where(_FILLS.c.symbol == _SYMBOL)
    if of_trade:
        query = query.where(_FILLS.c.trade_id == bindparam("trade_key"))
    if newer:
        query = query.where(_FILLS.c.time_ms >= bindparam("since_ms"))
    if of_order:
        other = select(orders.ORDERS.c.fill_client_id).where(orders.ORDERS.c.client_id == _CLIENT_ID).scalar_subquery()
        query = query.where(or_(_FILLS.c.client_id == _CLIENT_ID, _FILLS.c.client_id == other))
    if limited:  # in the order in which they are folded: of trade ids the longer one is the larger number
        trade_id = _FILLS.c.trade_id
        newest_first = (_FILLS.c.time_ms.desc(), _FILLS.c.symbol.desc(), func.length(trade_id).desc(), trade_id.desc())
        query = query.order_by(*newest_first).limit(bindparam("most"))
    return kept(query)


def positions(connection: Connection, book: str) -> dict[str, Position]:
    """Positions by symbol."""
    rows = connection.execute(_OF_BOOK, {"book_key": book}).mappings()
    return {row["symbol"]: _holding(row, None).position for row in rows}


def trades(connection: Connection, book: str) -> list[Trade]:
    """Closed round trips, oldest first, with the decisions that opened and closed them."""
    query = select(_TRADES).where(_TRADES.c.book == book, _TRADES.c.closed_ms.is_not(None))
    rows = connection.execute(
        query.order_by(_TRADES.c.closed_ms, _TRADES.c.symbol, _TRADES.c.opened_ms, _TRADES.c.id)
    ).mappings()
    owners = orders.owners(connection, book)
    return [_trade(book, _trip(row), owners) for row in rows]


def stored_trips(connection: Connection, book: str, symbol: str) -> list[RoundTrip]:
    """The round trips of a symbol as they are stored, the one that lasts included."""
    query = select(_TRADES).where(_TRADES.c.book == book, _TRADES.c.symbol == symbol)
    return [_trip(row) for row in connection.execute(query).mappings()]


def refolded(connection: Connection, book: str, symbol: str) -> tuple[Holding, list[RoundTrip]]:
    """What the stored fills of a symbol add up to, computed from the first one on."""
    return fold(book, Holding(Position(symbol)), sorted(listed(connection, book, symbol=symbol), key=fill_key))


def _add_to_symbol(connection: Connection, book: str, symbol: str, fills: Iterable[Fill]) -> list[Fill]:
    row = _locked_position(connection, book, symbol)
    new = [fill for fill in sorted(fills, key=fill_key) if insert_missing(connection, FillRow, _fill_row(book, fill))]
    if not new:
        return []
    in_order = fill_key(new[0]) > order_key(row["last_time_ms"], row["last_trade_id"])
    if in_order:
        holding, closed = fold(book, _holding(row, _open_trip(connection, book, symbol)), new)
    else:
        begun, flat_ms = _flat_before(connection, book, symbol, new[0].time_ms)
        later = sorted(listed(connection, book, symbol=symbol, since_ms=flat_ms + 1), key=fill_key)
        holding, closed = fold(book, begun, later)
        rebuilt = _TRADES.c.opened_ms > flat_ms
        connection.execute(delete(_TRADES).where(_TRADES.c.book == book, _TRADES.c.symbol == symbol, rebuilt))
    trips = [*closed, holding.trip] if holding.trip else closed
    insert_or_replace(connection, TradeRow, [{"book": book, **values_of(trip)} for trip in trips])
    insert_or_replace(connection, PositionRow, [_position_row(book, holding)])
    return new


def _flat_before(connection: Connection, book: str, symbol: str, time_ms: int) -> tuple[Holding, int]:
    """The newest moment (ms) before `time_ms` at which the symbol was flat and no fill followed, and what was held: nothing.

    Before the first fill where no other one is known.
    """
    key = {"book_key": book, "symbol_key": symbol}
    row = connection.execute(_FLAT_BEFORE, {**key, "cut_ms": time_ms}).mappings().one_or_none()
    if row is not None:
        begun = connection.execute(_BEGUN_AT, {**key, "cut_ms": row["closed_ms"]}).mappings().all()
        if {trade["id"] for trade in begun} <= {row["id"]}:
            return Holding(Position(symbol, realised=row["realised_after"], fees=row["fees_after"])), row["closed_ms"]
    return Holding(Position(symbol)), -1


def _locked_position(connection: Connection, book: str, symbol: str) -> RowMapping:
    """The position's row, made where it is missing, locked to the end of the transaction."""
    key = {"book_key": book, "symbol_key": symbol}
    row = connection.execute(_LOCKED_POSITION, key).mappings().one_or_none()
    if row is None:
        insert_missing(connection, PositionRow, _position_row(book, Holding(Position(symbol))))
        row = connection.execute(_LOCKED_POSITION, key).mappings().one()
    return row


def _open_trip(connection: Connection, book: str, symbol: str) -> RoundTrip | None:
    row = connection.execute(_OPEN_TRIP, {"book_key": book, "symbol_key": symbol}).mappings().one_or_none()
    return None if row is None else _trip(row)


def _position_row(book: str, holding: Holding) -> dict[str, Any]:
    last_time_ms, last_trade_id = holding.last
    return {"book": book, **values_of(holding.position), "last_time_ms": last_time_ms, "last_trade_id": last_trade_id}


def _holding(row: RowMapping, trip: RoundTrip | None) -> Holding:
    position = Position(row["symbol"], row["quantity"], row["entry_price"], row["realised"], row["fees"])
    return Holding(position, trip, (row["last_time_ms"], row["last_trade_id"]))


def _trip(row: RowMapping) -> RoundTrip:
    return RoundTrip(**{name: value for name, value in row.items() if name != "book"})


def _trade(book: str, trip: RoundTrip, owners: dict[str, orders.Owner]) -> Trade:
    opened_by, closed_by = owners.get(trip.open_client_id or ""), owners.get(trip.close_client_id or "")
    return Trade(
        id=trip.id,
        book=book,
        symbol=trip.symbol,
        side=trip.side,
        quantity=trip.quantity,
        entry_price=trip.entry_notional / trip.entry_quantity,
        exit_price=trip.exit_notional / trip.exit_quantity,
        opened_ms=trip.opened_ms,
        closed_ms=trip.closed_ms or trip.opened_ms,
        profit=trip.profit,
        fees=trip.fees,
        open_decision_id=opened_by.decision_id if opened_by else None,
        close_decision_id=closed_by.decision_id if closed_by else None,
    )


def _fill_row(book: str, fill: Fill) -> dict[str, Any]:
    values = values_of(fill)
    del values["foreign_fee"]  # in no book: who books the fill freezes its symbol
    return {"book": book, **values, "side": fill.side.value}


def _fill(row: RowMapping) -> Fill:
    values = {name: value for name, value in row.items() if name != "book"}
    return Fill(**{**values, "side": Side(row["side"]), "fee": row["fee"] or ZERO})
