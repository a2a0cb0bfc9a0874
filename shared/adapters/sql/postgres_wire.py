"""pg8000 with as few round trips as PostgreSQL's protocol needs, for the path from a candle to an order.

pg8000 by itself parses and describes each statement anew and sends BEGIN, COMMIT and every row by itself: four round trips for
one row. Here a statement is prepared once per connection; BEGIN, the rows of an `executemany` and statements whose outcome
nobody reads (`defer`) travel with the next statement that somebody waits for, or with COMMIT. Source: PostgreSQL documentation,
55.2.4 (pipelining). Invariant: after every call the whole answer was read, or the connection is lost.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from pg8000.converters import make_params
from pg8000.core import EXECUTE_MSG, SYNC_MSG, Context
from pg8000.dbapi import convert_paramstyle
from pg8000.exceptions import DatabaseError, InterfaceError
from pg8000.legacy import Connection, Cursor, IntegrityError, ProgrammingError

_MOST_PREPARED = 250
"""Statements that one connection keeps prepared; all are forgotten when there are more."""

_MOST_ROWS = 1000
"""Rows that travel together: their answers must fit the sockets' buffers, for nobody reads them before all is sent."""

_BEGIN = "begin transaction"
_BEGIN_RELAXED = "begin transaction; set local synchronous_commit = off"
_STALE = ("0A000", "26000")
"""What a prepared statement says after a migration, and one that the server has forgotten."""

Rows = Sequence[Sequence[Any]]


class _Prepared(NamedTuple):
    """A statement that the server knows by name."""

    name: bytes
    columns: Any
    input_functions: Any


class _Group(NamedTuple):
    """Messages up to a Sync, and what their answer is read into."""

    message: bytes
    context: Any


class PromptConnection(Connection):  # type: ignore[misc]
    """A connection of pg8000 that prepares and pipelines."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._prepared: dict[str, _Prepared] = {}
        self._deferred: list[_Group] = []
        self._deferred_rows = 0
        self.is_relaxed = False
        """Whether the next transaction may return before its commit is on the disk (a later commit takes it along)."""
        self.answered_s = 0.0
        """When the server last answered, on the monotonic clock."""
        super().__init__(*arguments, **options)

    def cursor(self) -> PromptCursor:
        """A cursor that prepares and pipelines."""
        return PromptCursor(self)

    def commit(self) -> None:
        """Send what was deferred and commit; nothing is sent where nothing was begun."""
        if self._in_transaction or self._deferred:
            self.run("commit", [()])

    def rollback(self) -> None:
        """Forget what was deferred and roll back; nothing is sent where nothing was begun."""
        self._forget_deferred()
        if self._in_transaction:
            self.run("rollback", [()])

    def execute_simple(self, statement: str) -> Any:
        """A statement by itself; pg8000's own cursor begins with one."""
        return super().execute_simple(self._begin if statement == _BEGIN else statement)

    def run(self, statement: str, rows: Rows) -> Any:
        """Execute `statement` (with `$1` …) for every row, in one round trip with all that was deferred; the context."""
        context = self._run(statement, rows[:_MOST_ROWS])
        for start in range(_MOST_ROWS, len(rows), _MOST_ROWS):
            counted = context.row_count
            context = self._run(statement, rows[start : start + _MOST_ROWS])
            context.row_count += counted
        return context

    def _run(self, statement: str, rows: Rows) -> Any:
        group = self._group(statement, rows)
        groups = [*self._deferred, group]
        self._forget_deferred()
        if self._begins():
            groups.insert(0, _Group(_query(self._begin), Context(_BEGIN)))
        self._send(groups)
        return group.context

    def defer(self, statement: str, rows: Rows) -> None:
        """Execute `statement` for every row before the next `run` or commit; only within a transaction."""
        for start in range(0, len(rows), _MOST_ROWS):
            some = rows[start : start + _MOST_ROWS]
            self._deferred.append(self._group(statement, some))
            self._deferred_rows += len(some)
            if self._deferred_rows >= _MOST_ROWS:
                self.settle()

    def ask(self, statement: str, row: Sequence[Any]) -> Any:
        """Execute `statement` before the next `run` or commit; the context, which has its `rows` from then on."""
        group = self._group(statement, [row])
        self._deferred.append(group)
        return group.context

    def settle(self) -> None:
        """Send what was deferred, for a statement that goes pg8000's own way."""
        if self._deferred:
            self.run("select 1", [()])

    def _forget_deferred(self) -> None:
        self._deferred, self._deferred_rows = [], 0

    @property
    def _begin(self) -> str:
        return _BEGIN_RELAXED if self.is_relaxed else _BEGIN

    def _begins(self) -> bool:
        return not self.autocommit and not self._in_transaction

    def _group(self, statement: str, rows: Rows) -> _Group:
        if self._sock is None:
            raise InterfaceError("connection is closed")
        prepared = self._prepared.get(statement)
        if prepared is None:
            if len(self._prepared) >= _MOST_PREPARED:
                self._forget()
            prepared = _Prepared(*self.prepare_statement(statement, ()))
            self._prepared[statement] = prepared
        messages = [_bind_and_execute(prepared.name, make_params(self.py_types, row)) for row in rows]
        context = Context(statement, columns=prepared.columns, input_funcs=prepared.input_functions)
        return _Group(b"".join((*messages, SYNC_MSG)), context)

    def _send(self, groups: Sequence[_Group]) -> None:
        self._sock.write(b"".join(group.message for group in groups))
        self._sock.flush()
        first: DatabaseError | None = None
        for group in groups:  # the server answers every group, whatever became of the one before
            try:
                self.handle_messages(group.context)
            except DatabaseError as error:
                first = first or error
            except InterfaceError:
                if first is None:
                    raise
                break  # gone after it had said why, or a COMMIT of what had failed
        self.answered_s = time.monotonic()
        if first is not None:
            code = _sqlstate(first)
            if code in _STALE:
                self._prepared.clear()
            raise (IntegrityError if code == "23505" else ProgrammingError)(*first.args)  # as pg8000's own cursor tells them

    def _forget(self) -> None:
        for prepared in self._prepared.values():
            self.close_prepared_statement(prepared.name)
        self._prepared.clear()


class PromptCursor(Cursor):  # type: ignore[misc]
    """A cursor whose statements with parameters are prepared; those without (schema, settings) go pg8000's way."""

    def execute(self, operation: str, args: Sequence[Any] = (), stream: Any = None) -> PromptCursor:
        """Run a statement."""
        if not args or stream is not None or self._input_oids:
            self._c.settle()
            super().execute(operation, args, stream)
            return self
        return self._run(operation, [args])

    def executemany(self, operation: str, param_sets: Rows) -> PromptCursor:
        """Run a statement for many rows, in one round trip."""
        if not param_sets or not param_sets[0] or self._input_oids:
            self._c.settle()
            super().executemany(operation, param_sets)
            return self
        return self._run(operation, param_sets)

    def defer(self, operation: str, param_sets: Rows) -> None:
        """Run a statement before the next one that is waited for; it has no outcome that could be read."""
        if self._c.autocommit:
            self.executemany(operation, param_sets)
        else:
            self._c.defer(_numbered(operation), param_sets)

    def ask(self, operation: str, args: Sequence[Any]) -> Any:
        """Run a question before the next statement that is waited for; what has its `rows` from then on."""
        return self._c.ask(_numbered(operation), args)

    def _run(self, operation: str, rows: Rows) -> PromptCursor:
        if self._c is None:
            raise InterfaceError("Cursor closed")
        self._context = self._c.run(_numbered(operation), rows)
        self._row_iter = iter(self._context.rows or ())
        return self


@lru_cache(maxsize=1024)
def _numbered(operation: str) -> str:
    """The statement with `$1` for `%s`: pg8000 looks at every character for it, at each execution."""
    statement: str = convert_paramstyle("format", operation, ())[0]
    return statement


def _sqlstate(error: DatabaseError) -> str | None:
    return error.args[0].get("C") if error.args and isinstance(error.args[0], dict) else None


def _query(statement: str) -> bytes:
    return b"Q" + (len(statement) + 5).to_bytes(4, "big") + statement.encode() + b"\0"


def _bind_and_execute(name: bytes, parameters: Sequence[str | None]) -> bytes:
    """The unnamed portal of a prepared statement with `parameters` as texts, results as texts, all rows."""
    parts = [b"\0", name, b"\0\0", len(parameters).to_bytes(2, "big")]
    for parameter in parameters:
        if parameter is None:
            parts.append(b"\xff\xff\xff\xff")
        else:
            value = parameter.encode()
            parts += (len(value).to_bytes(4, "big"), value)
    parts.append(b"\0\0")
    body = b"".join(parts)
    return b"".join((b"B", (len(body) + 4).to_bytes(4, "big"), body, EXECUTE_MSG))
