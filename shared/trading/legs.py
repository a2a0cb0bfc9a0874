"""From a wanted position to the orders that reach it: at most one market leg and one protective stop.

The market leg carries the whole difference, also through zero (one-way netting). The stop rests at the venue for the size
that will be held; it is reduce-only, so a partly filled entry cannot be turned around by its own stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from shared.domain.decision import Action
from shared.domain.ids import client_order_id
from shared.domain.money import ZERO, SymbolRules
from shared.domain.orders import OrderIntent, OrderKind, Side


@dataclass(frozen=True, slots=True)
class Plan:
    """What a decision wants to do at the venue."""

    action: Action
    intents: tuple[OrderIntent, ...]
    stop_price: float | None
    note: str = ""
    """why a wanted change is not ordered, empty otherwise"""


def plan_orders(
    *,
    book: str,
    decision: str,
    rules: SymbolRules,
    held: Decimal,
    target_fraction: float,
    equity: Decimal,
    price: float,
    stop_distance: float,
    now_ms: int,
) -> Plan:
    """Orders that move `held` (signed base units) to `target_fraction` of `equity` at `price`.

    `stop_distance` is a fraction of the price. Sizes are rounded towards zero on the venue's grid; a change that the venue
    would refuse as too small is not ordered, except the one that closes the position.
    """
    wanted = rules.quantity(float(equity) * target_fraction / price) if target_fraction else ZERO
    change = wanted - held
    if change == 0:
        return Plan(Action.HOLD, (), None)
    closes = wanted == 0
    size = rules.quantity(change)
    if size == 0 or (not closes and abs(change) * Decimal(repr(price)) < rules.min_notional and held * change >= 0):
        return Plan(Action.HOLD, (), None, f"a change of {change} {rules.symbol} is below what the venue accepts")

    final = held + size
    intents = [
        OrderIntent(
            client_id=client_order_id(book, decision, "market"),
            book=book,
            decision_id=decision,
            leg="market",
            symbol=rules.symbol,
            side=Side.of(size),
            kind=OrderKind.MARKET,
            quantity=abs(size),
            created_ms=now_ms,
            # What only shrinks the position says so: it passes below the minimum notional, and cannot open anything if a
            # stop was faster.
            reduce_only=held * final >= 0 and abs(final) < abs(held),
        )
    ]
    stop_price = None
    if final != 0 and stop_distance > 0:
        stop = _stop_price(rules, price, final, stop_distance)
        stop_price = float(stop)
        intents.append(
            OrderIntent(
                client_id=client_order_id(book, decision, "stop"),
                book=book,
                decision_id=decision,
                leg="stop",
                symbol=rules.symbol,
                side=Side.of(-final),
                kind=OrderKind.STOP,
                quantity=abs(final),
                created_ms=now_ms,
                stop_price=stop,
                reduce_only=True,
            )
        )
    return Plan(_action(held, final), tuple(intents), stop_price)


def _stop_price(rules: SymbolRules, price: float, position: Decimal, distance: float) -> Decimal:
    """Stop on the venue's grid, rounded towards the market so that the loss is not larger than asked."""
    if position > 0:
        return rules.price_above(price * (1 - distance))
    return rules.price_below(price * (1 + distance))


def _action(held: Decimal, final: Decimal) -> Action:
    if held == 0:
        return Action.OPEN
    if final == 0:
        return Action.CLOSE
    if held * final < 0:
        return Action.REVERSE
    return Action.INCREASE if abs(final) > abs(held) else Action.REDUCE
