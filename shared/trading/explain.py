"""Why a trade happened: the lineage of one decision, from the candles it saw to the fills and the profit that followed.

Pure: it joins rows that the ledger already keeps and computes nothing that was not decided then. Slippage of a fill is
side * (price / reference - 1) in basis points, so that a positive number is always a cost; the reference is the close of the
decided bar, for a protective stop its stop price. Invariant: a fill appears once, under the order that it executed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from shared.domain.decision import Decision
from shared.domain.errors import MalformedData
from shared.domain.money import ZERO
from shared.domain.orders import Fill, OrderKind, OrderRecord, Position
from shared.domain.records import FundingPayment, RegimeState, Trade
from shared.trading.explanation import ExplainedFill, ExplainedOrder, Explanation, OpenTrip, Role, RoundTrip

BPS = 10_000


@dataclass(frozen=True, slots=True)
class History:
    """What the ledger holds around a decision; trades, fills and funding of other decisions may be among it."""

    orders: Sequence[OrderRecord] = ()
    """the decision's own"""
    fills_by_order: Mapping[str, Sequence[Fill]] = field(default_factory=dict)
    """fills by the client id of the order that they executed, whatever id the venue booked them under"""
    symbol_fills: Sequence[Fill] = ()
    """every fill of the symbol in the book, oldest first"""
    trades: Sequence[Trade] = ()
    funding: Sequence[FundingPayment] = ()
    regime_state: RegimeState | None = None
    """the state at the decided bar"""


def explain(decision: Decision, history: History) -> Explanation:
    """Join a decision with what followed from it. Raises `MalformedData` for an order of another decision."""
    strangers = [order.intent.client_id for order in history.orders if order.intent.decision_id != decision.id]
    if strangers:
        raise MalformedData(f"orders {' '.join(strangers)} belong to another decision than {decision.id}; give its own ones")
    orders = tuple(
        ExplainedOrder(
            order,
            tuple(_explained(fill, order, decision.price) for fill in history.fills_by_order.get(order.intent.client_id, ())),
        )
        for order in history.orders
    )
    own = [explained.fill for order in orders for explained in order.fills]
    return Explanation(
        decision=decision,
        regime_state=history.regime_state,
        orders=orders,
        round_trips=tuple(
            RoundTrip(role, trade, _funding_within(trade, history.funding))
            for trade in history.trades
            if (role := _role(decision, own, trade)) is not None
        ),
        open_trip=_open_trip(own, history.symbol_fills),
    )


def slippage_bps(fill: Fill, reference_price: float) -> float:
    """How much worse than `reference_price` a fill was, in basis points of it; negative where it was better."""
    return (float(fill.price) / reference_price - 1) * BPS * fill.side.sign


def _explained(fill: Fill, order: OrderRecord, decision_price: float) -> ExplainedFill:
    intent = order.intent
    if intent.kind is OrderKind.STOP and intent.stop_price is not None:
        name, price = "stop price", float(intent.stop_price)
    else:
        name, price = "decision price", decision_price
    return ExplainedFill(fill, name, price, slippage_bps(fill, price))


def _role(decision: Decision, own: Iterable[Fill], trade: Trade) -> Role | None:
    """What the decision did to `trade`; `None` where it had no part in it."""
    if trade.symbol != decision.asset.symbol or trade.book != decision.book:
        return None
    opened, closed = trade.open_decision_id == decision.id, trade.close_decision_id == decision.id
    if opened or closed:
        return Role.OPENED_AND_CLOSED if opened and closed else Role.OPENED if opened else Role.CLOSED
    return Role.RESIZED if any(trade.opened_ms < fill.time_ms < trade.closed_ms for fill in own) else None


def _funding_within(trade: Trade, payments: Iterable[FundingPayment]) -> Decimal:
    held = (p.amount for p in payments if p.symbol == trade.symbol and trade.opened_ms < p.time_ms <= trade.closed_ms)
    return sum(held, ZERO)


def _open_trip(own: Sequence[Fill], fills: Iterable[Fill]) -> OpenTrip | None:
    """The trip that lasts, if one of the decision's fills is among its fills: those since the position was last flat or on
    the other side."""
    mine = {fill.trade_id for fill in own}
    position: Position | None = None
    since: list[Fill] = []
    for fill in fills:
        before = position or Position(fill.symbol)
        position = before.after(fill)
        if before.quantity * position.quantity <= 0:
            since = []
        since.append(fill)
    if position is None or position.quantity == 0 or not any(fill.trade_id in mine for fill in since):
        return None
    return OpenTrip(position, since[0].time_ms)
