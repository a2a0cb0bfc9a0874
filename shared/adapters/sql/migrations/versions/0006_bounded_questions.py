"""A trader is told what it needs, however old its book is: the record of returns, the sums at a flat symbol, and indices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """From a ledger of which a trader reads the whole history to one that answers with the newest rows."""
    op.add_column("equity", sa.Column("return_bars", sa.BigInteger(), nullable=True))
    op.add_column("equity", sa.Column("return_mean", sa.Double(), nullable=True))
    op.add_column("equity", sa.Column("return_spread", sa.Double(), nullable=True))
    for name in ("realised_after", "fees_after"):
        op.add_column("trades", sa.Column(name, sa.Numeric().with_variant(sa.String(), "sqlite"), nullable=True))
    op.create_index("ix_fills_book_time_ms", "fills", ["book", "time_ms"])
    op.create_index("ix_order_intents_book_symbol_created_ms", "order_intents", ["book", "symbol", "created_ms"])
    op.drop_index("ix_order_intents_book_created_ms", "order_intents")
