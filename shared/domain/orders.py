"""Orders, fills and positions as the venue knows them.

An order's state only moves forward: INTENT < UNKNOWN < OPEN < {FILLED, CANCELLED, REJECTED, EXPIRED, ABANDONED}. A message
that would move it back is a late or repeated one and changes nothing. Fills are keyed by (symbol, trade id); a position is
the sum of its fills and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from shared.domain.errors import MalformedData
from shared.domain.money import ZERO
from shared.domain.text import storable


class Side(StrEnum):
    """Direction of an order."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for a purchase, -1 for a sale."""
        return 1 if self is Side.BUY else -1

    @classmethod
    def of(cls, quantity: Decimal) -> Side:
        """The side that changes a position by the signed `quantity`."""
        return cls.BUY if quantity > 0 else cls.SELL


class OrderKind(StrEnum):
    """How an order executes."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    """a protective stop that rests at the venue and becomes a market order when the mark price crosses `stop_price`"""


class OrderState(StrEnum):
    """Where an order is in its life."""

    INTENT = "intent"
    """committed to the ledger, not known to have been sent"""
    UNKNOWN = "unknown"
    """sent, the outcome is not known: queried by client id until it is"""
    OPEN = "open"
    """accepted by the venue and not finished"""
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    ABANDONED = "abandoned"
    """confirmed to have never reached the venue, and too old to send now"""

    @property
    def rank(self) -> int:
        """States only move to a higher rank."""
        return {OrderState.INTENT: 0, OrderState.UNKNOWN: 1, OrderState.OPEN: 2}.get(self, 3)

    @property
    def is_final(self) -> bool:
        """Nothing more can happen to the order."""
        return self.rank == 3


@dataclass(frozen=True, slots=True)
class OrderIntent:
    """What the ledger holds before anything is sent. `quantity` is positive, in base units; times are ms UTC."""

    client_id: str
    book: str
    decision_id: str
    leg: str
    """role within the decision: `entry`, `exit`, `stop` …"""
    symbol: str
    side: Side
    kind: OrderKind
    quantity: Decimal
    created_ms: int
    price: Decimal | None = None
    """limit price"""
    stop_price: Decimal | None = None
    reduce_only: bool = False
    due_ms: int = 0
    """not sent before this instant (a slice of a large order); 0: at once"""

    def __post_init__(self) -> None:
        if self.quantity <= 0:
            raise MalformedData(f"an order needs a positive quantity, found {self.quantity}")
        if (self.kind is OrderKind.LIMIT) != (self.price is not None):
            raise MalformedData(
                f"a {self.kind} order with price {self.price}: a price belongs to limit orders, and only to them"
            )
        if (self.kind is OrderKind.STOP) != (self.stop_price is not None):
            raise MalformedData(f"a {self.kind} order with stop price {self.stop_price}: it belongs to stops, and only to them")


@dataclass(frozen=True, slots=True)
class OrderReport:
    """What the venue says about an order."""

    client_id: str
    symbol: str
    state: OrderState
    filled: Decimal
    """cumulative filled quantity, base units"""
    venue_id: str | None = None
    average_price: Decimal | None = None
    updated_ms: int = 0
    reason: str = ""
    """the venue's words for a rejection"""
    fill_client_id: str | None = None
    """client id under which the venue books the fills, where it is another one (a triggered stop)"""
    left: Decimal | None = None
    """signed quantity (buy > 0) that the order may still execute, where the venue's answer names side and size"""

    def __post_init__(self) -> None:
        if self.reason:
            object.__setattr__(self, "reason", storable(self.reason))


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """An order as the ledger knows it: the intent and the furthest state that was reported."""

    intent: OrderIntent
    state: OrderState
    filled: Decimal = ZERO
    venue_id: str | None = None
    average_price: Decimal | None = None
    updated_ms: int = 0
    reason: str = ""

    def advanced(self, report: OrderReport) -> OrderRecord:
        """This record after `report`: states only move forward, the filled quantity only grows."""
        forward = report.state.rank > self.state.rank
        return replace(
            self,
            state=report.state if forward else self.state,
            filled=max(self.filled, report.filled),
            venue_id=self.venue_id or report.venue_id,
            average_price=report.average_price if report.filled >= self.filled and report.average_price else self.average_price,
            updated_ms=max(self.updated_ms, report.updated_ms),
            reason=report.reason if forward else self.reason,
        )


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution. `quantity` is positive; `fee` is positive when it is paid; quote currency but for the quantity."""

    symbol: str
    trade_id: str
    client_id: str | None
    """`None` for fills that the venue made by itself (liquidation, settlement) and for foreign orders"""
    venue_order_id: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    time_ms: int
    maker: bool = False
    foreign_fee: str = ""
    """a fee in another currency than the quote, as `0.0001 BNB`: `fee` is 0 then, and no book holds it"""

    @property
    def signed_quantity(self) -> Decimal:
        """Change of the position, base units."""
        return self.quantity * self.side.sign


@dataclass(frozen=True, slots=True)
class Position:
    """Net position of a symbol in one book: one-way netting, average entry price."""

    symbol: str
    quantity: Decimal = ZERO
    """signed, base units"""
    entry_price: Decimal = ZERO
    realised: Decimal = ZERO
    """realised profit before fees, quote currency, since the position row began"""
    fees: Decimal = ZERO

    def after(self, fill: Fill) -> Position:
        """The position after one more fill. The average entry changes only where the position grows or turns."""
        change, held = fill.signed_quantity, self.quantity
        total = held + change
        closing = min(abs(change), abs(held)) if held * change < 0 else ZERO
        realised = (fill.price - self.entry_price) * closing * (1 if held > 0 else -1)
        if total == 0:
            entry = ZERO
        elif held * change < 0:
            entry = self.entry_price if held * total > 0 else fill.price
        else:
            entry = (self.entry_price * abs(held) + fill.price * abs(change)) / abs(total)
        return replace(self, quantity=total, entry_price=entry, realised=self.realised + realised, fees=self.fees + fill.fee)

    def unrealised(self, mark: Decimal) -> Decimal:
        """Open profit at the price `mark`."""
        return (mark - self.entry_price) * self.quantity


@dataclass(frozen=True, slots=True)
class VenuePosition:
    """A position as the venue reports it."""

    symbol: str
    quantity: Decimal
    entry_price: Decimal
    mark_price: Decimal
    unrealised: Decimal


@dataclass(frozen=True, slots=True)
class Account:
    """The account as the venue reports it, in quote currency."""

    wallet: Decimal
    """balance without open profit"""
    equity: Decimal
    """wallet + open profit at mark prices"""
    available: Decimal
    """what may still be used as margin"""
    positions: tuple[VenuePosition, ...]

    def position(self, symbol: str) -> Decimal:
        """Signed quantity held of `symbol`; zero where there is none."""
        return next((p.quantity for p in self.positions if p.symbol == symbol), ZERO)
