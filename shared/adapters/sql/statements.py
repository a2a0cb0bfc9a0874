"""Statements that several tables need: insert-or-nothing, insert-or-replace (which both databases spell alike but SQLAlchemy
keeps in two dialects), and the row whose id starts with what a person typed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Executable, Insert, RowMapping, Select, Table, UpdateBase, bindparam, insert, inspect, select
from sqlalchemy.dialects import postgresql, sqlite

from shared.adapters.sql.base import Base
from shared.adapters.sql.compiled import compiled
from shared.adapters.sql.direct import KEPT
from shared.adapters.sql.postgres import DEFERRED, PatientDialect
from shared.domain.asset import Asset
from shared.domain.errors import UsageError
from shared.domain.interval import Interval

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Row = Mapping[str, Any]
Kept = TypeVar("Kept", bound=Executable)
_Insert = postgresql.Insert | sqlite.Insert

_SHOWN_CANDIDATES = 5


def table(model: type[Base]) -> Table:
    """The table of a model."""
    found = inspect(model).local_table
    if not isinstance(found, Table):  # a mapped class of ours always has one
        raise TypeError(f"{model.__name__} is not mapped to a table")
    return found


def insert_missing(connection: Connection, model: type[Base], row: Row) -> bool:
    """Insert a row unless its key is there; says whether it was inserted."""
    return connection.execute(_inserting(connection.dialect.name, model), dict(row)).rowcount == 1


def insert_all_missing(connection: Connection, model: type[Base], rows: Sequence[Row]) -> None:
    """Insert rows; those whose key is there change nothing."""
    insert_unread(connection, _inserting(connection.dialect.name, model), rows)


def insert_all(connection: Connection, model: type[Base], rows: Sequence[Row]) -> None:
    """Insert rows whose keys are not there."""
    insert_unread(connection, _plain(model), rows)


def insert_or_replace(connection: Connection, model: type[Base], rows: Sequence[Row]) -> None:
    """Insert rows; those whose key is there replace the old ones."""
    insert_unread(connection, _replacing(connection.dialect.name, model), rows)


def insert_into(dialect: str, model: type[Base]) -> _Insert:
    """An insert to which a rule for conflicts can be added."""
    return postgresql.insert(table(model)) if dialect == "postgresql" else sqlite.insert(table(model))


def insert_unread(connection: Connection, statement: Insert, rows: Sequence[Row]) -> None:
    """Insert rows, all with the same columns; nobody reads the outcome, as with `unread`."""
    dialect = connection.dialect
    if isinstance(dialect, PatientDialect) and rows:
        ready = compiled(unread(statement), dialect, tuple(rows[0]))
        dialect.defer(connection.connection.dbapi_connection, ready.text, [ready.values(row) for row in rows])
    elif rows:
        connection.execute(unread(statement), list(rows))


def ask(connection: Connection, statement: Select[Any], row: Row) -> Callable[[], Sequence[Mapping[Any, Any]]]:
    """A question that needs no round trip of its own where that can be: what was answered, to be called after the commit.

    Raises `TypeError` for one about numbers that are not whole.
    """
    dialect = connection.dialect
    if not isinstance(dialect, PatientDialect):
        found = connection.execute(statement, row).mappings().all()
        return lambda: found
    ready = compiled(statement, dialect, tuple(row))
    asked = dialect.ask(connection.connection.dbapi_connection, ready.text, ready.values(row))
    return lambda: [ready.mapping(answer) for answer in asked.rows]


def kept(statement: Kept) -> Kept:
    """The statement as one that is built once and run often (`shared/adapters/sql/direct.py`)."""
    return statement.execution_options(**{KEPT: True})


@cache
def unread(statement: UpdateBase) -> UpdateBase:
    """The statement as one whose outcome nobody reads: it travels with the next one, and with it its error. It is kept."""
    return kept(statement.inline() if isinstance(statement, Insert) else statement).execution_options(**{DEFERRED: True})


def row_by_id(connection: Connection, model: type[Base], wanted: str, *, noun: str, listing: str) -> RowMapping | None:
    """The row whose `id` is `wanted`, or the only one whose id starts with it; `None` where there is none.

    Raises `UsageError` for an empty id (naming the command `listing`) and for one that fits several rows (naming them).
    """
    found = table(model)
    row = connection.execute(_by_id(model), {"id_key": wanted}).mappings().one_or_none()
    if row is not None:
        return row
    if not wanted:
        raise UsageError(f"the id of the {noun} is empty; see `{listing}`")
    prefix = found.c.id.startswith(wanted, autoescape=True)
    rows = connection.execute(select(found).where(prefix).order_by(found.c.id).limit(_SHOWN_CANDIDATES + 1)).mappings().all()
    if len(rows) > 1:
        shown = " ".join(row["id"] for row in rows[:_SHOWN_CANDIDATES]) + (" …" if len(rows) > _SHOWN_CANDIDATES else "")
        raise UsageError(f"{wanted!r} is the start of several {noun}s: {shown}; write more of the id")
    return rows[0] if rows else None


def asset_columns(asset: Asset) -> dict[str, str]:
    """The columns that name an asset."""
    return {"venue": asset.venue, "symbol": asset.symbol}


def with_asset(row: RowMapping) -> dict[str, Any]:
    """A row's values by name, `venue` and `symbol` as one `asset`, `interval` as an `Interval` where there is one."""
    values = dict(row)
    values["asset"] = Asset(values.pop("venue"), values.pop("symbol"))
    if "interval" in values:
        values["interval"] = Interval(values["interval"])
    return values


def values_of(record: DataclassInstance) -> dict[str, Any]:
    """The fields of a dataclass by name, as they are; `dataclasses.asdict` copies them deeply, which takes its time."""
    return {name: getattr(record, name) for name in _field_names(type(record))}


@cache
def _field_names(kind: type[DataclassInstance]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


# Building a statement takes as long as running it; there is one of each kind per table and database.
@cache
def _inserting(dialect: str, model: type[Base]) -> _Insert:
    return kept(insert_into(dialect, model).on_conflict_do_nothing())


@cache
def _by_id(model: type[Base]) -> Select[Any]:
    found = table(model)
    return kept(select(found).where(found.c.id == bindparam("id_key")))


@cache
def _plain(model: type[Base]) -> Insert:
    return insert(table(model))


@cache
def _replacing(dialect: str, model: type[Base]) -> _Insert:
    columns = table(model).columns
    statement = insert_into(dialect, model)
    keys = [column.name for column in columns if column.primary_key]
    changed = {column.name: statement.excluded[column.name] for column in columns if not column.primary_key}
    return statement.on_conflict_do_update(index_elements=keys, set_=changed)
