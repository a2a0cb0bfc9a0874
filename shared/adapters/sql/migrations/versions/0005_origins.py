"""Where a position came from is found at once: an index of the decisions that set a protective stop."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_SETS_STOP = sa.text("stop_price IS NOT NULL")


def upgrade() -> None:
    """From a ledger that is searched for the origin of a position to one that knows it."""
    op.create_index(
        "ix_decisions_with_stop",
        "decisions",
        ["book", "symbol", "bar_close_ms"],
        sqlite_where=_SETS_STOP,
        postgresql_where=_SETS_STOP,
    )
