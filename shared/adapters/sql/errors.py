"""What a database error means for trading: is the ledger away, or did it refuse?

SQLite names its errors (`sqlite_errorname`). PostgreSQL has SQLSTATE codes, which pg8000 keeps in `args[0]["C"]`; its
exception classes follow no rule (a lost connection is an InterfaceError, a lock timeout a ProgrammingError), and a socket
timeout is the builtin TimeoutError. So the code decides and never the class.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.domain.errors import LedgerError, LedgerUnavailable, OstError

_SQLITE_ADVICE = {
    "SQLITE_BUSY": "another process holds its write lock; stop the other process or try again",
    "SQLITE_LOCKED": "another connection holds its write lock; stop the other process or try again",
    "SQLITE_FULL": "the disk is full; free some space",
    "SQLITE_IOERR": "the disk does not answer; check the disk and its free space",
    "SQLITE_READONLY": "it is read-only; check the permissions of the file and its folder",
    "SQLITE_CANTOPEN": "the file cannot be opened; check that the folder exists and is writable",
    "SQLITE_PERM": "the file cannot be opened; check its permissions",
    "SQLITE_CORRUPT": "the file is damaged; restore a backup with `ost db restore`",
    "SQLITE_NOTADB": "the file is no SQLite database; check ledger.url",
    "SQLITE_ERROR": "its schema does not fit; run `ost db migrate`",
}

_SQLSTATE_ADVICE = {
    "28": "the server refuses the user or the password; check ledger.url",
    "3D": "the database does not exist; create it or check ledger.url",
    "42P01": "its schema is missing; run `ost db migrate`",
    "42703": "its schema is old; run `ost db migrate`",
    "42501": "the user lacks rights on the tables; grant them",
    "40001": "a concurrent transaction was in the way; try again",
    "40P01": "a concurrent transaction was in the way; try again",
    "55P03": "another transaction holds a lock; try again",
    "57014": "the statement took too long; look at the server's load",
    "57P": "the server is shutting down or starting; try again when it is up",
    "53100": "the server's disk is full; free some space",
    "53": "the server is out of resources; look at its connections, memory and disk",
    "08": "the connection is lost; check that the server is up and reachable",
    "25006": "the server is read-only (a standby?); check ledger.url",
    "25P03": "the transaction was left open too long; try again",
    "58": "the server cannot read or write its files; look at its disk",
}

_CONSTRAINT_CLASS = "23"

_AWAY_STATES = ("08", "25P03", "57", "58")
"""Lost, shutting down or starting, too slow, or its disk does not answer.

One that is out of resources says so at once, and may well read on."""
_AWAY_SQLITE = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR")


def sqlstate(error: Exception) -> str | None:
    """The five-character SQLSTATE of a PostgreSQL error; `None` where there is none (SQLite, lost connections)."""
    arguments = getattr(_original(error), "args", ())
    code = arguments[0].get("C") if arguments and isinstance(arguments[0], dict) else None
    return code if isinstance(code, str) else None


def is_away(error: LedgerUnavailable) -> bool:
    """Whether the ledger did not answer, or not in time; not where it answered that it cannot do what it was asked."""
    cause = error.__cause__
    if not isinstance(cause, Exception):
        return False
    code, name = sqlstate(cause), getattr(_original(cause), "sqlite_errorname", None)
    if code is not None:
        return code.startswith(_AWAY_STATES)
    return name is None or name.startswith(_AWAY_SQLITE)


def translate(error: Exception, label: str) -> Exception:
    """The project's error for a database error; `label` names the ledger without its password."""
    if isinstance(error, IntegrityError):
        return LedgerError(f"the ledger {label} refuses a row that breaks its rules: {_detail(error)}")
    if isinstance(error, PoolTimeout | TimeoutError):
        return LedgerUnavailable(f"the ledger {label} does not answer in time; check that the server is up and reachable")
    code = sqlstate(error)
    is_constraint = getattr(error, "sqlite_errorname", "").startswith("SQLITE_CONSTRAINT")
    if is_constraint or (code is not None and code.startswith(_CONSTRAINT_CLASS)):
        return LedgerError(f"the ledger {label} refuses a row that breaks its rules: {_detail(error)}")
    advice = _advice(error, code)
    if advice is None:
        return LedgerError(f"the ledger {label} refuses a statement: {_detail(error)}")
    return LedgerUnavailable(f"the ledger {label} cannot be used ({_detail(error)}): {advice}")


def translated(label: Callable[[], str], driver_error: type[Exception]) -> AbstractContextManager[None]:
    """Turn every database error of the block into the project's errors; `driver_error` is the driver's base class."""
    return _Translation(label, driver_error)


class _Translation(AbstractContextManager[None]):
    def __init__(self, label: Callable[[], str], driver_error: type[Exception]) -> None:
        self._label = label
        self._driver_error = driver_error

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            return
        if isinstance(error, DBAPIError | self._driver_error | PoolTimeout | TimeoutError | ConnectionError):
            raise translate(error, self._label()) from error
        # A value that a column type refused: its own error says it better.
        if isinstance(error, StatementError) and isinstance(error.orig, OstError | TypeError):
            raise error.orig from error


def _original(error: Exception) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error


def _advice(error: Exception, code: str | None) -> str | None:
    if code is not None:
        matches = [prefix for prefix in _SQLSTATE_ADVICE if code.startswith(prefix)]
        return _SQLSTATE_ADVICE[max(matches, key=len)] if matches else None
    name = getattr(_original(error), "sqlite_errorname", None)
    if name is None:
        # pg8000 reports a connection that is refused or lost without a code; sqlite3 a closed file likewise.
        return "the connection is refused or lost; check that the server is up and reachable"
    return next((advice for prefix, advice in _SQLITE_ADVICE.items() if name.startswith(prefix)), None)


def _detail(error: Exception) -> str:
    """The database's own words in one line, without the statement and its values."""
    arguments = getattr(_original(error), "args", ())
    if arguments and isinstance(arguments[0], dict):
        fields = arguments[0]
        return f"{fields.get('M', 'no message')} [{fields.get('C')}]"
    return " ".join(str(_original(error)).split())
