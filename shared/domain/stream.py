"""What a venue's streams say, one frozen value per message, already freed of the venue's own words.

Messages come at least once, out of order, late, or not at all: nothing here is trusted for more than it says. Orders and
fills are keyed (client id, trade id) and only move forward, bars are keyed by open time, prices carry their instant. Times are
ms UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from shared.domain.interval import Interval
from shared.domain.orders import Fill, OrderReport


class Channel(StrEnum):
    """What a market stream tells; a venue may serve each on a connection of its own."""

    BARS = "bars"
    QUOTES = "quotes"
    MARKS = "marks"


@dataclass(frozen=True, slots=True)
class BarMessage:
    """A bar as it stands: `closed` bars are final, open ones only show that the stream lives."""

    symbol: str
    interval: Interval
    open_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    """base units"""
    closed: bool
    time_ms: int
    """the venue's time of the message"""


@dataclass(frozen=True, slots=True)
class QuoteMessage:
    """Best bid and ask: their mean is the price that an order arrives at."""

    symbol: str
    bid: Decimal
    ask: Decimal
    time_ms: int

    @property
    def mid(self) -> Decimal:
        """Mean of bid and ask, quote currency."""
        return (self.bid + self.ask) / 2


@dataclass(frozen=True, slots=True)
class MarkMessage:
    """Mark price: what open profit, margin and stops are computed from."""

    symbol: str
    price: Decimal
    time_ms: int


@dataclass(frozen=True, slots=True)
class OrderMessage:
    """Something happened to an order of the account; `fill` is there where a part of it was executed."""

    report: OrderReport
    fill: Fill | None
    time_ms: int


@dataclass(frozen=True, slots=True)
class AccountMessage:
    """Balances and positions that have changed; symbols that are not named have not."""

    wallet: Decimal | None
    """balance of the quote currency without open profit; `None` where it has not changed"""
    positions: tuple[tuple[str, Decimal, Decimal], ...]
    """(symbol, signed quantity, entry price)"""
    reason: str
    """the venue's own word: ORDER, FUNDING_FEE, MARGIN_TRANSFER …"""
    time_ms: int


class StreamState(StrEnum):
    """What became of a connection."""

    CONNECTED = "connected"
    """also after a loss or a rotation: what was missed in between has to be fetched"""
    LOST = "lost"
    ROTATED = "rotated"
    """a new connection took over before the old one was closed: nothing was missed"""
    KEY_EXPIRED = "key expired"
    """the user stream's key: events are not trusted until a snapshot of orders and positions was taken"""
    UNREADABLE = "unreadable"
    """a message about orders or the account could not be read: what it said has to be fetched. CONNECTED follows at once"""


@dataclass(frozen=True, slots=True)
class StreamNotice:
    """The adapter's word about its connection, in order with the messages."""

    state: StreamState
    detail: str
    time_ms: int


MarketMessage = BarMessage | QuoteMessage | MarkMessage | StreamNotice
UserMessage = OrderMessage | AccountMessage | StreamNotice


def channel_of(message: BarMessage | QuoteMessage | MarkMessage) -> Channel:
    """The channel that a message came on."""
    if isinstance(message, BarMessage):
        return Channel.BARS
    return Channel.QUOTES if isinstance(message, QuoteMessage) else Channel.MARKS
