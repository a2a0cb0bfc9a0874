"""The schema's migrations, run from code: from nothing or any older revision to the newest, in one transaction.

Idempotent, and safe when several processes start at once: SQLite's write lock or a PostgreSQL advisory lock lets one of
them migrate while the others wait and then find nothing to do. Alembic is imported only where there is something to do.

While a release goes on, programs of two ages share one schema, so a migration only adds: tables, indexes, and columns that are
nullable or have a default. Its name says for whom: `0009_for_0007` is the schema 0009, for every program from 0007 on.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from shared.adapters.sql import live_models, models, research_models  # noqa: F401  (importing them registers their tables)
from shared.adapters.sql.base import Base
from shared.adapters.sql.engine import label, reading, writing
from shared.domain.errors import LedgerUnavailable

METADATA = Base.metadata
"""Every table that the migrations make."""

HEAD = "0007"
"""The newest revision in `migrations/versions/`."""

KNOWN_REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")

_NUMBER = slice(4)
"""of a revision's name"""
_FOR_OLDER = re.compile(r"\d{4}_for_(\d{4})")
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


def is_usable(found: str | None) -> bool:
    """Whether this program can work on the schema `found`: its own, or a newer one that was made for its like as well."""
    if found is None or found in KNOWN_REVISIONS:
        return found == HEAD
    newer = _FOR_OLDER.fullmatch(found)
    return newer is not None and newer[1] <= HEAD[_NUMBER]


def migrate(engine: Engine) -> bool:
    """Bring the schema to `HEAD`, unless it is a newer one that this program can use; says whether anything was done.

    Raises `LedgerUnavailable` where the database cannot be used, its schema is older and this process cannot change it, or
    newer and not for this program: a release is on its way, and the same question is answered after it.
    """
    if _is_ready(schema_revision(engine), engine):
        return False
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        if _is_ready(revision(connection), engine):
            return False
        _upgrade(connection)
    return True


def _is_ready(found: str | None, engine: Engine) -> bool:
    if found is None or found in KNOWN_REVISIONS or is_usable(found):
        return is_usable(found)
    raise LedgerUnavailable(
        f"the ledger {label(engine)} has schema {found}, which this program, of schema {HEAD}, cannot use; update the program"
    )


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
