"""A ledger as one portable file: gzipped JSON lines, the same from SQLite and from PostgreSQL, restorable into either.

The first line says what the file is, each further line holds one row (`[table, {column: value}]`), the last one counts
them, so that a truncated file is found out before anything is committed. Amounts are decimal strings. A backup reads one
snapshot; a restore is one transaction.
"""

from __future__ import annotations

import gzip
import json
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, delete, func, insert, select

from shared.adapters.sql.engine import label, snapshot, writing
from shared.adapters.sql.migrate import HEAD, METADATA, is_usable, migrate, revision
from shared.adapters.sql.types import Amount, dump_json
from shared.domain.errors import LedgerError, StorageError, UsageError

_FORMAT = "one-smart-trade ledger"
_ROWS_PER_INSERT = 500
_READ_ROWS = 1000


def backup(engine: Engine, target: Path, created_ms: int) -> int:
    """Write the whole ledger, as this program knows it, to `target` in one step; return the number of rows.

    What a newer schema has added is in the backups of that schema's program: this one's can be restored by programs like it.
    Raises `LedgerUnavailable`, `LedgerError` for a ledger of another schema, `StorageError` where the file cannot be
    written (an older file of that name is then unharmed).
    """
    with snapshot(engine) as connection:
        found = revision(connection)
        if not is_usable(found):
            raise LedgerError(f"the ledger {label(engine)} has schema {found}, expected {HEAD}; run `ost db migrate` first")
        try:
            return _write(connection, target, created_ms)
        except OSError as error:
            raise StorageError(f"cannot write the backup {target}: {error.strerror or error}; choose another --to") from error


def restore(engine: Engine, source: Path, *, replace: bool) -> int:
    """Fill the ledger from a backup and return the number of rows; all or nothing.

    Raises `UsageError` for a file that is no whole backup of this schema, and for a ledger that has rows unless `replace`.
    """
    migrate(engine)
    with writing(engine) as connection:
        filled = row_counts(connection)
        if filled and not replace:
            found = ", ".join(f"{count} {name}" for name, count in filled.items())
            raise UsageError(f"the ledger {label(engine)} is not empty ({found}); `--yes` replaces what is there")
        for table in reversed(METADATA.sorted_tables):
            connection.execute(delete(table))
        rows = _read(connection, source)
        if engine.dialect.name == "postgresql":
            _reset_counters(connection)
    return rows


def row_counts(connection: Connection) -> dict[str, int]:
    """Number of rows by table, of those that have any."""
    counts = {
        table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in METADATA.sorted_tables
    }
    return {name: count for name, count in counts.items() if count}


def _write(connection: Connection, target: Path, created_ms: int) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    partial = Path(name)
    rows = 0
    try:
        # No file name and no time in the header of gzip: the same ledger gives the same bytes.
        with os.fdopen(handle, "wb") as raw, gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as packed:
            packed.write(_line({"format": _FORMAT, "schema": HEAD, "created_ms": created_ms}))
            for table in METADATA.sorted_tables:
                for row in _rows(connection, table):
                    packed.write(_line([table.name, row]))
                    rows += 1
            packed.write(_line({"rows": rows}))
            packed.flush()
            raw.flush()
            os.fsync(raw.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return rows


def _rows(connection: Connection, table: Table) -> Iterator[dict[str, Any]]:
    query = select(table).order_by(*table.primary_key.columns).execution_options(yield_per=_READ_ROWS)
    for row in connection.execute(query).mappings():
        yield dict(row)


def _line(value: Any) -> bytes:
    return dump_json(value).encode() + b"\n"


def _read(connection: Connection, source: Path) -> int:
    lines = _lines(source)
    header = next(lines, None)
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise UsageError(f"{source} is no backup of a ledger; make one with `ost db backup`")
    if header.get("schema") != HEAD:
        raise UsageError(f"{source} has schema {header.get('schema')}, this program has {HEAD}; restore it with that version")
    rows = 0
    for group in _groups(source, lines):
        if isinstance(group, int):
            if group != rows:
                raise UsageError(f"{source} is damaged: it announces {group} rows and holds {rows}")
            return rows
        name, values = group
        connection.execute(insert(METADATA.tables[name]), values)
        rows += len(values)
    raise UsageError(f"{source} is truncated: it ends after {rows} rows; use another backup")


def _groups(source: Path, lines: Iterable[Any]) -> Iterator[tuple[str, list[dict[str, Any]]] | int]:
    """Rows of one table, many at a time; at last the number of rows that the file announces."""
    name, values = "", list[dict[str, Any]]()
    for line in lines:
        match line:
            case {"rows": int(announced)}:
                if values:
                    yield name, values
                yield announced
                return
            case [str(table), dict(row)] if table in METADATA.tables:
                if values and (table != name or len(values) == _ROWS_PER_INSERT):
                    yield name, values
                    values = []
                name = table
                values.append(_typed(METADATA.tables[table], row))
            case _:
                raise UsageError(f"{source} is damaged: {str(line)[:60]!r} is no row of a ledger; use another backup")


def _lines(source: Path) -> Iterator[Any]:
    try:
        with gzip.open(source, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise UsageError(f"{source} is no backup or is damaged: {error}; use another backup") from error
    except OSError as error:
        raise UsageError(f"cannot read the backup {source}: {error.strerror or error}") from error


def _typed(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    amounts = {column.name for column in table.columns if isinstance(column.type, Amount)}
    return {name: Decimal(value) if name in amounts and value is not None else value for name, value in row.items()}


def _reset_counters(connection: Connection) -> None:
    """PostgreSQL counts on from where it was, not from the restored rows."""
    for table in METADATA.sorted_tables:
        counter = table.autoincrement_column
        if counter is not None:
            newest = select(func.max(counter)).scalar_subquery()
            sequence = func.pg_get_serial_sequence(table.name, counter.name)
            connection.execute(select(func.setval(sequence, func.coalesce(newest, 1), newest.is_not(None))))
