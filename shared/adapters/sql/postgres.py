"""pg8000 as SQLAlchemy expects a driver to be: a lost connection is an error of the driver, and it is recognised.

pg8000 lets some socket errors through as builtin OSErrors, which SQLAlchemy neither wraps nor takes for a disconnect, so
that `pool_pre_ping` fails instead of reconnecting. It also fails to close a connection that the server has closed, which
the pool would log as an error with a traceback on every restart of the server.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from socket import socket
from typing import Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.pg8000 import PGDialect_pg8000

from shared.adapters.sql.errors import sqlstate

DRIVER = "postgresql+ost_pg8000"
"""Driver name under which SQLAlchemy finds `PatientDialect`."""

DEFERRED = "ost_deferred"
"""Execution option of a statement whose outcome nobody reads: it may be sent together with the next one, or with COMMIT."""

REACH = "ost_reach"
"""Connect argument: a function that returns a connected socket."""

_FRESH_S = 10.0
"""How long after an answer a connection is believed to live without being asked."""

_LOST = ("57P", "08", "25P03")
"""Codes with which the server ends a connection: it goes down, or the transaction was left open too long."""

_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')"
)
"""A committed intent must survive the server's death: no order may be at the venue that the ledger has forgotten."""


class PatientDialect(PGDialect_pg8000):
    """PostgreSQL through pg8000, with disconnects told as such."""

    driver = "ost_pg8000"
    supports_statement_cache = True

    def connect(self, *arguments: Any, **options: Any) -> Any:
        """A connection that prepares its statements, needs few round trips, and commits durably by itself.

        Where the `REACH` argument is given, the server stands behind the socket that it returns, encrypted already.
        """
        from shared.adapters.sql.postgres_wire import PromptConnection

        reach = options.pop(REACH, None)
        if reach is not None:
            options |= {"sock": reach(), "ssl_context": False}
        connection = PromptConnection(*arguments, **options)
        with self._network_errors():
            connection.execute_simple(_DURABLE)
        return connection

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:
        """Whether the connection is of no more use: closed, network error, server shutting down."""
        return (sqlstate(e) or "").startswith(_LOST) or bool(super().is_disconnect(e, connection, cursor))  # type: ignore[no-untyped-call]

    def do_ping(self, dbapi_connection: Any) -> bool:
        """False for a dead connection: the pool then makes a new one.

        A connection that answered just now is only looked at, which costs no round trip: a server that goes away says so.
        Raises `TimeoutError` where the server is silent: a new connection would only be the next wait.
        """
        try:
            if time.monotonic() - dbapi_connection.answered_s < _FRESH_S and not _has_something_to_say(dbapi_connection._usock):
                return True
            return bool(super().do_ping(dbapi_connection))
        except (OSError, self.loaded_dbapi.Error) as error:
            if isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError):
                raise TimeoutError("the server does not answer") from error
            return False

    def do_close(self, dbapi_connection: Any) -> None:
        """Close; a connection that the server has closed already needs nothing more."""
        try:
            super().do_close(dbapi_connection)  # type: ignore[no-untyped-call]
        except (OSError, self.loaded_dbapi.InterfaceError):
            return

    def do_execute(self, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> None:
        """Run a statement; one whose outcome nobody reads (`DEFERRED`) travels with the next one."""
        with self._network_errors():
            if context is not None and context.execution_options.get(DEFERRED):
                cursor.defer(statement, [parameters])
                return
            super().do_execute(cursor, statement, parameters, context)  # type: ignore[no-untyped-call]

    def do_executemany(self, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> None:
        """Run a statement for many rows."""
        with self._network_errors():
            super().do_executemany(cursor, statement, parameters, context)  # type: ignore[no-untyped-call]

    def defer(self, dbapi_connection: Any, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Let a statement travel with the next one, for each of `rows`."""
        with self._network_errors():
            dbapi_connection.cursor().defer(statement, rows)

    def ask(self, dbapi_connection: Any, statement: str, row: Sequence[Any]) -> Any:
        """Let a question travel with the next statement; what has its `rows` from then on."""
        with self._network_errors():
            return dbapi_connection.cursor().ask(statement, row)

    def do_commit(self, dbapi_connection: Any) -> None:
        """Commit."""
        with self._network_errors():
            super().do_commit(dbapi_connection)  # type: ignore[no-untyped-call]

    def do_rollback(self, dbapi_connection: Any) -> None:
        """Roll back."""
        with self._network_errors():
            super().do_rollback(dbapi_connection)  # type: ignore[no-untyped-call]

    @contextmanager
    def _network_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # The words that the base class recognises.
            raise self.loaded_dbapi.InterfaceError(f"network error: {error or type(error).__name__}") from error


def _has_something_to_say(connected: socket | None) -> bool:
    """Whether there is anything to be read: an idle server is silent until it leaves. A closed connection counts as well."""
    if connected is None:
        return True
    waiting = select.poll()
    waiting.register(connected, select.POLLIN)
    return bool(waiting.poll(0))


registry.register("postgresql.ost_pg8000", __name__, PatientDialect.__name__)
