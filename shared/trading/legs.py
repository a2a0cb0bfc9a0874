"""From a wanted position to the orders that reach it: one market leg (or its slices) and one protective stop.

The market leg carries the whole difference, also through zero (one-way netting). The stop rests at the venue for the size
that will be held; it is reduce-only, so a partly filled entry cannot be turned around by its own stop. Further legs follow
from what happened: a stop of another size, an exit, the remainder of a partial fill. Every leg has a name of its own in its
decision, and its client id follows from it: the same leg is never sent twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from shared.domain.decision import Action
from shared.domain.ids import client_order_id
from shared.domain.money import ZERO, SymbolRules
from shared.domain.orders import OrderIntent, OrderKind, OrderRecord, OrderState, Side
from shared.trading.execution_params import ExecutionParams
from shared.trading.twap import SLICE, slices

MARKET, STOP, EXIT, TRIM, REST = "market", "stop", "exit", "trim", "rest-"
"""First parts of leg names"""


def is_decided(leg: str) -> bool:
    """Whether a leg carries out its decision: the market order, its slices and their remainders.

    Stops, exits, trims and the exits of an emergency bear a decision's id, but follow from what happened later.
    """
    return leg.startswith((MARKET, SLICE, REST))


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
    latest_ms: int | None = None,
    params: ExecutionParams | None = None,
) -> Plan:
    """Orders that move `held` (signed base units) to `target_fraction` of `equity` at `price`.

    `stop_distance` is a fraction of the price. Sizes are rounded towards zero on the venue's grid; a change that the venue
    would refuse as too small is not ordered, except the one that closes the position. With `params` a large order is cut into
    slices, the last of them due at `latest_ms` (ms UTC) at the latest.
    """
    wanted = wanted_quantity(rules, equity, target_fraction, price)
    change = wanted - held
    if change == 0:
        return Plan(Action.HOLD, (), None)
    size = rules.quantity(change)
    notional = abs(size) * Decimal(repr(price))
    small = abs(change) * Decimal(repr(price)) < rules.min_notional and held * change >= 0
    if size == 0 or (wanted != 0 and small):
        return Plan(Action.HOLD, (), None, f"a change of {change} {rules.symbol} is below what the venue accepts")

    final = held + size
    shrinks = held * final >= 0 and abs(final) < abs(held)
    market = leg_order(book, decision, MARKET, rules.symbol, size, now_ms, reduce_only=shrinks)
    legs = (market,) if params is None or latest_ms is None else slices(market, rules, notional, params, latest_ms)
    if final == 0 or stop_distance <= 0:
        return Plan(_action(held, final), legs, None)
    stop = _stop_price(rules, price, final, stop_distance)
    if len(legs) == 1:  # slices are protected as they fill, each with a stop of the size that is held by then
        legs = (*legs, stop_order(book, decision, STOP, rules.symbol, final, stop, now_ms))
    return Plan(_action(held, final), legs, float(stop))


def wanted_quantity(rules: SymbolRules, equity: Decimal, target_fraction: float, price: float) -> Decimal:
    """The signed position that is `target_fraction` of `equity` at `price`, base units on the venue's grid, towards zero."""
    return rules.quantity(float(equity) * target_fraction / price) if target_fraction else ZERO


def leg_order(book: str, decision: str, leg: str, symbol: str, size: Decimal, now_ms: int, *, reduce_only: bool) -> OrderIntent:
    """A market order that changes the position by the signed `size`, base units.

    What only shrinks the position says so (`reduce_only`): it passes below the minimum notional, and cannot open anything if a
    stop was faster.
    """
    return OrderIntent(
        client_id=client_order_id(book, decision, leg),
        book=book,
        decision_id=decision,
        leg=leg,
        symbol=symbol,
        side=Side.of(size),
        kind=OrderKind.MARKET,
        quantity=abs(size),
        created_ms=now_ms,
        reduce_only=reduce_only,
    )


def stop_order(
    book: str, decision: str, leg: str, symbol: str, position: Decimal, stop_price: Decimal, now_ms: int
) -> OrderIntent:
    """The protective stop of a signed `position`, base units, at `stop_price`, quote currency."""
    return OrderIntent(
        client_id=client_order_id(book, decision, leg),
        book=book,
        decision_id=decision,
        leg=leg,
        symbol=symbol,
        side=Side.of(-position),
        kind=OrderKind.STOP,
        quantity=abs(position),
        created_ms=now_ms,
        stop_price=stop_price,
        reduce_only=True,
    )


def next_leg(stem: str, legs: Sequence[OrderRecord]) -> str:
    """The first unused name among `stem`, `stem2`, `stem3` … of a decision with `legs`."""
    used = {record.intent.leg for record in legs}
    names = (stem if number == 1 else f"{stem}{number}" for number in range(1, len(used) + 2))
    return next(name for name in names if name not in used)


def leg_number(stem: str, leg: str) -> int:
    """The number of a leg that `next_leg` has named, from 1; unlike its instant it always grows."""
    return int(leg.removeprefix(stem) or 1)


def closing_stops(unfinished: Sequence[OrderRecord], symbol: str, size: Decimal) -> list[OrderRecord]:
    """Unfinished stops that would close a position of the sign of `size`, oldest first."""
    stops = [record for record in unfinished if record.intent.symbol == symbol and record.intent.kind is OrderKind.STOP]
    return [stop for stop in stops if stop.intent.side.sign * size < 0]


def open_exits(unfinished: Sequence[OrderRecord], symbol: str) -> list[OrderRecord]:
    """Unfinished orders of the guard that close a position, oldest first."""
    orders = [record for record in unfinished if record.intent.symbol == symbol and record.intent.kind is OrderKind.MARKET]
    return [order for order in orders if order.intent.leg.startswith(EXIT)]


def remainder(
    record: OrderRecord, legs: Sequence[OrderRecord], rules: SymbolRules, price: Decimal, attempts: int, now_ms: int
) -> tuple[OrderIntent | None, str]:
    """The order for what a finished market order left unfilled, if there is to be one, and else why not (may be empty).

    Only an order that was partly filled has a remainder; one that was refused, or found nothing at all, is not repeated. `legs`
    are all orders of the decision, `price` the last known one, `attempts` how many further orders a decision may have.
    """
    intent, left = record.intent, record.intent.quantity - record.filled
    partly = record.state in (OrderState.EXPIRED, OrderState.CANCELLED) and ZERO < record.filled < intent.quantity
    if intent.kind is not OrderKind.MARKET or not partly or _has_follower(record, legs):
        return None, ""
    if sum(other.intent.leg.startswith(REST) for other in legs) >= attempts:
        return None, f"{left} {intent.symbol} stays unfilled: {attempts} further orders were tried"
    size = rules.quantity(left)
    if size == 0 or (not intent.reduce_only and size * price < rules.min_notional):
        return None, f"{left} {intent.symbol} stays unfilled: it is below what the venue accepts"
    order = leg_order(
        intent.book,
        intent.decision_id,
        f"{REST}{intent.leg}",
        intent.symbol,
        size * intent.side.sign,
        now_ms,
        reduce_only=intent.reduce_only,
    )
    return order, ""


def _has_follower(record: OrderRecord, legs: Sequence[OrderRecord]) -> bool:
    return any(other.intent.leg == f"{REST}{record.intent.leg}" for other in legs)


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
