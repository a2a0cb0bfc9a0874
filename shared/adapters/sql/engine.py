"""Connections to the ledger's database: SQLite on a laptop, PostgreSQL elsewhere, in the cloud that of Cloud SQL.

SQLite runs in WAL mode: a commit is in the operating system's hands before it returns, so a killed process loses nothing; a
durable one (`synchronous=FULL`) is on the disk, so that a power cut does not take it either. Writers begin with BEGIN
IMMEDIATE, so that what a transaction has read cannot change before it writes; readers do not wait for them. How long anybody
waits for an answer is a value (`Patience`): a report may wait, a trader may not.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from shared.adapters.sql import postgres
from shared.adapters.sql.breaker import Breaker
from shared.adapters.sql.direct import AtHand, Reading, Writing
from shared.adapters.sql.errors import is_away, translated
from shared.adapters.sql.types import EXACT_SUM, ExactSum, dump_json
from shared.domain.errors import ConfigError, LedgerUnavailable


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a process waits for the ledger, seconds."""

    answer_s: float = 15.0
    """for any answer of a PostgreSQL server, a new connection included"""
    statement_s: float = 10.0
    """for a PostgreSQL statement or a lock that it needs, and for another writer of SQLite"""
    fails_fast: bool = False
    """whether one time-out or lost connection makes every call fail at once, until the ledger answers again"""
    connections: int | None = None
    """most connections of this process to a PostgreSQL server, whose own limit all services share; `None`: the driver's 15"""


PATIENT = Patience()
"""Of a command that a person has started."""

IDLE_IN_TRANSACTION_S = 5
"""After this PostgreSQL takes back what a trader that stands still in a transaction has locked."""

CLOUD_SQL = "cloudsql://"
"""What the address of an instance of Cloud SQL begins with."""

_WAL_RETRY_S = 0.02
_BREAKER_OPTION = "ost_breaker"
_AT_HAND_OPTION = "ost_at_hand"


def ledger_url(text: str) -> URL:
    """The parsed address of a ledger. Raises `ConfigError` for other databases (and never repeats a password)."""
    expected = "expected sqlite:///path/to/file, postgresql+pg8000://user@host/database or cloudsql://…"
    if text.startswith(CLOUD_SQL):
        from shared.adapters.gcp.cloud_sql import instance_of

        instance = instance_of(text)
        return URL.create(postgres.DRIVER, instance.user, host=instance.name, database=instance.database)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ConfigError(f"ledger.url is no database address; {expected}") from None
    if url.drivername in ("postgresql", "postgres", "postgresql+pg8000"):
        return url.set(drivername=postgres.DRIVER)
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        return url
    raise ConfigError(f"ledger.url names {url.drivername!r}, which this project does not speak; {expected}")


def make_engine(text: str, patience: Patience = PATIENT, reach: Callable[[], Any] | None = None) -> Engine:
    """An engine for the ledger at the URL `text`, without connecting. Makes the folder of a SQLite file.

    `reach` makes connected sockets to a PostgreSQL server; for Cloud SQL that is its connector by default.
    """
    url = ledger_url(text)
    if reach is None and text.startswith(CLOUD_SQL):
        from shared.adapters.gcp.cloud_sql import sockets_to

        reach = sockets_to(str(url.host), patience.answer_s)
    is_postgres = url.get_backend_name() == "postgresql"
    engine = _postgres_engine(url, patience, reach) if is_postgres else _sqlite_engine(url, patience)
    if patience.fails_fast:
        engine.update_execution_options(**{_BREAKER_OPTION: Breaker(lambda: _probe(engine), is_away)})
    return engine


def close_engine(engine: Engine) -> None:
    """Release its connections."""
    breaker = _breaker(engine)
    if breaker is not None:
        breaker.close()
    _let_go(engine)


def _let_go(engine: Engine) -> None:
    """Close the connections that nobody uses now."""
    at_hand = _at_hand(engine)
    if at_hand is not None:
        at_hand.close()
    engine.dispose()


def _at_hand(engine: Engine) -> AtHand | None:
    at_hand: AtHand | None = engine.get_execution_options().get(_AT_HAND_OPTION)
    return at_hand


def _breaker(engine: Engine) -> Breaker | None:
    breaker: Breaker | None = engine.get_execution_options().get(_BREAKER_OPTION)
    return breaker


def _probe(engine: Engine) -> None:
    """Ask the ledger what a trader would ask: a transaction. Connections that failed once are not trusted any more."""
    _let_go(engine)
    with _translated(engine), _transaction(engine, durable=False) as connection:
        connection.exec_driver_sql("SELECT 1")


def label(engine: Engine) -> str:
    """The ledger's address for messages, its password masked."""
    return engine.url.set(drivername=engine.url.get_backend_name()).render_as_string(hide_password=True)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection that only reads: each statement sees what is committed by then. Raises `LedgerUnavailable`."""
    with _errors(engine):
        at_hand = _at_hand(engine)
        if at_hand is not None:
            with Reading(at_hand) as direct:
                yield direct
        else:
            with engine.connect() as connection, _without_transaction(connection):
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
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield connection
        else:
            with connection.begin():
                connection.exec_driver_sql("BEGIN")
                yield connection


@contextmanager
def writing(engine: Engine, *, durable: bool = True) -> Iterator[Connection]:
    """A transaction that commits at the end of the block, or leaves nothing. Raises `LedgerUnavailable`.

    Where it is not `durable`, the database need not wait for its disk: a host that crashes may lose the newest such commits,
    but never one that a later durable commit follows. For what is fetched, written or found out again after a crash.
    """
    with _errors(engine), _transaction(engine, durable=durable) as connection:
        yield connection


def _transaction(engine: Engine, *, durable: bool) -> AbstractContextManager[Connection]:
    at_hand = _at_hand(engine)
    return _postgres_transaction(engine, durable) if at_hand is None else Writing(at_hand, "FULL" if durable else "NORMAL")


@contextmanager
def _postgres_transaction(engine: Engine, durable: bool) -> Iterator[Connection]:
    with engine.connect() as connection, connection.begin():  # of which the server hears with the first statement
        driver: Any = connection.connection.dbapi_connection
        driver.is_relaxed = not durable
        yield connection


def _errors(engine: Engine) -> AbstractContextManager[None]:
    breaker = _breaker(engine)
    return _translated(engine) if breaker is None else _through(breaker, engine)


@contextmanager
def _through(breaker: Breaker, engine: Engine) -> Iterator[None]:
    with breaker.passing(), _translated(engine):
        yield


def _translated(engine: Engine) -> AbstractContextManager[None]:
    # What a connection's first statements raise does not pass through SQLAlchemy: the driver's own class is caught too.
    return translated(lambda: label(engine), engine.dialect.loaded_dbapi.Error)


def _sqlite_engine(url: URL, patience: Patience) -> Engine:
    if url.database and url.database != ":memory:" and not url.query:
        folder = Path(url.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerUnavailable(
                f"cannot make the ledger's folder {folder}: {error.strerror}; choose another ledger.url"
            ) from None
    engine = create_engine(url, json_serializer=dump_json, connect_args={"timeout": patience.statement_s})
    event.listen(engine, "connect", partial(_prepare_sqlite, patience))
    engine.update_execution_options(**{_AT_HAND_OPTION: AtHand(engine)})
    return engine


def _prepare_sqlite(patience: Patience, connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # the driver's own BEGIN is deferred: `_transaction` chooses
    connection.create_aggregate(EXACT_SUM, 1, ExactSum)
    connection.execute("PRAGMA foreign_keys=ON").close()
    # Turning WAL on needs the file for itself and does not wait for it, unlike every other lock.
    deadline = time.monotonic() + patience.statement_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_WAL_RETRY_S)
        else:
            return


def _postgres_engine(url: URL, patience: Patience, reach: Callable[[], Any] | None) -> Engine:
    size: dict[str, int] = {} if patience.connections is None else {"pool_size": patience.connections, "max_overflow": 0}
    engine = create_engine(
        url,
        json_serializer=dump_json,
        pool_pre_ping=True,
        pool_timeout=patience.answer_s,
        connect_args={"timeout": patience.answer_s, postgres.REACH: reach},
        **size,
    )
    event.listen(engine, "connect", partial(_prepare_postgres, patience))
    return engine


def _prepare_postgres(patience: Patience, connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(f"SET statement_timeout = {round(1000 * patience.statement_s)}")
    if patience.fails_fast:  # a backup may well think for longer between two statements
        cursor.execute(f"SET idle_in_transaction_session_timeout = {1000 * IDLE_IN_TRANSACTION_S}")
    cursor.close()
    connection.commit()
