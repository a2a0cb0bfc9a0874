"""Connections to the ledger's database: SQLite on a laptop, PostgreSQL elsewhere.

SQLite runs in WAL mode with `synchronous=NORMAL`: a commit is in the operating system's hands before it returns, so a
killed process loses nothing (only a power cut may lose the newest commits, never consistency). Writers begin with
BEGIN IMMEDIATE, so that what a transaction has read cannot change before it writes; readers see a snapshot.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from shared.adapters.sql import postgres
from shared.adapters.sql.errors import translated
from shared.adapters.sql.types import dump_json
from shared.domain.errors import ConfigError, LedgerUnavailable

BUSY_TIMEOUT_S = 10
"""How long a SQLite writer waits for another one."""
SOCKET_TIMEOUT_S = 15
"""How long any answer of a PostgreSQL server may take."""
STATEMENT_TIMEOUT_S = 10
"""How long a PostgreSQL statement, or its wait for a lock, may take."""

_WAL_RETRY_S = 0.02
_WRITE_OPTION = "ost_write"


def ledger_url(text: str) -> URL:
    """The parsed address of a ledger. Raises `ConfigError` for other databases (and never repeats a password)."""
    expected = "expected sqlite:///path/to/file or postgresql+pg8000://user@host/database"
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ConfigError(f"ledger.url is no database address; {expected}") from None
    if url.drivername in ("postgresql", "postgres", "postgresql+pg8000"):
        return url.set(drivername=postgres.DRIVER)
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        return url
    raise ConfigError(f"ledger.url names {url.drivername!r}, which this project does not speak; {expected}")


def make_engine(text: str) -> Engine:
    """An engine for the ledger at the URL `text`, without connecting. Makes the folder of a SQLite file."""
    url = ledger_url(text)
    return _postgres_engine(url) if url.get_backend_name() == "postgresql" else _sqlite_engine(url)


def label(engine: Engine) -> str:
    """The ledger's address for messages, its password masked."""
    return engine.url.set(drivername=engine.url.get_backend_name()).render_as_string(hide_password=True)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection that only reads: each statement sees what is committed by then. Raises `LedgerUnavailable`."""
    with _errors(engine), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            with _without_transaction(connection):
                yield connection
        else:
            yield connection


@contextmanager
def _without_transaction(connection: Connection) -> Iterator[None]:
    """PostgreSQL needs no transaction for a statement. SQLAlchemy's own way to say so takes as long as the answer."""
    driver: Any = connection.connection.dbapi_connection
    driver.autocommit = True
    try:
        yield
    finally:
        driver.autocommit = False


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A reading transaction in which all statements see the same moment. Raises `LedgerUnavailable`."""
    with _errors(engine), engine.connect() as connection:
        if engine.dialect.name == "postgresql":  # SQLite's transactions always do
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield connection


@contextmanager
def writing(engine: Engine, *, durable: bool = True) -> Iterator[Connection]:
    """A transaction that commits at the end of the block, or leaves nothing. Raises `LedgerUnavailable`.

    Where it is not `durable`, PostgreSQL need not wait for its disk: a server that crashes may lose the newest such commits,
    but never one that a later durable commit follows. For what is fetched, written or found out again after a crash.
    """
    with _errors(engine), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            driver: Any = connection.connection.dbapi_connection
            driver.is_relaxed = not durable
        else:  # set before the transaction begins: `_begin_sqlite` reads it
            connection = connection.execution_options(**{_WRITE_OPTION: True})
        with connection.begin():
            yield connection


def _errors(engine: Engine) -> AbstractContextManager[None]:
    # What a connection's first statements raise does not pass through SQLAlchemy: the driver's own class is caught too.
    return translated(lambda: label(engine), engine.dialect.loaded_dbapi.Error)


def _sqlite_engine(url: URL) -> Engine:
    if url.database and url.database != ":memory:" and not url.query:
        folder = Path(url.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerUnavailable(
                f"cannot make the ledger's folder {folder}: {error.strerror}; choose another ledger.url"
            ) from None
    engine = create_engine(url, json_serializer=dump_json, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # the driver's own BEGIN is deferred: `_begin_sqlite` chooses
    connection.execute("PRAGMA synchronous=NORMAL").close()
    connection.execute("PRAGMA foreign_keys=ON").close()
    # Turning WAL on needs the file for itself and does not wait for it, unlike every other lock.
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_WAL_RETRY_S)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get(_WRITE_OPTION, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _postgres_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        json_serializer=dump_json,
        pool_pre_ping=True,
        pool_timeout=SOCKET_TIMEOUT_S,
        connect_args={"timeout": SOCKET_TIMEOUT_S},
    )
    event.listen(engine, "connect", _prepare_postgres)
    return engine


def _prepare_postgres(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(f"SET statement_timeout = '{STATEMENT_TIMEOUT_S}s'")
    cursor.close()
    connection.commit()
