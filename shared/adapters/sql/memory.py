"""A ledger in memory: the real SQL adapter on an empty SQLite database, ready within a millisecond. For simulations.

The schema is migrated once for each process, and compiled statements are kept: every further ledger is the same database,
set back to a copy of its first bytes. So there is one at a time in each process, and one thread.
"""

from __future__ import annotations

from functools import cache

from shared.adapters.sql.ledger import SqlLedger, open_ledger


def memory_ledger() -> SqlLedger:
    """An empty ledger, its schema up to date. The one that was made before is not valid any more."""
    ledger, empty = _template()
    with ledger.engine.connect() as connection:
        connection.connection.driver_connection.deserialize(empty)  # type: ignore[union-attr]
    return ledger


@cache
def _template() -> tuple[SqlLedger, bytes]:
    """The ledger of this process and the bytes of its empty database."""
    ledger = open_ledger("sqlite:///:memory:")
    with ledger.engine.connect() as connection:
        content: bytes = connection.connection.driver_connection.serialize()  # type: ignore[union-attr]
    return ledger, content
