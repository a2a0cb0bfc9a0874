"""The inbox of consumers says what each event was about and what became of it. Nobody wrote to it before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """From an inbox of bare ids to one of receipts."""
    with op.batch_alter_table("inbox") as batch:
        batch.add_column(sa.Column("subject", sa.Text(), nullable=False))
        batch.add_column(sa.Column("outcome", sa.Text(), nullable=False))
    op.create_index("ix_inbox_received_ms", "inbox", ["received_ms"])
