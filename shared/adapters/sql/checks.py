"""Is the ledger sound? File and references, schema, and the invariants that the loops rely on.

Positions and trades must be the fold of the fills; intents and orders must match one to one; no order fills beyond its
size; no order stays without a known fate; the equity rows of a run follow from its fills and funding, one at each bar;
champions and recalibrations agree. Reads one snapshot and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal

from sqlalchemy import Connection, Engine, func, select, text

from shared.adapters.sql import account, executions, journal, orders
from shared.adapters.sql.engine import snapshot
from shared.adapters.sql.live_models import ArrivalRow
from shared.adapters.sql.migrate import HEAD, is_usable, revision
from shared.adapters.sql.models import DecisionRow, FillRow, PositionRow, RegimeRow
from shared.adapters.sql.research_checks import research_problems
from shared.adapters.sql.statements import table
from shared.domain.interval import HOUR_MS, MINUTE_MS, format_ms
from shared.domain.money import ZERO
from shared.domain.orders import OrderState
from shared.domain.records import BookRecord
from shared.trading.accounting import account_book, account_faults

MAX_UNSETTLED_MS = HOUR_MS
"""How long after its creation an order may be without a known fate, on the book's own clock (its newest decision)."""

_ARRIVALS = table(ArrivalRow)
_DECISIONS = table(DecisionRow)
_FILLS = table(FillRow)
_POSITIONS = table(PositionRow)
_REGIMES = table(RegimeRow)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, where, in one sentence."""

    check: str
    book: str
    detail: str

    def as_dict(self) -> dict[str, str]:
        """For machines."""
        return asdict(self)


def find_problems(engine: Engine, max_unsettled_ms: int = MAX_UNSETTLED_MS) -> list[Problem]:
    """Everything that is wrong with the ledger; empty where it is sound. Raises `LedgerUnavailable`."""
    with snapshot(engine) as connection:
        problems = list(_file(connection))
        found = revision(connection)
        if not is_usable(found):
            return [*problems, Problem("schema", "", f"the schema is {found}, expected {HEAD}; run `ost db migrate`")]
        for book in _books(connection):
            problems.extend(_positions(connection, book))
            problems.extend(_order_rows(connection, book))
            problems.extend(_order_fills(connection, book))
            problems.extend(_unsettled(connection, book, max_unsettled_ms))
            problems.extend(_decisions(connection, book))
            problems.extend(_arrivals(connection, book))
        for record in journal.books(connection):
            problems.extend(_account(connection, record))
        problems.extend(Problem(check, "", detail) for check, detail in research_problems(connection))
    return problems


def _file(connection: Connection) -> Iterator[Problem]:
    if connection.dialect.name != "sqlite":
        return
    for (line,) in connection.execute(text("PRAGMA integrity_check")):
        if line != "ok":
            yield Problem("file", "", f"{line}; restore a backup")
    for child, row, parent, _ in connection.execute(text("PRAGMA foreign_key_check")):
        yield Problem("references", "", f"row {row} of {child} refers to a row of {parent} that is not there")


def _books(connection: Connection) -> list[str]:
    sources = (_DECISIONS.c.book, orders.INTENTS.c.book, orders.ORDERS.c.book, _FILLS.c.book, _POSITIONS.c.book)
    return sorted({book for column in sources for book in connection.execute(select(column).distinct()).scalars()})


def _positions(connection: Connection, book: str) -> Iterator[Problem]:
    stored = executions.positions(connection, book)
    filled = set(connection.execute(select(_FILLS.c.symbol).where(_FILLS.c.book == book).distinct()).scalars())
    for symbol in sorted(filled | stored.keys()):
        holding, closed = executions.refolded(connection, book, symbol)
        if stored.get(symbol) != holding.position:
            yield Problem("positions", book, f"{symbol}: stored {stored.get(symbol)}, the fills add up to {holding.position}")
        trips = {*closed, holding.trip} - {None}
        found = executions.stored_trips(connection, book, symbol)
        if set(found) != trips:
            yield Problem(
                "trades", book, f"{symbol}: the {len(found)} stored trades are not the {len(trips)} that the fills make"
            )


def _order_rows(connection: Connection, book: str) -> Iterator[Problem]:
    intents, rows = orders.INTENTS, orders.ORDERS
    lone = select(intents.c.client_id).where(intents.c.book == book, intents.c.client_id.not_in(select(rows.c.client_id)))
    for client_id in connection.execute(lone).scalars():
        yield Problem("orders", book, f"intent {client_id} has no order row")


def _order_fills(connection: Connection, book: str) -> Iterator[Problem]:
    owners = orders.owners(connection, book)
    filled: dict[str, Decimal] = {}
    for fill in executions.listed(connection, book):
        if fill.client_id in owners:
            client_id = owners[fill.client_id].client_id
            filled[client_id] = filled.get(client_id, ZERO) + fill.quantity
    for record in orders.listed(connection, book):
        wanted, executed = record.intent.quantity, filled.get(record.intent.client_id, ZERO)
        if max(executed, record.filled) > wanted:
            detail = f"asked for {wanted}, the venue reported {record.filled}, its fills are {executed}"
            yield Problem("orders", book, f"{record.intent.client_id} {detail}")


def _unsettled(connection: Connection, book: str, max_unsettled_ms: int) -> Iterator[Problem]:
    query = select(func.max(_DECISIONS.c.bar_close_ms)).where(_DECISIONS.c.book == book)
    newest = connection.execute(query).scalar_one()
    for record in orders.listed(connection, book, unfinished=True):
        age = (newest or 0) - record.intent.created_ms
        if record.state is not OrderState.OPEN and age > max_unsettled_ms:
            since = format_ms(record.intent.created_ms)
            yield Problem(
                "unsettled",
                book,
                f"{record.intent.client_id} is {record.state} since {since}, {age // MINUTE_MS} minutes of the book's time; "
                "start the session again: it asks the venue",
            )


def _decisions(connection: Connection, book: str) -> Iterator[Problem]:
    intents = orders.INTENTS
    owned: dict[str, set[str]] = {}
    for client_id, decision_id in connection.execute(select(intents.c.client_id, intents.c.decision_id)):
        owned.setdefault(decision_id, set()).add(client_id)
    query = select(_DECISIONS.c.id, _DECISIONS.c.order_ids).where(_DECISIONS.c.book == book)
    for decision_id, order_ids in connection.execute(query):
        missing = sorted(set(order_ids) - owned.get(decision_id, set()))
        if missing:
            yield Problem("decisions", book, f"{decision_id} names orders that are not its own: {' '.join(missing)}")


def _arrivals(connection: Connection, book: str) -> Iterator[Problem]:
    known = select(orders.INTENTS.c.client_id)
    lone = select(_ARRIVALS.c.client_id).where(_ARRIVALS.c.book == book, _ARRIVALS.c.client_id.not_in(known))
    for client_id in connection.execute(lone.order_by(_ARRIVALS.c.client_id)).scalars():
        yield Problem("arrivals", book, f"{client_id} was sent, but is no order of the ledger; compare the venue's order list")


def _account(connection: Connection, record: BookRecord) -> Iterator[Problem]:
    """Holes and numbers of the equity rows that do not follow. The marks of open positions are not in the ledger."""
    decisions = connection.execute(select(_DECISIONS.c.id, _DECISIONS.c.bar_close_ms).where(_DECISIONS.c.book == record.book))
    bar_of = {decision_id: int(bar_ms) for decision_id, bar_ms in decisions}
    states = connection.execute(select(_REGIMES.c.bar_close_ms).where(_REGIMES.c.book == record.book).distinct())
    intents = orders.listed(connection, record.book)
    book = account_book(
        record,
        account.equity(connection, record.book, 0, None, None),
        executions.listed(connection, record.book),
        account.funding(connection, record.book, None),
        {one.intent.client_id: one for one in intents},
        bar_of,
        [*bar_of.values(), *states.scalars()],
    )
    for fault in account_faults(book) if book is not None else ():
        detail = f"{format_ms(fault.time_ms)}: {fault.what} is {fault.stored}, expected {fault.expected}; {fault.cause}"
        yield Problem("equity", record.book, detail)
