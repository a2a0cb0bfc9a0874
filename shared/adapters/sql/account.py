"""Money over time: equity points, funding entries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from sqlalchemy import Connection, select

from shared.adapters.sql.models import EquityRow, FundingRow
from shared.adapters.sql.statements import insert_missing, insert_or_replace, table
from shared.domain.records import EquityPoint, FundingPayment

_EQUITY = table(EquityRow)
_FUNDING = table(FundingRow)
_POINTS = select(_EQUITY.c.time_ms, _EQUITY.c.equity, _EQUITY.c.wallet, _EQUITY.c.peak, _EQUITY.c.exposure)


def record_equity(connection: Connection, book: str, point: EquityPoint) -> None:
    """Store a point; the same instant again replaces it."""
    insert_or_replace(connection, EquityRow, [{"book": book, **asdict(point)}])


def equity(connection: Connection, book: str, since_ms: int) -> list[EquityPoint]:
    """Points from `since_ms` on, oldest first."""
    query = _POINTS.where(_EQUITY.c.book == book, _EQUITY.c.time_ms >= since_ms).order_by(_EQUITY.c.time_ms)
    return [EquityPoint(*row) for row in connection.execute(query)]


def last_equity(connection: Connection, book: str) -> EquityPoint | None:
    """The newest point."""
    query = _POINTS.where(_EQUITY.c.book == book).order_by(_EQUITY.c.time_ms.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else EquityPoint(*row)


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
    query = select(_FUNDING.c.id, _FUNDING.c.symbol, _FUNDING.c.amount, _FUNDING.c.time_ms).where(_FUNDING.c.book == book)
    rows = connection.execute(query.order_by(_FUNDING.c.time_ms, _FUNDING.c.symbol, _FUNDING.c.id))
    return [FundingPayment(*row) for row in rows]
