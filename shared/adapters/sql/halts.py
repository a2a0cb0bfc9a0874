"""Halts: pauses that end by themselves and latches that only a person lifts.

A halt is in force until it expires or is lifted, whatever clock set it: one that begins in the future of the asking clock
counts as well, for trading on through a halt is the worse mistake.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, or_, select, update

from shared.adapters.sql.models import HaltRow
from shared.adapters.sql.statements import insert_missing, table
from shared.domain.records import Halt

_HALTS = table(HaltRow)


def put(connection: Connection, halt: Halt) -> None:
    """Store a halt; the same (book, symbol, reason, since) again changes nothing, lifted or not."""
    row = {
        "book": halt.book,
        "symbol": halt.symbol or "",
        "reason": halt.reason,
        "since_ms": halt.since_ms,
        "until_ms": halt.until_ms,
    }
    insert_missing(connection, HaltRow, row)


def in_force(connection: Connection, book: str, now_ms: int) -> list[Halt]:
    """Halts of a book that are neither expired at `now_ms` nor lifted, oldest first."""
    query = select(_HALTS).where(*_in_force(book, now_ms)).order_by(_HALTS.c.since_ms, _HALTS.c.symbol, _HALTS.c.reason)
    rows = connection.execute(query).mappings()
    return [Halt(row["book"], row["reason"], row["since_ms"], row["until_ms"], row["symbol"] or None) for row in rows]


def lift(connection: Connection, book: str, by: str, reason: str, now_ms: int) -> int:
    """Lift every halt in force; return how many there were."""
    values = {"lifted_ms": now_ms, "lifted_by": by, "lifted_reason": reason}
    return connection.execute(update(_HALTS).where(*_in_force(book, now_ms)).values(values)).rowcount


def _in_force(book: str, now_ms: int) -> tuple[ColumnElement[bool], ...]:
    unexpired = or_(_HALTS.c.until_ms.is_(None), _HALTS.c.until_ms > now_ms)
    return _HALTS.c.book == book, _HALTS.c.lifted_ms.is_(None), unexpired
