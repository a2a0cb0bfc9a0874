"""Positions and trades as folds of fills: pure, so that what is stored can be rebuilt and checked.

Fills are folded in the venue's order: time, then trade id (numerically, for ids are counters). A round trip begins when a
flat symbol is filled and ends when it is flat again or turns; the fill that turns it is split, its fee in proportion.
Invariant: Σ trade profits = realised profit − fees of the position, while it is flat.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal

from shared.domain.ids import content_id
from shared.domain.money import ZERO
from shared.domain.orders import Fill, Position


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """A trade while it lasts and after. Quantities are base units, notionals and fees quote currency."""

    id: str
    symbol: str
    side: str
    """`long` or `short`"""
    quantity: Decimal
    """largest size held"""
    entry_quantity: Decimal
    entry_notional: Decimal
    exit_quantity: Decimal
    exit_notional: Decimal
    fees: Decimal
    opened_ms: int
    closed_ms: int | None
    open_client_id: str | None
    close_client_id: str | None
    realised_after: Decimal | None = field(default=None, compare=False)
    """realised profit of the symbol since its first fill, where this trip has left it flat: a rebuild may begin here"""
    fees_after: Decimal | None = field(default=None, compare=False)
    """its fees; both are bookkeeping, and no part of what a trip is"""

    @property
    def profit(self) -> Decimal:
        """Profit minus fees; of a closed trip all that entered has left."""
        gross = self.exit_notional - self.entry_notional
        return (gross if self.side == "long" else -gross) - self.fees


@dataclass(frozen=True, slots=True)
class Holding:
    """What a symbol's fills add up to: the position, the trip that lasts, and the fills' last key."""

    position: Position
    trip: RoundTrip | None = None
    last: tuple[int, str] = (-1, "")
    """time and trade id of the newest fill"""


FillKey = tuple[int, int, str]


def order_key(time_ms: int, trade_id: str) -> FillKey:
    """Sort key of a fill within its symbol: shorter numbers are smaller numbers."""
    return time_ms, len(trade_id), trade_id


def fill_key(fill: Fill) -> FillKey:
    """`order_key` of a fill."""
    return order_key(fill.time_ms, fill.trade_id)


def fold(book: str, holding: Holding, fills: Iterable[Fill]) -> tuple[Holding, list[RoundTrip]]:
    """The holding after `fills` of its symbol (sorted by `fill_key`), and the trips that they closed."""
    closed: list[RoundTrip] = []
    for fill in fills:
        ended, trip = _advance(book, holding, fill)
        position = holding.position.after(fill)
        if ended is not None:
            flat = position.quantity == 0
            closed.append(replace(ended, realised_after=position.realised, fees_after=position.fees) if flat else ended)
        holding = Holding(position, trip, (fill.time_ms, fill.trade_id))
    return holding, closed


def _advance(book: str, holding: Holding, fill: Fill) -> tuple[RoundTrip | None, RoundTrip | None]:
    """The trip that `fill` ends and the trip that lasts after it."""
    held, change, trip = holding.position.quantity, fill.signed_quantity, holding.trip
    if trip is None:
        return None, _opened(book, fill, fill.quantity, fill.fee)
    if held * change > 0:
        return None, replace(
            trip,
            quantity=max(trip.quantity, abs(held + change)),
            entry_quantity=trip.entry_quantity + fill.quantity,
            entry_notional=trip.entry_notional + fill.quantity * fill.price,
            fees=trip.fees + fill.fee,
        )
    closing = min(fill.quantity, abs(held))
    opening = fill.quantity - closing
    opening_fee = fill.fee * opening / fill.quantity if opening else ZERO
    reduced = replace(
        trip,
        exit_quantity=trip.exit_quantity + closing,
        exit_notional=trip.exit_notional + closing * fill.price,
        fees=trip.fees + fill.fee - opening_fee,
    )
    if closing < abs(held):
        return None, reduced
    ended = replace(reduced, closed_ms=fill.time_ms, close_client_id=fill.client_id)
    return ended, _opened(book, fill, opening, opening_fee) if opening else None


def _opened(book: str, fill: Fill, quantity: Decimal, fee: Decimal) -> RoundTrip:
    return RoundTrip(
        id=content_id("t", book, fill.symbol, fill.trade_id),
        symbol=fill.symbol,
        side="long" if fill.side.sign > 0 else "short",
        quantity=quantity,
        entry_quantity=quantity,
        entry_notional=quantity * fill.price,
        exit_quantity=ZERO,
        exit_notional=ZERO,
        fees=fee,
        opened_ms=fill.time_ms,
        closed_ms=None,
        open_client_id=fill.client_id,
        close_client_id=None,
    )
