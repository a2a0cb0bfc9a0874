"""What the bus and the venue refuse: attempts at an event, events that are set aside, pauses of a venue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """From the first ledger of live trading to one that remembers refusals."""
    op.add_column("outbox", sa.Column("attempts", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("outbox", sa.Column("set_aside_ms", sa.BigInteger(), nullable=True))
    op.create_table(
        "venue_pauses",
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("venue", name=op.f("pk_venue_pauses")),
    )
