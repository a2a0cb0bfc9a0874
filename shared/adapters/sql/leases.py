"""The lease: one writer per book, with a fencing token that every write checks.

The token grows with each change of holder, so whoever lost the lease without noticing (a pause, a cut network) is found
out inside his own transaction. Whether a lease has run out is judged by one clock: PostgreSQL's own, for its processes may
live on hosts whose clocks differ; with SQLite all live on one host, whose clock the callers give. The expiry that a holder is
told is on its own clock, counted from before it asked: never later than the one that counts.
Source: design/architecture.md § 6.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, case, cast, func, literal, or_, select, update
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

from shared.adapters.sql.models import LeaseRow
from shared.adapters.sql.statements import insert_into, kept, table, unread
from shared.domain.errors import LeaseLost
from shared.domain.records import Lease

LEASES = table(LeaseRow)
_RELEASE = unread(
    update(LEASES)
    .where(
        LEASES.c.book == bindparam("key"),
        LEASES.c.holder == bindparam("holder_now"),
        LEASES.c.token == bindparam("token_now"),
    )
    .values(holder="", expires_ms=0)
)
_HELD = kept(select(LEASES.c.holder, LEASES.c.token).where(LEASES.c.book == bindparam("key")).with_for_update(read=True))


def acquire(connection: Connection, book: str, holder: str, ttl_ms: int, now_ms: int) -> Lease | None:
    """Take or renew; `None` while another holder's lease is valid."""
    row = {"key": book, "holder_now": holder, "ttl_ms": ttl_ms, "now_ms": now_ms}
    taken = connection.execute(_acquiring(connection.dialect.name), row).one_or_none()
    return None if taken is None else Lease(book, holder, taken.token, now_ms + ttl_ms)


def renew(connection: Connection, lease: Lease, ttl_ms: int, now_ms: int) -> Lease | None:
    """Renew a lease that is still ours; one that was given up or taken over, by whomever, is not taken again."""
    row = {"key": lease.book, "holder_now": lease.holder, "token_now": lease.token, "ttl_ms": ttl_ms, "now_ms": now_ms}
    renewed = connection.execute(_renewing(connection.dialect.name), row).one_or_none()
    return None if renewed is None else replace(lease, expires_ms=now_ms + ttl_ms)


def release(connection: Connection, lease: Lease) -> None:
    """Give it up: the row keeps its token and has no holder, so the released lease writes nothing more."""
    connection.execute(_RELEASE, {"key": lease.book, "holder_now": lease.holder, "token_now": lease.token})


@cache
def _acquiring(dialect: str) -> ReturningInsert[tuple[int]]:
    """One statement, so that no other process comes in between: a row is returned where the lease is ours now."""
    now_ms = _now_ms(dialect)
    expires_ms = now_ms + bindparam("ttl_ms", type_=BigInteger)
    values = {"book": bindparam("key"), "holder": bindparam("holder_now"), "token": literal(1), "expires_ms": expires_ms}
    statement = insert_into(dialect, LeaseRow).values(values)
    given, is_ours = statement.excluded, LEASES.c.holder == statement.excluded.holder
    taking = statement.on_conflict_do_update(
        index_elements=["book"],
        set_={
            "holder": given.holder,
            "token": case((is_ours, LEASES.c.token), else_=LEASES.c.token + 1),
            "expires_ms": given.expires_ms,
        },
        where=or_(is_ours, LEASES.c.expires_ms <= now_ms),
    )
    return kept(taking.returning(LEASES.c.token))


@cache
def _renewing(dialect: str) -> ReturningUpdate[tuple[int]]:
    is_ours = (
        LEASES.c.book == bindparam("key"),
        LEASES.c.holder == bindparam("holder_now"),
        LEASES.c.token == bindparam("token_now"),
    )
    expires_ms = _now_ms(dialect) + bindparam("ttl_ms", type_=BigInteger)
    return update(LEASES).where(*is_ours).values(expires_ms=expires_ms).returning(LEASES.c.token)


def _now_ms(dialect: str) -> Any:
    """The one clock that says whether a lease has run out."""
    if dialect == "postgresql":
        return cast(func.extract("epoch", func.now()) * 1000, BigInteger)
    return bindparam("now_ms", type_=BigInteger)


def check(connection: Connection, lease: Lease) -> None:
    """Hold the lease's row to the end of the transaction, or raise `LeaseLost`."""
    row = connection.execute(_HELD, {"key": lease.book}).one_or_none()
    if row is None or (row.holder, row.token) != (lease.holder, lease.token):
        now = f"{row.holder or 'nobody'} with token {row.token}" if row else "nobody"
        raise LeaseLost(
            f"book {lease.book}: {lease.holder} has token {lease.token}, but the lease is held by {now}; "
            "this process must stop writing"
        )
