"""Money over time: equity points, funding entries."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import BindParameter, Connection, bindparam, func, select

from shared.adapters.sql.live_models import PeakRow
from shared.adapters.sql.models import EquityRow, FundingRow
from shared.adapters.sql.statements import insert_missing, insert_or_replace, kept, table, values_of
from shared.domain.records import EquityPoint, FundingPayment

_EQUITY = table(EquityRow)
_FUNDING = table(FundingRow)
_PEAKS = table(PeakRow)
_BOOK: BindParameter[str] = bindparam("book_key")
_FORGOTTEN = select(func.max(_PEAKS.c.forgotten_ms)).where(_PEAKS.c.book == _BOOK)
_POINT_COLUMNS = (_EQUITY.c.time_ms, _EQUITY.c.equity, _EQUITY.c.wallet, _EQUITY.c.peak, _EQUITY.c.exposure)
_POINTS = kept(
    select(*_POINT_COLUMNS)
    .where(_EQUITY.c.book == _BOOK, _EQUITY.c.time_ms >= bindparam("since_ms"))
    .order_by(_EQUITY.c.time_ms)
    .limit(bindparam("most"))
)
_PAYMENTS = kept(
    select(_FUNDING.c.id, _FUNDING.c.symbol, _FUNDING.c.amount, _FUNDING.c.time_ms)
    .where(_FUNDING.c.book == _BOOK)
    .order_by(_FUNDING.c.time_ms, _FUNDING.c.symbol, _FUNDING.c.id)
)
_PAGE_ROWS = 10_000
"""Points that one statement fetches: years of them take longer than a trader's patience for one answer"""
_NEWEST = kept(
    select(*_POINT_COLUMNS, _FORGOTTEN.scalar_subquery())
    .where(_EQUITY.c.book == _BOOK)
    .order_by(_EQUITY.c.time_ms.desc())
    .limit(1)
)


def record_equity(connection: Connection, book: str, point: EquityPoint) -> None:
    """Store a point; the same instant again replaces it."""
    insert_or_replace(connection, EquityRow, [{"book": book, **values_of(point)}])


def equity(connection: Connection, book: str, since_ms: int) -> list[EquityPoint]:
    """Points from `since_ms` on, oldest first."""
    points: list[EquityPoint] = []
    while True:
        rows = connection.execute(_POINTS, {"book_key": book, "since_ms": since_ms, "most": _PAGE_ROWS}).all()
        points += [EquityPoint(*row) for row in rows]
        if len(rows) < _PAGE_ROWS:
            return points
        since_ms = points[-1].time_ms + 1


def newest(connection: Connection, book: str) -> tuple[EquityPoint | None, int | None]:
    """The newest point, and the instant of the newest one whose peak was forgotten."""
    row = connection.execute(_NEWEST, {"book_key": book}).one_or_none()
    return (None, None) if row is None else (EquityPoint(*row[:-1]), row[-1])


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


def funding(connection: Connection, book: str) -> list[FundingPayment]:
    """Funding entries, oldest first."""
    return [FundingPayment(*row) for row in connection.execute(_PAYMENTS, {"book_key": book})]
