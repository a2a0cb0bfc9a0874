"""The lineage of one decision as a value: what it saw, what it ordered, how that was filled, which trades it had a part in.

`shared/trading/explain.py` builds it; `as_dict` is what `ost decisions show --json` prints and other programs may rely on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from shared.domain.decision import Decision
from shared.domain.interval import format_ms
from shared.domain.orders import Fill, OrderRecord, Position
from shared.domain.records import RegimeState, Trade


class Role(StrEnum):
    """What a decision did to a round trip."""

    OPENED = "opened"
    CLOSED = "closed"
    OPENED_AND_CLOSED = "opened and closed"
    """its market leg opened the position, its protective stop closed it"""
    RESIZED = "resized"


@dataclass(frozen=True, slots=True)
class ExplainedFill:
    """A fill beside the price that it should have had."""

    fill: Fill
    reference: str
    """`decision price` or `stop price`"""
    reference_price: float
    slippage_bps: float
    """basis points of the reference price; positive is a cost"""


@dataclass(frozen=True, slots=True)
class ExplainedOrder:
    """An order with everything that executed it."""

    order: OrderRecord
    fills: tuple[ExplainedFill, ...]


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """A closed trade that the decision had a part in."""

    role: Role
    trade: Trade
    funding: Decimal
    """funding received (positive) or paid while it was open, quote currency; not part of `trade.profit`"""


@dataclass(frozen=True, slots=True)
class OpenTrip:
    """A trade that the decision had a part in and that is not closed yet."""

    position: Position
    opened_ms: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """The lineage of one decision."""

    decision: Decision
    regime_state: RegimeState | None
    orders: tuple[ExplainedOrder, ...]
    round_trips: tuple[RoundTrip, ...]
    open_trip: OpenTrip | None

    def as_dict(self) -> dict[str, Any]:
        """The lineage in the order in which it happened, money as texts."""
        decision = self.decision
        return {
            "decision": decision.id,
            "book": decision.book,
            "action": decision.action.value,
            "reasons": list(decision.reasons),
            "window": _window(decision),
            "features": dict(decision.features),
            "regime": _regime(decision, self.regime_state),
            "alphas": dict(decision.alphas),
            "votes": [asdict(vote) for vote in decision.votes],
            "consensus": decision.score,
            "target": {
                "wanted_fraction": decision.target_fraction,
                "approved_fraction": decision.approved_fraction,
                "price": decision.price,
                "stop_price": decision.stop_price,
            },
            "approvals": [asdict(approval) for approval in decision.approvals],
            "orders": [_order(order) for order in self.orders],
            "round_trips": [_trip(trip) for trip in self.round_trips],
            "open_trip": None if self.open_trip is None else _open(self.open_trip),
        }


def _window(decision: Decision) -> dict[str, Any]:
    return {
        "asset": str(decision.asset),
        "interval": decision.interval.value,
        "start": format_ms(decision.window_start_ms),
        "bar_close": format_ms(decision.bar_close_ms),
        "start_ms": decision.window_start_ms,
        "bar_close_ms": decision.bar_close_ms,
        "data_hash": decision.data_hash,
        "code_version": decision.code_version,
        "params_version": decision.params_version,
    }


def _regime(decision: Decision, state: RegimeState | None) -> dict[str, Any]:
    return {
        "held": decision.regime.value,
        "probabilities": decision.probabilities.as_dict(),
        "model_id": decision.regime_model_id,
        "smoothed": None if state is None else list(state.ema),
        "stress_bars": None if state is None else state.stress_bars,
    }


def _order(explained: ExplainedOrder) -> dict[str, Any]:
    order, intent = explained.order, explained.order.intent
    return {
        "client_id": intent.client_id,
        "leg": intent.leg,
        "kind": intent.kind.value,
        "side": intent.side.value,
        "quantity": str(intent.quantity),
        "stop_price": None if intent.stop_price is None else str(intent.stop_price),
        "reduce_only": intent.reduce_only,
        "created": format_ms(intent.created_ms),
        "state": order.state.value,
        "filled": str(order.filled),
        "venue_id": order.venue_id,
        "reason": order.reason,
        "fills": [_fill(fill) for fill in explained.fills],
    }


def _fill(explained: ExplainedFill) -> dict[str, Any]:
    fill = explained.fill
    return {
        "trade_id": fill.trade_id,
        "time": format_ms(fill.time_ms),
        "side": fill.side.value,
        "quantity": str(fill.quantity),
        "price": str(fill.price),
        "fee": str(fill.fee),
        "maker": fill.maker,
        "reference": explained.reference,
        "reference_price": explained.reference_price,
        "slippage_bps": explained.slippage_bps,
    }


def _trip(trip: RoundTrip) -> dict[str, Any]:
    trade = trip.trade
    return {
        "trade": trade.id,
        "role": trip.role.value,
        "side": trade.side,
        "quantity": str(trade.quantity),
        "entry_price": str(trade.entry_price),
        "exit_price": str(trade.exit_price),
        "opened": format_ms(trade.opened_ms),
        "closed": format_ms(trade.closed_ms),
        "profit": str(trade.profit),
        "fees": str(trade.fees),
        "funding": str(trip.funding),
        "open_decision": trade.open_decision_id,
        "close_decision": trade.close_decision_id,
    }


def _open(trip: OpenTrip) -> dict[str, Any]:
    position = trip.position
    return {"opened": format_ms(trip.opened_ms), "quantity": str(position.quantity), "entry_price": str(position.entry_price)}
