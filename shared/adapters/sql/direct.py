"""SQLite answers within microseconds; SQLAlchemy's way there and back takes ten times as long.

A statement that is asked again and again is `kept`: it goes straight to the driver (`Compiled`), and connections stay at hand
from one block to the next. All other statements go SQLAlchemy's way: both are one driver connection and one transaction. What
goes past SQLAlchemy on PostgreSQL, where a statement can travel with the next one, is in `statements.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import MultipleResultsFound, NoResultFound

from shared.adapters.sql.compiled import Compiled, Found, compiled

KEPT = "ost_kept"
"""Execution option of a statement that is built once and run often. None of its values is a list of values."""

_MOST_IDLE = 4
"""Connections that stay at hand; more would be all that the engine lends, and none would be left for its other users."""


class Answer:
    """What a kept statement has led to: of SQLAlchemy's `CursorResult` what the ledger uses."""

    def __init__(self, ready: Compiled, found: list[Found], rowcount: int) -> None:
        self.returns_rows = ready.returns_rows
        self.rowcount = rowcount
        self._ready = ready
        self._found = found
        self._made: Callable[[Found], Any] = ready.row

    def mappings(self) -> Answer:
        """The same with rows by name."""
        self._made = self._ready.mapping
        return self

    def __iter__(self) -> Iterator[Any]:
        return map(self._made, self._found)

    def all(self) -> list[Any]:
        """Every row."""
        return list(self)

    def one_or_none(self) -> Any:
        """The only row, `None` where there is none. Raises `MultipleResultsFound`."""
        if len(self._found) > 1:
            raise MultipleResultsFound(f"{len(self._found)} rows were found where one was expected")
        return self._made(self._found[0]) if self._found else None

    def one(self) -> Any:
        """The only row. Raises `NoResultFound`, `MultipleResultsFound`."""
        if not self._found:
            raise NoResultFound("no row was found where one was expected")
        return self.one_or_none()

    def scalar(self) -> Any:
        """The first value of the first row, `None` where there is none."""
        return self._ready.row(self._found[0])[0] if self._found else None

    def scalar_one(self) -> Any:
        """The first value of the only row. Raises `NoResultFound`, `MultipleResultsFound`."""
        self.one()
        return self.scalar()


class DirectConnection(Connection):
    """A connection to SQLite that takes kept statements to the driver itself."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.driver: Any = self.connection.dbapi_connection
        """`sqlite3.Connection`"""
        self.synchronous = ""
        """how far its commits go; empty where nothing was said yet"""

    def execute(self, statement: Any, parameters: Any = None, *, execution_options: Any = None) -> Any:
        """Run a statement; as SQLAlchemy's, which runs those that are not kept. A list of parameters is as many rows."""
        if not statement.get_execution_options().get(KEPT):
            return super().execute(statement, parameters, execution_options=execution_options)
        many = isinstance(parameters, list)
        ready = compiled(statement, self.dialect, tuple((parameters[0] if many else parameters) or ()))
        if many:
            cursor = self.driver.executemany(ready.text, map(ready.values, parameters))
        else:
            cursor = self.driver.execute(ready.text, ready.values(parameters or {}))
        return Answer(ready, cursor.fetchall() if ready.returns_rows else [], cursor.rowcount)


class AtHand:
    """The idle connections of one SQLite database, for every thread of the process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._idle: list[DirectConnection] = []

    def take(self) -> DirectConnection:
        """A connection that nobody else uses."""
        try:
            return self._idle.pop()
        except IndexError:  # asking first whether there is one would leave time for another thread to take it
            return DirectConnection(self._engine)

    def give_back(self, connection: DirectConnection) -> None:
        """Keep a connection, which is in no transaction, for the next one."""
        if len(self._idle) < _MOST_IDLE:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close the idle connections."""
        with suppress(IndexError):  # as in `take`
            while True:
                self._idle.pop().close()


class Reading:
    """A block over a connection at hand. What it has not committed itself is undone; after an error it is not used again."""

    def __init__(self, at_hand: AtHand) -> None:
        self._at_hand = at_hand

    def __enter__(self) -> DirectConnection:
        self._connection = self._at_hand.take()
        try:
            self._begin(self._connection)
        except BaseException:
            self._connection.close()
            raise
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._connection.close()
            return
        try:
            self._end(self._connection)
        except BaseException:
            self._connection.close()
            raise
        self._at_hand.give_back(self._connection)

    def _begin(self, connection: DirectConnection) -> None:
        """Each statement of SQLite sees what is committed by then."""

    def _end(self, connection: DirectConnection) -> None:
        if connection.in_transaction():
            connection.rollback()


class Writing(Reading):
    """Likewise a transaction that alone may write, and that is committed at the end."""

    def __init__(self, at_hand: AtHand, synchronous: str) -> None:
        super().__init__(at_hand)
        self._synchronous = synchronous
        """how far the commit goes: into the operating system's hands (NORMAL) or onto the disk (FULL)"""

    def _begin(self, connection: DirectConnection) -> None:
        if connection.synchronous != self._synchronous:
            connection.driver.execute(f"PRAGMA synchronous={self._synchronous}")
            connection.synchronous = self._synchronous
        connection.driver.execute("BEGIN IMMEDIATE")

    def _end(self, connection: DirectConnection) -> None:
        connection.driver.commit()
        super()._end(connection)
