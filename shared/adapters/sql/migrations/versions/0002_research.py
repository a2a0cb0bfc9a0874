"""The memory of research: campaigns, their tasks, trials with their Sharpe ratio, and what a champion was promoted for.

Rows of 0001 are kept: a champion's `baseline` becomes its `metrics`, and what was not recorded then is an empty object. A trial
belongs to a campaign from now on instead of to a recalibration (nothing wrote that reference); a recalibration's outcome names
its campaign.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """From the first ledger to the one of research."""
    _create_campaigns()
    _extend_trials()
    _extend_champions()


def _text(name: str, *, nullable: bool = False, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=nullable, server_default=default)


def _integer(name: str, *, nullable: bool = False, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable, server_default=default)


def _json(name: str, *, nullable: bool = False, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON().with_variant(JSONB(), "postgresql"), nullable=nullable, server_default=default)


def _create_campaigns() -> None:
    op.create_table(
        "campaigns",
        _text("id"),
        _text("venue"),
        _text("symbol"),
        _text("interval"),
        _json("spec"),
        _json("regime"),
        _integer("created_ms"),
        _integer("finished_ms", nullable=True),
        _json("outcome", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_campaigns"),
    )
    op.create_index("ix_campaigns_venue_symbol_created_ms", "campaigns", ["venue", "symbol", "created_ms"])
    op.create_table(
        "campaign_tasks",
        _text("id"),
        _text("campaign_id"),
        _integer("position"),
        _json("result"),
        _text("artefact", nullable=True),
        _integer("created_ms"),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name="fk_campaign_tasks_campaign_id"),
        sa.PrimaryKeyConstraint("id", name="pk_campaign_tasks"),
    )
    op.create_index("ix_campaign_tasks_campaign_id_position", "campaign_tasks", ["campaign_id", "position"])


def _extend_trials() -> None:
    op.drop_index("ix_backtest_runs_recalibration_id", "backtest_runs")
    with op.batch_alter_table("backtest_runs") as batch:
        batch.drop_constraint("fk_backtest_runs_recalibration_id", type_="foreignkey")
        batch.drop_column("recalibration_id")
        batch.add_column(sa.Column("sharpe", sa.Double(), nullable=True))
        batch.add_column(_integer("days", default="0"))
        batch.add_column(_text("campaign_id", nullable=True))
        batch.create_foreign_key("fk_backtest_runs_campaign_id", "campaigns", ["campaign_id"], ["id"])
    op.create_index("ix_backtest_runs_campaign_id", "backtest_runs", ["campaign_id"])
    with op.batch_alter_table("backtest_runs") as batch:  # the default was for the rows that were there
        batch.alter_column("days", server_default=None, existing_type=sa.BigInteger(), existing_nullable=False)


def _extend_champions() -> None:
    objects = ("trained_on_regime", "statistical_test", "lineage")
    with op.batch_alter_table("strategy_champions") as batch:
        batch.alter_column("baseline", new_column_name="metrics")
        for name in objects:
            batch.add_column(_json(name, default="{}"))
        batch.add_column(_text("reason", default=""))
    with op.batch_alter_table("strategy_champions") as batch:
        for name in objects:
            batch.alter_column(name, server_default=None)
        batch.alter_column("reason", server_default=None)
