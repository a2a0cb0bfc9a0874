"""Halts: pauses that end by themselves and latches that only a person lifts.

A halt is in force until it expires or is lifted, whatever clock set it: one that begins in the future of the asking clock
counts as well, for trading on through a halt is the worse mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select, update

from shared.adapters.sql import outbox
from shared.adapters.sql.models import HaltRow
from shared.adapters.sql.statements import ask, insert_missing, kept, table
from shared.domain.events import EventKind, halted
from shared.domain.records import Halt, HaltKind
from shared.domain.text import storable

_HALTS = table(HaltRow)
_IN_FORCE = (
    _HALTS.c.book == bindparam("book_key"),
    _HALTS.c.lifted_ms.is_(None),
    or_(_HALTS.c.until_ms.is_(None), _HALTS.c.until_ms > bindparam("now_ms")),
)
_LISTED = kept(select(_HALTS).where(*_IN_FORCE).order_by(_HALTS.c.since_ms, _HALTS.c.symbol, _HALTS.c.reason))


def put(connection: Connection, halt: Halt) -> None:
    """Store a halt with its event; the same (book, symbol, reason, since) again changes nothing, lifted or not."""
    row = {
        "book": halt.book,
        "symbol": halt.symbol or "",
        "reason": halt.reason,
        "since_ms": halt.since_ms,
        "until_ms": halt.until_ms,
        "kind": halt.kind.value,
    }
    if insert_missing(connection, HaltRow, row):
        is_drawdown = halt.kind in (HaltKind.PAUSE, HaltKind.DRAWDOWN)
        outbox.add(connection, [halted(EventKind.DRAWDOWN_THRESHOLD if is_drawdown else EventKind.ERROR, halt)])


def in_force(connection: Connection, book: str, now_ms: int) -> list[Halt]:
    """Halts of a book that are neither expired at `now_ms` nor lifted, oldest first."""
    rows = connection.execute(_LISTED, {"book_key": book, "now_ms": now_ms}).mappings()
    return [_halt(row) for row in rows]


def in_force_at_commit(connection: Connection, book: str, now_ms: int) -> Callable[[], tuple[Halt, ...]]:
    """`in_force`, asked within a transaction without a round trip of its own where that can be: call it after the commit."""
    answered = ask(connection, _LISTED, {"book_key": book, "now_ms": now_ms})
    return lambda: tuple(map(_halt, answered()))


def _halt(row: Mapping[Any, Any]) -> Halt:
    return Halt(row["book"], row["reason"], row["since_ms"], row["until_ms"], row["symbol"] or None, HaltKind(row["kind"]))


def lift(connection: Connection, lifted: Sequence[Halt], by: str, reason: str, now_ms: int) -> int:
    """Lift exactly these halts; return how many of them were still in force."""
    values = {"lifted_ms": now_ms, "lifted_by": storable(by), "lifted_reason": storable(reason)}
    count = 0
    for halt in lifted:
        key = (
            _HALTS.c.book == halt.book,
            _HALTS.c.symbol == (halt.symbol or ""),
            _HALTS.c.reason == halt.reason,
            _HALTS.c.since_ms == halt.since_ms,
        )
        statement = update(_HALTS).where(*key, *_IN_FORCE).values(values)
        count += connection.execute(statement, {"book_key": halt.book, "now_ms": now_ms}).rowcount
    return count
