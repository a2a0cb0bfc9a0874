"""What is kept for people: books, the agent log, data quality reports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select, update

from shared.adapters.sql import outbox
from shared.adapters.sql.models import BookRow, LogRow, QualityRow
from shared.adapters.sql.statements import insert_all, insert_missing, insert_or_replace, kept, table
from shared.adapters.sql.types import dump_json
from shared.domain.asset import Asset
from shared.domain.errors import LedgerError
from shared.domain.events import failed
from shared.domain.interval import Interval
from shared.domain.records import BookRecord
from shared.domain.text import storable

_BOOKS = table(BookRow)
_LOG = table(LogRow)
_ALL_BOOKS = kept(select(_BOOKS).order_by(_BOOKS.c.created_ms, _BOOKS.c.book))


def register_book(connection: Connection, book: str, created_ms: int, settings: Mapping[str, Any]) -> None:
    """Remember a book; the same book again changes nothing."""
    insert_missing(connection, BookRow, {"book": book, "created_ms": created_ms, "settings": dict(settings)})


def books(connection: Connection) -> list[BookRecord]:
    """All books, oldest first."""
    return [BookRecord(**row) for row in connection.execute(_ALL_BOOKS).mappings()]


def finish_book(connection: Connection, book: str, summary: Mapping[str, Any], now_ms: int) -> None:
    """Mark a run as finished. Raises `LedgerError` for a book that was never registered."""
    values = {"finished_ms": now_ms, "summary": dict(summary)}
    if connection.execute(update(_BOOKS).where(_BOOKS.c.book == book).values(values)).rowcount == 0:
        raise LedgerError(f"book {book} cannot be finished: it was never registered")


def log(
    connection: Connection, book: str, source: str, level: str, message: str, now_ms: int, context: Mapping[str, Any] | None
) -> None:
    """Append to the agent log, an error with its event."""
    message = storable(message)
    row = {
        "book": book,
        "time_ms": now_ms,
        "source": source,
        "level": level,
        "message": message,
        "context": None if context is None else dict(context),
    }
    insert_all(connection, LogRow, [row])
    if level == "error":
        plain = None if context is None else json.loads(dump_json(row["context"]))
        outbox.add(connection, [failed(book, source, message, now_ms, plain)])


def agent_log(connection: Connection, book: str, limit: int) -> list[Mapping[str, Any]]:
    """The newest entries, oldest first."""
    columns = (_LOG.c.time_ms, _LOG.c.source, _LOG.c.level, _LOG.c.message, _LOG.c.context)
    query = select(*columns).where(_LOG.c.book == book).order_by(_LOG.c.id.desc()).limit(limit)
    return [dict(row) for row in reversed(connection.execute(query).mappings().all())]


def record_quality(connection: Connection, asset: Asset, interval: Interval, report: Mapping[str, Any], now_ms: int) -> None:
    """Store a data quality report; the same instant again replaces it."""
    row = {
        "venue": asset.venue,
        "symbol": asset.symbol,
        "interval": interval.value,
        "time_ms": now_ms,
        "report": dict(report),
    }
    insert_or_replace(connection, QualityRow, [row])
