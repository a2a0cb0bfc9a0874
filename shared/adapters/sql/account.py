"""Money over time: equity points, funding entries. An answer holds as many rows as were asked for, whatever the book's age."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, Connection, Select, bindparam, func, select

from shared.adapters.sql.live_models import PeakRow
from shared.adapters.sql.models import EquityRow, FundingRow
from shared.adapters.sql.statements import insert_missing, insert_or_replace, kept, table, values_of
from shared.adapters.sql.types import EXACT_SUM, Amount
from shared.domain.money import ZERO
from shared.domain.records import EquityPoint, FundingPayment, UnitReturns

_EQUITY = table(EquityRow)
_FUNDING = table(FundingRow)
_PEAKS = table(PeakRow)
_BOOK: BindParameter[str] = bindparam("book_key")
_FORGOTTEN = select(func.max(_PEAKS.c.forgotten_ms)).where(_PEAKS.c.book == _BOOK)
_MONEY = (_EQUITY.c.time_ms, _EQUITY.c.equity, _EQUITY.c.wallet, _EQUITY.c.peak, _EQUITY.c.exposure)
_RETURNS = (_EQUITY.c.return_bars, _EQUITY.c.return_mean, _EQUITY.c.return_spread)
_POINTS = (
    select(*_MONEY, *_RETURNS)
    .where(_EQUITY.c.book == _BOOK, _EQUITY.c.time_ms >= bindparam("since_ms"), _EQUITY.c.time_ms <= bindparam("until_ms"))
    .limit(bindparam("most"))
)
_OLDEST = kept(_POINTS.order_by(_EQUITY.c.time_ms))
_LATEST = kept(_POINTS.order_by(_EQUITY.c.time_ms.desc()))
_PAYMENTS = select(_FUNDING.c.id, _FUNDING.c.symbol, _FUNDING.c.amount, _FUNDING.c.time_ms).where(_FUNDING.c.book == _BOOK)
_ALL_PAYMENTS = kept(_PAYMENTS.order_by(_FUNDING.c.time_ms, _FUNDING.c.symbol, _FUNDING.c.id))
_LATEST_PAYMENTS = kept(
    _PAYMENTS.order_by(_FUNDING.c.time_ms.desc(), _FUNDING.c.symbol.desc(), _FUNDING.c.id.desc()).limit(bindparam("most"))
)
_END_MS = 2**63 - 1
_PAGE_ROWS = 10_000
"""Points that one statement fetches: years of them take longer than a trader's patience for one answer"""
_NEWEST = kept(
    select(*_MONEY, *_RETURNS, _FORGOTTEN.scalar_subquery())
    .where(_EQUITY.c.book == _BOOK)
    .order_by(_EQUITY.c.time_ms.desc())
    .limit(1)
)


def record_equity(connection: Connection, book: str, point: EquityPoint) -> None:
    """Store a point; the same instant again replaces it."""
    values = values_of(point)
    bars, mean, spread = values.pop("returns") or (None, None, None)
    row = {"book": book, **values, "return_bars": bars, "return_mean": mean, "return_spread": spread}
    insert_or_replace(connection, EquityRow, [row])


def equity(connection: Connection, book: str, since_ms: int, until_ms: int | None, limit: int | None) -> list[EquityPoint]:
    """Points from `since_ms` to `until_ms`, oldest first; with `limit` the newest ones."""
    asked = {"book_key": book, "until_ms": _END_MS if until_ms is None else until_ms}
    if limit is not None:
        rows = connection.execute(_LATEST, {**asked, "since_ms": since_ms, "most": limit}).all()
        return [_point(row) for row in reversed(rows)]
    points: list[EquityPoint] = []
    while True:
        rows = connection.execute(_OLDEST, {**asked, "since_ms": since_ms, "most": _PAGE_ROWS}).all()
        points += map(_point, rows)
        if len(rows) < _PAGE_ROWS:
            return points
        since_ms = points[-1].time_ms + 1


def first(connection: Connection, book: str) -> EquityPoint | None:
    """The oldest point."""
    row = connection.execute(_OLDEST, {"book_key": book, "since_ms": 0, "until_ms": _END_MS, "most": 1}).one_or_none()
    return None if row is None else _point(row)


def newest(connection: Connection, book: str) -> tuple[EquityPoint | None, int | None]:
    """The newest point, and the instant of the newest one whose peak was forgotten."""
    row = connection.execute(_NEWEST, {"book_key": book}).one_or_none()
    return (None, None) if row is None else (_point(row[:-1]), row[-1])


def rebase_peak(connection: Connection, book: str, now_ms: int) -> None:
    """Forget the peaks up to the newest point; nothing to forget where there is none."""
    last, _ = newest(connection, book)
    if last is not None:
        insert_missing(connection, PeakRow, {"book": book, "forgotten_ms": last.time_ms, "rebased_ms": now_ms})


def add_funding(connection: Connection, book: str, payments: Iterable[FundingPayment]) -> int:
    """Store funding entries; return how many were new."""
    return sum(
        insert_missing(
            connection,
            FundingRow,
            {"book": book, "id": entry.id, "symbol": entry.symbol, "amount": entry.amount, "time_ms": entry.time_ms},
        )
        for entry in payments
    )


def funding(connection: Connection, book: str, limit: int | None) -> list[FundingPayment]:
    """Funding entries, oldest first; with `limit` the newest ones."""
    if limit is None:
        return [FundingPayment(*row) for row in connection.execute(_ALL_PAYMENTS, {"book_key": book})]
    rows = connection.execute(_LATEST_PAYMENTS, {"book_key": book, "most": limit}).all()
    return [FundingPayment(*row) for row in reversed(rows)]


def funding_total(connection: Connection, book: str) -> Decimal:
    """Sum of all funding entries."""
    total: Decimal | None = connection.execute(_total(connection.dialect.name), {"book_key": book}).scalar()
    return ZERO if total is None else total


@cache
def _total(dialect: str) -> Select[Any]:
    add = getattr(func, EXACT_SUM) if dialect == "sqlite" else func.sum
    return kept(select(add(_FUNDING.c.amount, type_=Amount())).where(_FUNDING.c.book == _BOOK))


def _point(row: Sequence[Any]) -> EquityPoint:
    """From `_MONEY` and `_RETURNS`."""
    time_ms, equity, wallet, peak, exposure, bars, mean, spread = row
    returns = None if bars is None else UnitReturns(bars, mean, spread)
    return EquityPoint(time_ms, equity, wallet, peak, exposure, returns)
