"""Where a position came from: the decision that set its protective stop, found again in the ledger after any restart."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from shared.domain.decision import Decision
from shared.domain.money import to_decimal
from shared.domain.orders import OrderKind, OrderRecord
from shared.ports import Ledger


@dataclass(frozen=True, slots=True)
class Origin:
    """A decision that was at least partly carried out, with its orders."""

    decision: Decision
    stop_price: Decimal | None
    """where it wanted the stop, quote currency"""
    legs: tuple[OrderRecord, ...]


def find_origin(ledger: Ledger, book: str, symbol: str, held: Decimal) -> Origin | None:
    """The newest decision that was carried out, wholly or in part, and that set a stop on the losing side of `held`."""
    decision = ledger.origin(book, symbol, is_long=held > 0)
    if decision is None or decision.stop_price is None:
        return None
    return Origin(decision, to_decimal(decision.stop_price), tuple(ledger.orders(book, decision_id=decision.id)))


def newest_decision(ledger: Ledger, book: str, symbol: str) -> Decision | None:
    """The newest decision about a symbol."""
    return next(iter(ledger.decisions(book, symbol=symbol, limit=1)), None)


def uncovered_since_ms(origin: Origin) -> int:
    """When a position of `origin` that has no stop lost its protection: its last fill, or the end of a stop that rested."""
    fills = [leg for leg in origin.legs if leg.intent.kind is not OrderKind.STOP and leg.filled > 0]
    ended = [
        leg
        for leg in origin.legs
        if leg.intent.kind is OrderKind.STOP and leg.venue_id is not None and leg.state.is_final and leg.filled == 0
    ]
    return max(leg.updated_ms or leg.intent.created_ms for leg in (*fills, *ended))
