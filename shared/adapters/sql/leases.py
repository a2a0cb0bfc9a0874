"""The lease: one writer per book, with a fencing token that every write checks.

The token grows with each change of holder, so whoever lost the lease without noticing (a pause, a cut network) is found
out inside his own transaction. Source: design/architecture.md § 6.
"""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from shared.adapters.sql.models import LeaseRow
from shared.adapters.sql.statements import insert_missing
from shared.domain.errors import LeaseLost
from shared.domain.records import Lease


def acquire(connection: Connection, book: str, holder: str, ttl_ms: int, now_ms: int) -> Lease | None:
    """Take or renew; `None` while another holder's lease is valid."""
    expires_ms = now_ms + ttl_ms
    if insert_missing(connection, LeaseRow, {"book": book, "holder": holder, "token": 1, "expires_ms": expires_ms}):
        return Lease(book, holder, 1, expires_ms)
    row = connection.execute(
        select(LeaseRow.holder, LeaseRow.token, LeaseRow.expires_ms).where(LeaseRow.book == book).with_for_update()
    ).one()
    if row.holder != holder and row.expires_ms > now_ms:
        return None
    token = row.token if row.holder == holder else row.token + 1
    connection.execute(update(LeaseRow).where(LeaseRow.book == book).values(holder=holder, token=token, expires_ms=expires_ms))
    return Lease(book, holder, token, expires_ms)


def release(connection: Connection, lease: Lease) -> None:
    """Give it up: the row keeps its token and has no holder, so the released lease writes nothing more."""
    connection.execute(
        update(LeaseRow)
        .where(LeaseRow.book == lease.book, LeaseRow.holder == lease.holder, LeaseRow.token == lease.token)
        .values(holder="", expires_ms=0)
    )


def check(connection: Connection, lease: Lease) -> None:
    """Hold the lease's row to the end of the transaction, or raise `LeaseLost`."""
    row = connection.execute(
        select(LeaseRow.holder, LeaseRow.token).where(LeaseRow.book == lease.book).with_for_update(read=True)
    ).one_or_none()
    if row is None or (row.holder, row.token) != (lease.holder, lease.token):
        now = f"{row.holder or 'nobody'} with token {row.token}" if row else "nobody"
        raise LeaseLost(
            f"book {lease.book}: {lease.holder} has token {lease.token}, but the lease is held by {now}; "
            "this process must stop writing"
        )
