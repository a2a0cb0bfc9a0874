"""Tables of the slower loops: champions, recalibration, campaigns, trials, patterns, and the inbox of events.

Each table says who writes it. What belongs together by reason is tied by reference: a task and a trial to their campaign, a
champion to the recalibration that made it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.adapters.sql.base import Base, Key


class ChampionRow(Base):
    """Parameters that earned the right to trade an asset. Written by calibration: the new champion is activated and its
    predecessor deactivated in one transaction; the partial unique index allows one active champion per asset.
    """

    __tablename__ = "strategy_champions"
    __table_args__ = (
        Index(
            "uq_strategy_champions_active",
            "venue",
            "symbol",
            unique=True,
            sqlite_where=text("active"),
            postgresql_where=text("active"),
        ),
    )

    id: Mapped[Key]
    venue: Mapped[str]
    symbol: Mapped[str]
    interval: Mapped[str]
    params_version: Mapped[str]
    params: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]]
    """out of sample: the baseline that drift is measured from"""
    trained_on_regime: Mapped[dict[str, Any]]
    statistical_test: Mapped[dict[str, Any]]
    lineage: Mapped[dict[str, Any]]
    reason: Mapped[str]
    recalibration_id: Mapped[str | None] = mapped_column(ForeignKey("recalibration_events.id"))
    active: Mapped[bool]
    created_ms: Mapped[int]
    activated_ms: Mapped[int | None]
    deactivated_ms: Mapped[int | None]


class RecalibrationRow(Base):
    """A reason to tune an asset again and what came of it. Written by the monitor (trigger) and by the campaign (outcome)."""

    __tablename__ = "recalibration_events"
    __table_args__ = (Index(None, "venue", "symbol", "created_ms"),)

    id: Mapped[Key]
    venue: Mapped[str]
    symbol: Mapped[str]
    created_ms: Mapped[int]
    trigger: Mapped[str]
    measured: Mapped[dict[str, Any]]
    """the figures that fired the trigger"""
    regime: Mapped[dict[str, Any]]
    """regime probabilities at that moment"""
    status: Mapped[str]
    finished_ms: Mapped[int | None]
    outcome: Mapped[dict[str, Any] | None]


class CampaignRow(Base):
    """A walk-forward campaign on one asset. Written by calibration: before its first task, and once more with the verdict."""

    __tablename__ = "campaigns"
    __table_args__ = (Index(None, "venue", "symbol", "created_ms"),)

    id: Mapped[Key]
    venue: Mapped[str]
    symbol: Mapped[str]
    interval: Mapped[str]
    spec: Mapped[dict[str, Any]]
    regime: Mapped[dict[str, Any]]
    created_ms: Mapped[int]
    finished_ms: Mapped[int | None]
    outcome: Mapped[dict[str, Any] | None]


class TaskRow(Base):
    """A finished task of a campaign. Written by whichever process did it, so that no other does it again."""

    __tablename__ = "campaign_tasks"
    __table_args__ = (Index(None, "campaign_id", "position"),)

    id: Mapped[Key]
    campaign_id: Mapped[str] = mapped_column(ForeignKey("campaigns.id"))
    position: Mapped[int]
    result: Mapped[dict[str, Any]]
    artefact: Mapped[str | None]
    """object in the bucket that holds its arrays"""
    created_ms: Mapped[int]


class BacktestRow(Base):
    """One evaluated parameter variant. Written by `ost` backtests and by each task of a campaign; counting the rows of an
    asset gives the number of variants ever tried, which the significance test needs.
    """

    __tablename__ = "backtest_runs"
    __table_args__ = (Index(None, "venue", "symbol", "created_ms"), Index(None, "campaign_id"))

    id: Mapped[Key]
    venue: Mapped[str]
    symbol: Mapped[str]
    interval: Mapped[str]
    params_version: Mapped[str]
    params: Mapped[dict[str, Any]]
    code_version: Mapped[str]
    data_hash: Mapped[str]
    start_ms: Mapped[int]
    end_ms: Mapped[int]
    sharpe: Mapped[float | None]
    """per day"""
    days: Mapped[int]
    metrics: Mapped[dict[str, Any]]
    campaign_id: Mapped[str | None] = mapped_column(ForeignKey("campaigns.id"))
    created_ms: Mapped[int]


class PatternRow(Base):
    """A market pattern that was recognised (order block, sweep, expansion). Written by the strategy's detectors."""

    __tablename__ = "patterns"
    __table_args__ = (Index(None, "venue", "symbol", "end_ms"),)

    id: Mapped[Key]
    venue: Mapped[str]
    symbol: Mapped[str]
    interval: Mapped[str]
    kind: Mapped[str]
    start_ms: Mapped[int]
    end_ms: Mapped[int]
    strength: Mapped[float]
    detail: Mapped[dict[str, Any]]


class InboxRow(Base):
    """An event that a consumer has handled."""

    __tablename__ = "inbox"
    __table_args__ = (Index(None, "received_ms"),)

    consumer: Mapped[Key]
    event_id: Mapped[Key]
    subject: Mapped[str]
    received_ms: Mapped[int]
    outcome: Mapped[str]
