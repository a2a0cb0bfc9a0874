"""Tables of live trading beside the order book: outbox, arrivals, emergencies, heartbeats, forgotten peaks, pauses of venues.

The outbox holds what is to be published and what was: rows are written in the transaction of the effect that they tell of.
Everything here is told apart by book, like the tables in `models.py`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.adapters.sql.base import Base, Counter, Key, KeyMs

UNPUBLISHED = text("published_ms IS NULL")
"""Events that the bus is not known to have. Literal, because only then a partial index answers it."""


class OutboxRow(Base):
    """An event, and when the bus took it. `position` is the order in which events are published."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("uq_outbox_id", "id", unique=True),
        Index("ix_outbox_unpublished", "position", sqlite_where=UNPUBLISHED, postgresql_where=UNPUBLISHED),
    )

    position: Mapped[Counter]
    id: Mapped[str]
    kind: Mapped[str]
    book: Mapped[str]
    subject: Mapped[str]
    time_ms: Mapped[int]
    data: Mapped[dict[str, Any]]
    published_ms: Mapped[int | None]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    """how often the bus did not take it"""
    set_aside_ms: Mapped[int | None]
    """since when it does not stop the others any more; `None` where it waits in its turn"""


class ArrivalRow(Base):
    """The prices that an order met on its way to the venue."""

    __tablename__ = "arrivals"
    __table_args__ = (Index(None, "book", "sent_ms"),)

    client_id: Mapped[Key]
    book: Mapped[str]
    symbol: Mapped[str]
    decision_price: Mapped[Decimal]
    arrival_mid: Mapped[Decimal | None]
    sent_ms: Mapped[int]
    answered_ms: Mapped[int | None]


class EmergencyRow(Base):
    """A run of the emergency protocol, as far as it has come."""

    __tablename__ = "emergencies"
    __table_args__ = (Index(None, "book", "started_ms"),)

    id: Mapped[Key]
    book: Mapped[str]
    kind: Mapped[str]
    reason: Mapped[str]
    started_ms: Mapped[int]
    finished_ms: Mapped[int | None]
    wallet: Mapped[Decimal | None]
    equity: Mapped[Decimal | None]
    closed: Mapped[list[Any]]
    steps: Mapped[list[Any]]


class HeartbeatRow(Base):
    """The newest sign of life of a process."""

    __tablename__ = "heartbeats"

    book: Mapped[Key]
    role: Mapped[Key]
    holder: Mapped[Key]
    time_ms: Mapped[int]
    state: Mapped[dict[str, Any]]


class PeakRow(Base):
    """A resume after a drawdown: peaks up to the equity point at `forgotten_ms` do not count any more."""

    __tablename__ = "forgotten_peaks"

    book: Mapped[Key]
    forgotten_ms: Mapped[KeyMs]
    rebased_ms: Mapped[int]


class PauseRow(Base):
    """Until when a venue wants no requests from this address, whichever process it told so."""

    __tablename__ = "venue_pauses"

    venue: Mapped[Key]
    until_ms: Mapped[int]
