"""Insert-or-nothing and insert-or-replace, which both databases spell alike but SQLAlchemy keeps in two dialects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table, inspect
from sqlalchemy.dialects import postgresql, sqlite

from shared.adapters.sql.base import Base

Row = Mapping[str, Any]
_Insert = postgresql.Insert | sqlite.Insert


def table(model: type[Base]) -> Table:
    """The table of a model."""
    found = inspect(model).local_table
    if not isinstance(found, Table):  # a mapped class of ours always has one
        raise TypeError(f"{model.__name__} is not mapped to a table")
    return found


def insert_missing(connection: Connection, model: type[Base], row: Row) -> bool:
    """Insert a row unless its key is there; says whether it was inserted."""
    return connection.execute(_inserting(connection.dialect.name, model), dict(row)).rowcount == 1


def insert_or_replace(connection: Connection, model: type[Base], rows: Sequence[Row]) -> None:
    """Insert rows; those whose key is there replace the old ones."""
    if rows:
        connection.execute(_replacing(connection.dialect.name, model), [dict(row) for row in rows])


# Building a statement takes as long as running it; there is one of each kind per table and database.
@cache
def _inserting(dialect: str, model: type[Base]) -> _Insert:
    return _insert(dialect)(table(model)).on_conflict_do_nothing()


@cache
def _replacing(dialect: str, model: type[Base]) -> _Insert:
    columns = table(model).columns
    statement = _insert(dialect)(table(model))
    keys = [column.name for column in columns if column.primary_key]
    changed = {column.name: statement.excluded[column.name] for column in columns if not column.primary_key}
    return statement.on_conflict_do_update(index_elements=keys, set_=changed)


def _insert(dialect: str) -> Callable[[Table], _Insert]:
    return postgresql.insert if dialect == "postgresql" else sqlite.insert
