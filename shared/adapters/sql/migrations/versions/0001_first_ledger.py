"""The first ledger: every table of issue 2, those of later loops included.

Column kinds are spelled out here and not taken from the models: a published revision never changes with the code.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None


def upgrade() -> None:
    """From nothing to the first ledger."""
    _create_books_and_decisions()
    _create_orders()
    _create_fills_and_what_follows()
    _create_money()
    _create_regimes_and_halts()
    _create_journal()
    _create_champions()
    _create_research()


def _text(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _integer(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _double(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Double(), nullable=nullable)


def _boolean(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean(), nullable=nullable)


def _amount(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    """Exact decimals: text on SQLite."""
    return sa.Column(name, sa.Numeric().with_variant(sa.String(), "sqlite"), nullable=nullable)


def _json(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON().with_variant(JSONB(), "postgresql"), nullable=nullable)


def _create_books_and_decisions() -> None:
    op.create_table(
        "books",
        _text("book"),
        _integer("created_ms"),
        _json("settings"),
        _integer("finished_ms", nullable=True),
        _json("summary", nullable=True),
        sa.PrimaryKeyConstraint("book", name="pk_books"),
    )
    op.create_table(
        "leases",
        _text("book"),
        _text("holder"),
        _integer("token"),
        _integer("expires_ms"),
        sa.PrimaryKeyConstraint("book", name="pk_leases"),
    )
    op.create_table(
        "decisions",
        _text("id"),
        _text("book"),
        _text("venue"),
        _text("symbol"),
        _text("interval"),
        _integer("bar_close_ms"),
        _text("params_version"),
        _text("code_version"),
        _text("data_hash"),
        _integer("window_start_ms"),
        _text("regime_model_id"),
        _double("calm"),
        _double("balanced"),
        _double("stress"),
        _text("regime"),
        _json("alphas"),
        _json("votes"),
        _double("score"),
        _double("price"),
        _double("target_fraction"),
        _double("approved_fraction"),
        _text("action"),
        _double("stop_price", nullable=True),
        _json("features"),
        _json("reasons"),
        _json("approvals"),
        _json("order_ids"),
        _integer("lease_token"),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
    )
    op.create_index("ix_decisions_book_bar_close_ms", "decisions", ["book", "bar_close_ms"])
    op.create_index("ix_decisions_book_symbol_bar_close_ms", "decisions", ["book", "symbol", "bar_close_ms"])


def _create_orders() -> None:
    op.create_table(
        "order_intents",
        _text("client_id"),
        _text("book"),
        _text("decision_id"),
        _integer("position"),
        _text("leg"),
        _text("symbol"),
        _text("side"),
        _text("kind"),
        _amount("quantity"),
        _integer("created_ms"),
        _amount("price", nullable=True),
        _amount("stop_price", nullable=True),
        _boolean("reduce_only"),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.id"], name="fk_order_intents_decision_id"),
        sa.PrimaryKeyConstraint("client_id", name="pk_order_intents"),
    )
    op.create_index("ix_order_intents_book_created_ms", "order_intents", ["book", "created_ms"])
    op.create_index("ix_order_intents_decision_id", "order_intents", ["decision_id"])
    op.create_table(
        "orders",
        _text("client_id"),
        _text("book"),
        _text("state"),
        _amount("filled"),
        _text("venue_id", nullable=True),
        _amount("average_price", nullable=True),
        _integer("updated_ms"),
        _text("reason"),
        _text("fill_client_id", nullable=True),
        sa.ForeignKeyConstraint(["client_id"], ["order_intents.client_id"], name="fk_orders_client_id"),
        sa.PrimaryKeyConstraint("client_id", name="pk_orders"),
    )
    op.create_index("ix_orders_fill_client_id", "orders", ["fill_client_id"])
    op.create_index(
        "ix_orders_unfinished",
        "orders",
        ["book"],
        sqlite_where=sa.text("state IN ('intent', 'unknown', 'open')"),
        postgresql_where=sa.text("state IN ('intent', 'unknown', 'open')"),
    )


def _create_fills_and_what_follows() -> None:
    op.create_table(
        "fills",
        _text("book"),
        _text("symbol"),
        _text("trade_id"),
        _text("client_id", nullable=True),
        _text("venue_order_id"),
        _text("side"),
        _amount("quantity"),
        _amount("price"),
        _amount("fee"),
        _integer("time_ms"),
        _boolean("maker"),
        sa.PrimaryKeyConstraint("book", "symbol", "trade_id", name="pk_fills"),
    )
    op.create_index("ix_fills_book_client_id", "fills", ["book", "client_id"])
    op.create_index("ix_fills_book_symbol_time_ms", "fills", ["book", "symbol", "time_ms"])
    op.create_table(
        "positions",
        _text("book"),
        _text("symbol"),
        _amount("quantity"),
        _amount("entry_price"),
        _amount("realised"),
        _amount("fees"),
        _integer("last_time_ms"),
        _text("last_trade_id"),
        sa.PrimaryKeyConstraint("book", "symbol", name="pk_positions"),
    )
    op.create_table(
        "trades",
        _text("id"),
        _text("book"),
        _text("symbol"),
        _text("side"),
        _amount("quantity"),
        _amount("entry_quantity"),
        _amount("entry_notional"),
        _amount("exit_quantity"),
        _amount("exit_notional"),
        _amount("fees"),
        _integer("opened_ms"),
        _integer("closed_ms", nullable=True),
        _text("open_client_id", nullable=True),
        _text("close_client_id", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_trades"),
    )
    op.create_index("ix_trades_book_symbol_closed_ms", "trades", ["book", "symbol", "closed_ms"])


def _create_money() -> None:
    op.create_table(
        "equity",
        _text("book"),
        _integer("time_ms"),
        _amount("equity"),
        _amount("wallet"),
        _amount("peak"),
        _amount("exposure"),
        sa.PrimaryKeyConstraint("book", "time_ms", name="pk_equity"),
    )
    op.create_table(
        "funding",
        _text("book"),
        _text("id"),
        _text("symbol"),
        _amount("amount"),
        _integer("time_ms"),
        sa.PrimaryKeyConstraint("book", "id", name="pk_funding"),
    )
    op.create_index("ix_funding_book_time_ms", "funding", ["book", "time_ms"])


def _create_regimes_and_halts() -> None:
    op.create_table(
        "regime_states",
        _text("book"),
        _text("venue"),
        _text("symbol"),
        _integer("bar_close_ms"),
        _double("calm"),
        _double("balanced"),
        _double("stress"),
        _text("regime"),
        _text("model_id"),
        _double("ema_calm"),
        _double("ema_balanced"),
        _double("ema_stress"),
        _integer("observations"),
        _integer("stress_bars"),
        sa.PrimaryKeyConstraint("book", "venue", "symbol", "bar_close_ms", name="pk_regime_states"),
    )
    op.create_table(
        "halts",
        _text("book"),
        _text("symbol"),
        _text("reason"),
        _integer("since_ms"),
        _integer("until_ms", nullable=True),
        _integer("lifted_ms", nullable=True),
        _text("lifted_by", nullable=True),
        _text("lifted_reason", nullable=True),
        sa.PrimaryKeyConstraint("book", "symbol", "reason", "since_ms", name="pk_halts"),
    )


def _create_journal() -> None:
    op.create_table(
        "agent_log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        _text("book"),
        _integer("time_ms"),
        _text("source"),
        _text("level"),
        _text("message"),
        _json("context", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_agent_log"),
    )
    op.create_index("ix_agent_log_book_id", "agent_log", ["book", "id"])
    op.create_table(
        "data_quality",
        _text("venue"),
        _text("symbol"),
        _text("interval"),
        _integer("time_ms"),
        _json("report"),
        sa.PrimaryKeyConstraint("venue", "symbol", "interval", "time_ms", name="pk_data_quality"),
    )
    op.create_table(
        "inbox",
        _text("consumer"),
        _text("event_id"),
        _integer("received_ms"),
        sa.PrimaryKeyConstraint("consumer", "event_id", name="pk_inbox"),
    )


def _create_champions() -> None:
    op.create_table(
        "recalibration_events",
        _text("id"),
        _text("venue"),
        _text("symbol"),
        _integer("created_ms"),
        _text("trigger"),
        _json("measured"),
        _json("regime"),
        _text("status"),
        _integer("finished_ms", nullable=True),
        _json("outcome", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_recalibration_events"),
    )
    op.create_index(
        "ix_recalibration_events_venue_symbol_created_ms", "recalibration_events", ["venue", "symbol", "created_ms"]
    )
    op.create_table(
        "strategy_champions",
        _text("id"),
        _text("venue"),
        _text("symbol"),
        _text("interval"),
        _text("params_version"),
        _json("params"),
        _json("baseline"),
        _text("recalibration_id", nullable=True),
        _boolean("active"),
        _integer("created_ms"),
        _integer("activated_ms", nullable=True),
        _integer("deactivated_ms", nullable=True),
        sa.ForeignKeyConstraint(
            ["recalibration_id"], ["recalibration_events.id"], name="fk_strategy_champions_recalibration_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_strategy_champions"),
    )
    op.create_index(
        "uq_strategy_champions_active",
        "strategy_champions",
        ["venue", "symbol"],
        unique=True,
        sqlite_where=sa.text("active"),
        postgresql_where=sa.text("active"),
    )


def _create_research() -> None:
    op.create_table(
        "backtest_runs",
        _text("id"),
        _text("venue"),
        _text("symbol"),
        _text("interval"),
        _text("params_version"),
        _json("params"),
        _text("code_version"),
        _text("data_hash"),
        _integer("start_ms"),
        _integer("end_ms"),
        _json("metrics"),
        _text("recalibration_id", nullable=True),
        _integer("created_ms"),
        sa.ForeignKeyConstraint(["recalibration_id"], ["recalibration_events.id"], name="fk_backtest_runs_recalibration_id"),
        sa.PrimaryKeyConstraint("id", name="pk_backtest_runs"),
    )
    op.create_index("ix_backtest_runs_recalibration_id", "backtest_runs", ["recalibration_id"])
    op.create_index("ix_backtest_runs_venue_symbol_created_ms", "backtest_runs", ["venue", "symbol", "created_ms"])
    op.create_table(
        "patterns",
        _text("id"),
        _text("venue"),
        _text("symbol"),
        _text("interval"),
        _text("kind"),
        _integer("start_ms"),
        _integer("end_ms"),
        _double("strength"),
        _json("detail"),
        sa.PrimaryKeyConstraint("id", name="pk_patterns"),
    )
    op.create_index("ix_patterns_venue_symbol_end_ms", "patterns", ["venue", "symbol", "end_ms"])
