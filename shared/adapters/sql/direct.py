"""SQLite answers within microseconds; SQLAlchemy's way there and back takes ten times as long.

A statement that is asked again and again is `kept`: SQLAlchemy compiles it once for each database, and from then on it goes
straight to the driver, its values through the same column types. Connections stay at hand from one block to the next. All
other statements, and all of PostgreSQL's, go SQLAlchemy's way: on SQLite both are one driver connection and one transaction.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import MultipleResultsFound, NoResultFound

KEPT = "ost_kept"
"""Execution option of a statement that is built once and run often. None of its values is a list of values."""

_Found = Sequence[Any]
"""a row as the driver gives it"""


class Compiled:
    """A kept statement as SQLite's driver takes it. Raises `TypeError` for one that only SQLAlchemy can run."""

    def __init__(self, statement: Any, dialect: Dialect, names: Sequence[str]) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(names))
        if compiled.post_compile_params or compiled.literal_execute_params or compiled.insert_prefetch:
            raise TypeError(f"this statement cannot be kept, SQLAlchemy completes it at each execution: {compiled}")
        self.text = str(compiled)
        binds = {name: bind for bind, name in compiled.bind_names.items()}
        places = compiled.positiontup
        self._places = [(name, binds[name].type.dialect_impl(dialect).bind_processor(dialect)) for name in places]
        self._constants = {name: binds[name].effective_value for name in places if not binds[name].required}
        columns = compiled._result_columns  # as rendered; what the public properties say is of the statement before
        self._names = [column.keyname for column in columns]
        row: Any = namedtuple("Row", self._names, rename=True)  # type: ignore[misc]
        self._tuple: Callable[[_Found], Any] = row._make
        processes = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
        self._processes = [(place, process) for place, process in enumerate(processes) if process is not None]
        self.returns_rows = bool(self._names)

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """What the driver gets for the question marks."""
        named = {**self._constants, **given} if self._constants else given
        return [named[name] if process is None else process(named[name]) for name, process in self._places]

    def row(self, found: _Found) -> Any:
        """A row as Python has it, its values by place and as attributes."""
        return self._tuple(self._processed(found))

    def mapping(self, found: _Found) -> dict[str, Any]:
        """A row as Python has it, its values by name."""
        return dict(zip(self._names, self._processed(found), strict=True))

    def _processed(self, found: _Found) -> _Found:
        if not self._processes:
            return found
        values = list(found)
        for place, process in self._processes:
            values[place] = process(values[place])
        return values


class Answer:
    """What a kept statement has led to: of SQLAlchemy's `CursorResult` what the ledger uses."""

    def __init__(self, compiled: Compiled, found: list[_Found], rowcount: int) -> None:
        self.returns_rows = compiled.returns_rows
        self.rowcount = rowcount
        self._compiled = compiled
        self._found = found
        self._made: Callable[[_Found], Any] = compiled.row

    def mappings(self) -> Answer:
        """The same with rows by name."""
        self._made = self._compiled.mapping
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
        return self._compiled.row(self._found[0])[0] if self._found else None

    def scalar_one(self) -> Any:
        """The first value of the only row. Raises `NoResultFound`, `MultipleResultsFound`."""
        self.one()
        return self.scalar()


class DirectConnection(Connection):
    """A connection to SQLite that takes kept statements to the driver itself."""

    def __init__(self, engine: Engine, compiled: dict[Any, Compiled]) -> None:
        super().__init__(engine)
        self.driver: Any = self.connection.dbapi_connection
        """`sqlite3.Connection`"""
        self.synchronous = ""
        """how far its commits go; empty where nothing was said yet"""
        self._compiled = compiled

    def execute(self, statement: Any, parameters: Any = None, *, execution_options: Any = None) -> Any:
        """Run a statement; as SQLAlchemy's, which runs those that are not kept. A list of parameters is as many rows."""
        many = isinstance(parameters, list)
        names = tuple((parameters[0] if many else parameters) or ())
        compiled = self._compiled.get((statement, names))
        if compiled is None:
            if not statement.get_execution_options().get(KEPT):
                return super().execute(statement, parameters, execution_options=execution_options)
            compiled = self._compiled[statement, names] = Compiled(statement, self.dialect, names)
        if many:
            cursor = self.driver.executemany(compiled.text, map(compiled.values, parameters))
        else:
            cursor = self.driver.execute(compiled.text, compiled.values(parameters or {}))
        return Answer(compiled, cursor.fetchall() if compiled.returns_rows else [], cursor.rowcount)


class AtHand:
    """What a process keeps of one SQLite database: idle connections, and statements as its driver takes them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._idle: list[DirectConnection] = []
        self._compiled: dict[Any, Compiled] = {}

    def take(self) -> DirectConnection:
        """A connection that nobody else uses."""
        return self._idle.pop() if self._idle else DirectConnection(self._engine, self._compiled)

    def give_back(self, connection: DirectConnection) -> None:
        """Keep a connection, which is in no transaction, for the next one."""
        self._idle.append(connection)

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
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
