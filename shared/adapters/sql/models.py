"""Tables that a trading process writes: books, leases, decisions, orders, fills, positions, money, regimes, halts, logs.

Every row belongs to a book (one account's history under one revision). Intents reference their decision and orders their
intent, so that an order without a reason cannot be stored. `positions` and `trades` are folds of `fills`
(`shared/adapters/sql/round_trips.py`) and could be rebuilt from them at any time.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.adapters.sql.base import Base, Counter, Key, KeyMs

UNFINISHED = text("state IN ('intent', 'unknown', 'open')")
"""Orders to which something may still happen. Literal, because only then a partial index answers it."""
SETS_STOP = text("stop_price IS NOT NULL")
"""Decisions that set a protective stop: few, for those that hold what is held set none. Literal, as above"""


class BookRow(Base):
    """A book, what it was started with and how it ended."""

    __tablename__ = "books"

    book: Mapped[Key]
    created_ms: Mapped[int]
    settings: Mapped[dict[str, Any]]
    finished_ms: Mapped[int | None]
    summary: Mapped[dict[str, Any] | None]


class LeaseRow(Base):
    """Who may write a book. The row stays when the lease is released: its token must go on growing."""

    __tablename__ = "leases"

    book: Mapped[Key]
    holder: Mapped[str]
    """empty after a release"""
    token: Mapped[int]
    expires_ms: Mapped[int]


class DecisionRow(Base):
    """One decision with its lineage (`shared/domain/decision.py`)."""

    __tablename__ = "decisions"
    __table_args__ = (
        Index(None, "book", "bar_close_ms"),
        Index(None, "book", "symbol", "bar_close_ms"),
        Index("ix_decisions_with_stop", "book", "symbol", "bar_close_ms", sqlite_where=SETS_STOP, postgresql_where=SETS_STOP),
    )

    id: Mapped[Key]
    book: Mapped[str]
    venue: Mapped[str]
    symbol: Mapped[str]
    interval: Mapped[str]
    bar_close_ms: Mapped[int]
    params_version: Mapped[str]
    code_version: Mapped[str]
    data_hash: Mapped[str]
    window_start_ms: Mapped[int]
    regime_model_id: Mapped[str]
    calm: Mapped[float]
    balanced: Mapped[float]
    stress: Mapped[float]
    regime: Mapped[str]
    alphas: Mapped[dict[str, Any]]
    votes: Mapped[list[Any]]
    score: Mapped[float]
    price: Mapped[float]
    target_fraction: Mapped[float]
    approved_fraction: Mapped[float]
    action: Mapped[str]
    stop_price: Mapped[float | None]
    features: Mapped[dict[str, Any]]
    reasons: Mapped[list[Any]]
    approvals: Mapped[list[Any]]
    order_ids: Mapped[list[Any]]
    decided_ms: Mapped[int] = mapped_column(server_default=text("0"))
    lease_token: Mapped[int]
    """token of the writer, so that a doubled writer could be found out afterwards"""


class IntentRow(Base):
    """What an order was meant to be, committed before it is sent."""

    __tablename__ = "order_intents"
    __table_args__ = (Index(None, "decision_id"), Index(None, "book", "symbol", "created_ms"))

    client_id: Mapped[Key]
    book: Mapped[str]
    decision_id: Mapped[str] = mapped_column(ForeignKey("decisions.id"))
    position: Mapped[int]
    """place among the intents of its decision, from 0"""
    leg: Mapped[str]
    symbol: Mapped[str]
    side: Mapped[str]
    kind: Mapped[str]
    quantity: Mapped[Decimal]
    created_ms: Mapped[int]
    price: Mapped[Decimal | None]
    stop_price: Mapped[Decimal | None]
    reduce_only: Mapped[bool]
    due_ms: Mapped[int] = mapped_column(server_default=text("0"))


class OrderRow(Base):
    """The furthest state of an order that was reported; one row per intent."""

    __tablename__ = "orders"
    __table_args__ = (
        Index(
            "ix_orders_unfinished",
            "book",
            sqlite_where=UNFINISHED,
            postgresql_where=UNFINISHED,
        ),
        Index(None, "fill_client_id"),
    )

    client_id: Mapped[Key] = mapped_column(ForeignKey("order_intents.client_id"))
    book: Mapped[str]
    state: Mapped[str]
    filled: Mapped[Decimal]
    venue_id: Mapped[str | None]
    average_price: Mapped[Decimal | None]
    updated_ms: Mapped[int]
    reason: Mapped[str]
    fill_client_id: Mapped[str | None]
    """client id under which the venue books the fills, where it is another one (a triggered stop)"""


class FillRow(Base):
    """One execution."""

    __tablename__ = "fills"
    __table_args__ = (
        Index(None, "book", "symbol", "time_ms"),
        Index(None, "book", "time_ms"),
        Index(None, "book", "client_id"),
    )

    book: Mapped[Key]
    symbol: Mapped[Key]
    trade_id: Mapped[Key]
    client_id: Mapped[str | None]
    venue_order_id: Mapped[str]
    side: Mapped[str]
    quantity: Mapped[Decimal]
    price: Mapped[Decimal]
    fee: Mapped[Decimal]
    time_ms: Mapped[int]
    maker: Mapped[bool]


class PositionRow(Base):
    """The fold of a symbol's fills, and which fill was the last one in it."""

    __tablename__ = "positions"

    book: Mapped[Key]
    symbol: Mapped[Key]
    quantity: Mapped[Decimal]
    entry_price: Mapped[Decimal]
    realised: Mapped[Decimal]
    fees: Mapped[Decimal]
    last_time_ms: Mapped[int]
    last_trade_id: Mapped[str]


class TradeRow(Base):
    """A round trip; `closed_ms` is null while it lasts."""

    __tablename__ = "trades"
    __table_args__ = (Index(None, "book", "symbol", "closed_ms"),)

    id: Mapped[Key]
    book: Mapped[str]
    symbol: Mapped[str]
    side: Mapped[str]
    quantity: Mapped[Decimal]
    """largest size held"""
    entry_quantity: Mapped[Decimal]
    entry_notional: Mapped[Decimal]
    exit_quantity: Mapped[Decimal]
    exit_notional: Mapped[Decimal]
    fees: Mapped[Decimal]
    opened_ms: Mapped[int]
    closed_ms: Mapped[int | None]
    open_client_id: Mapped[str | None]
    close_client_id: Mapped[str | None]
    realised_after: Mapped[Decimal | None]
    """realised profit of the symbol so far, where the trip has left it flat"""
    fees_after: Mapped[Decimal | None]


class EquityRow(Base):
    """The account at a bar close."""

    __tablename__ = "equity"

    book: Mapped[Key]
    time_ms: Mapped[KeyMs]
    equity: Mapped[Decimal]
    wallet: Mapped[Decimal]
    peak: Mapped[Decimal]
    exposure: Mapped[Decimal]
    return_bars: Mapped[int | None]
    return_mean: Mapped[float | None]
    return_spread: Mapped[float | None]


class FundingRow(Base):
    """A funding entry of the account."""

    __tablename__ = "funding"
    __table_args__ = (Index(None, "book", "time_ms"),)

    book: Mapped[Key]
    id: Mapped[Key]
    symbol: Mapped[str]
    amount: Mapped[Decimal]
    time_ms: Mapped[int]


class RegimeRow(Base):
    """The regime of an asset at a bar close."""

    __tablename__ = "regime_states"

    book: Mapped[Key]
    venue: Mapped[Key]
    symbol: Mapped[Key]
    bar_close_ms: Mapped[KeyMs]
    calm: Mapped[float]
    balanced: Mapped[float]
    stress: Mapped[float]
    regime: Mapped[str]
    model_id: Mapped[str]
    ema_calm: Mapped[float]
    ema_balanced: Mapped[float]
    ema_stress: Mapped[float]
    observations: Mapped[int]
    stress_bars: Mapped[int]


class HaltRow(Base):
    """A stop of trading, with who lifted it and why."""

    __tablename__ = "halts"

    book: Mapped[Key]
    symbol: Mapped[Key]
    """empty: the whole book"""
    reason: Mapped[Key]
    since_ms: Mapped[KeyMs]
    until_ms: Mapped[int | None]
    lifted_ms: Mapped[int | None]
    lifted_by: Mapped[str | None]
    lifted_reason: Mapped[str | None]
    kind: Mapped[str]


class LogRow(Base):
    """What a process did and why, for people."""

    __tablename__ = "agent_log"
    __table_args__ = (Index(None, "book", "id"),)

    id: Mapped[Counter]
    book: Mapped[str]
    time_ms: Mapped[int]
    source: Mapped[str]
    level: Mapped[str]
    message: Mapped[str]
    context: Mapped[dict[str, Any] | None]


class QualityRow(Base):
    """A data quality report of an asset and interval."""

    __tablename__ = "data_quality"

    venue: Mapped[Key]
    symbol: Mapped[Key]
    interval: Mapped[Key]
    time_ms: Mapped[KeyMs]
    report: Mapped[dict[str, Any]]
