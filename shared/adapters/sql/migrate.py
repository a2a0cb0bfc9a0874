"""The schema's migrations, run from code: from nothing or any older revision to the newest, in one transaction.

Idempotent, and safe when several processes start at once: SQLite's write lock or a PostgreSQL advisory lock lets one of
them migrate while the others wait and then find nothing to do. Alembic is imported only where there is something to do.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from shared.adapters.sql import live_models, models, research_models  # noqa: F401  (importing them registers their tables)
from shared.adapters.sql.base import Base
from shared.adapters.sql.engine import label, reading, writing
from shared.domain.errors import LedgerError, LedgerUnavailable

METADATA = Base.metadata
"""Every table that the migrations make."""

HEAD = "0007"
"""The newest revision in `migrations/versions/`.

Its first digit counts the series. Within one, a migration only adds: the programs before it go on working while a release is
on its way, which may take days. A migration with which they could not begins the next series (1001).
"""

KNOWN_REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")

_VERSION_TABLE = "alembic_version"
_ADVISORY_LOCK = 0x6F73_745F_6D69  # "ost_mi", any number that nobody else uses


def revision(connection: Connection) -> str | None:
    """The schema's revision, `None` for an empty database."""
    if not inspect(connection).has_table(_VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalar_one_or_none()  # noqa: S608


def schema_revision(engine: Engine) -> str | None:
    """The revision of the ledger behind `engine`. Raises `LedgerUnavailable`."""
    with reading(engine) as connection:
        return revision(connection)


def migrate(engine: Engine) -> bool:
    """Bring the schema to `HEAD`; says whether anything was done.

    Raises `LedgerUnavailable` where the database cannot be used, or its schema is older and this process cannot change it;
    `LedgerError` for a schema of a later series than this program knows.
    """
    if _is_current(schema_revision(engine), engine):
        return False
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        if _is_current(revision(connection), engine):
            return False
        _upgrade(connection)
    return True


def serves(found: str | None) -> bool:
    """Whether this program works on a schema: on its own, and on a later one of the same series."""
    return found is not None and found[0] == HEAD[0] and found >= HEAD


def _is_current(found: str | None, engine: Engine) -> bool:
    if serves(found):
        return True
    if found is not None and found not in KNOWN_REVISIONS:
        raise LedgerError(
            f"the ledger {label(engine)} has schema {found}, this program knows none newer than {HEAD}; update the program"
        )
    return False


def _upgrade(connection: Connection) -> None:
    if find_spec("alembic") is None or not (Path(__file__).parent / "migrations").is_dir():  # a function: it is done elsewhere
        raise LedgerUnavailable(
            f"the ledger {label(connection.engine)} has schema {revision(connection)}, expected {HEAD}; run `ost db migrate`"
        )
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "shared.adapters.sql:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
