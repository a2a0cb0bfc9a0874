"""Live trading: the kind of a halt, orders that are sent later, outbox, arrivals, emergencies, heartbeats, forgotten peaks.

Halts of older ledgers get the kind that only their like had: those of a symbol were freezes, a book's halts with an end were
pauses, and its latches were the maximum drawdown. Orders of older ledgers were sent at once, decisions made at the close.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """From the ledger of research to the one of live trading."""
    _name_kinds_of_halts()
    # The default stays: SQLite could only drop it by making the table anew, and `orders` refers to it.
    op.add_column("order_intents", sa.Column("due_ms", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("decisions", sa.Column("decided_ms", sa.BigInteger(), nullable=False, server_default="0"))
    _create_outbox()
    _create_operations()


def _text(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _integer(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _amount(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    """Exact decimals: text on SQLite."""
    return sa.Column(name, sa.Numeric().with_variant(sa.String(), "sqlite"), nullable=nullable)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False)


def _name_kinds_of_halts() -> None:
    with op.batch_alter_table("halts") as batch:
        batch.add_column(sa.Column("kind", sa.Text(), nullable=False, server_default="frozen"))
    halts = sa.table("halts", sa.column("symbol"), sa.column("until_ms"), sa.column("kind"))
    of_the_book = halts.c.symbol == ""
    op.execute(halts.update().where(of_the_book, halts.c.until_ms.is_(None)).values(kind="drawdown"))
    op.execute(halts.update().where(of_the_book, halts.c.until_ms.is_not(None)).values(kind="pause"))
    with op.batch_alter_table("halts") as batch:  # the default was for the rows that were there
        batch.alter_column("kind", server_default=None, existing_type=sa.Text(), existing_nullable=False)


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        _text("id"),
        _text("kind"),
        _text("book"),
        _text("subject"),
        _integer("time_ms"),
        _json("data"),
        _integer("published_ms", nullable=True),
        sa.PrimaryKeyConstraint("position", name="pk_outbox"),
    )
    op.create_index("uq_outbox_id", "outbox", ["id"], unique=True)
    op.create_index(
        "ix_outbox_unpublished",
        "outbox",
        ["position"],
        sqlite_where=sa.text("published_ms IS NULL"),
        postgresql_where=sa.text("published_ms IS NULL"),
    )


def _create_operations() -> None:
    op.create_table(
        "arrivals",
        _text("client_id"),
        _text("book"),
        _text("symbol"),
        _amount("decision_price"),
        _amount("arrival_mid", nullable=True),
        _integer("sent_ms"),
        _integer("answered_ms", nullable=True),
        sa.PrimaryKeyConstraint("client_id", name="pk_arrivals"),
    )
    op.create_index("ix_arrivals_book_sent_ms", "arrivals", ["book", "sent_ms"])
    op.create_table(
        "emergencies",
        _text("id"),
        _text("book"),
        _text("kind"),
        _text("reason"),
        _integer("started_ms"),
        _integer("finished_ms", nullable=True),
        _amount("wallet", nullable=True),
        _amount("equity", nullable=True),
        _json("closed"),
        _json("steps"),
        sa.PrimaryKeyConstraint("id", name="pk_emergencies"),
    )
    op.create_index("ix_emergencies_book_started_ms", "emergencies", ["book", "started_ms"])
    op.create_table(
        "heartbeats",
        _text("book"),
        _text("role"),
        _text("holder"),
        _integer("time_ms"),
        _json("state"),
        sa.PrimaryKeyConstraint("book", "role", "holder", name="pk_heartbeats"),
    )
    op.create_table(
        "forgotten_peaks",
        _text("book"),
        _integer("forgotten_ms"),
        _integer("rebased_ms"),
        sa.PrimaryKeyConstraint("book", "forgotten_ms", name="pk_forgotten_peaks"),
    )
