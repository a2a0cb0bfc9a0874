"""The only door to the exchange: an `ApprovedOrder` is built here and nowhere else.

Executors accept nothing but `ApprovedOrder`. Its constructor asks for a seal that lives in this module, so that no other
code can make one by accident; `approve` is the one function that holds it. It checks the order itself (venue rules, halts,
exposure after the fill, price, size, pace, margin); how large a position may be is decided before, in `shared/risk/limits.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from shared.domain.errors import NotApproved
from shared.domain.money import SymbolRules, to_decimal
from shared.domain.orders import OrderIntent, OrderKind
from shared.domain.records import Halt
from shared.risk.params import RiskParams

_SEAL = object()

EXPOSURE_SLACK = Decimal("1.01")
"""A market order fills near, not at, the price that sized it: one per cent of slack keeps a full-size target alive."""


@dataclass(frozen=True, slots=True)
class ApprovedOrder:
    """An order that risk control let through. Build it with `approve`."""

    intent: OrderIntent
    _seal: object
    approved_ms: int | None = None
    """instant before lease, age and halts were asked (ms UTC); signed with it, a request that leaves late dies at the venue"""

    def __post_init__(self) -> None:
        if self._seal is not _SEAL:
            raise NotApproved(
                f"order {self.intent.client_id} was not approved: only shared/risk/approval.py builds an ApprovedOrder"
            )


@dataclass(frozen=True, slots=True)
class OrderLimits:
    """Limits of single orders; the settings `risk.*` of their names. They hold for new risk only."""

    max_notional: Decimal
    price_collar: Decimal
    per_minute: int
    per_day: int

    @classmethod
    def of(cls, params: RiskParams) -> OrderLimits:
        """The limits of the settings."""
        notional, collar = to_decimal(params.max_order_notional), to_decimal(params.price_collar)
        return cls(notional, collar, params.max_orders_minute, params.max_orders_day)


@dataclass(frozen=True, slots=True)
class OrderContext:
    """What an order is checked against."""

    rules: SymbolRules
    held: Decimal
    """signed position of the symbol in this book, base units"""
    price: Decimal
    """last known price, quote currency"""
    equity: Decimal
    max_asset_exposure: Decimal
    """fraction of equity"""
    halts: Sequence[Halt] = ()
    limits: OrderLimits | None = None
    """`None`: exposure alone limits an order"""
    last_price: Decimal | None = None
    """newest price of the market; `None` where only `price` is known"""
    orders_minute: int = 0
    """orders with new risk within the last minute"""
    orders_day: int = 0
    """the same within 24 hours"""
    available: Decimal | None = None
    """free margin; `None`: the venue will say"""
    leverage: int = 1
    approved_ms: int | None = None
    """when the answers of this context were asked for, ms UTC; `None`: of no account"""


def approve(intent: OrderIntent, context: OrderContext) -> ApprovedOrder:
    """Let an order through, or raise `NotApproved` with the rule that it breaks.

    Protective stops and orders that only reduce the position pass every halt.
    """
    rules, quantity = context.rules, intent.quantity
    if quantity != rules.quantity(quantity):
        raise NotApproved(
            f"{intent.symbol}: quantity {quantity} is off the venue's grid "
            f"(step {rules.step}, {rules.min_quantity} to {rules.max_quantity})"
        )
    if intent.kind is OrderKind.STOP and intent.reduce_only:
        if context.held * intent.side.sign >= 0:
            raise NotApproved(f"{intent.symbol}: the stop has no position to protect (held {context.held})")
        return ApprovedOrder(intent, _SEAL, context.approved_ms)

    after = context.held + quantity * intent.side.sign
    reduces = context.held * after >= 0 and abs(after) < abs(context.held)
    if reduces:
        return ApprovedOrder(intent, _SEAL, context.approved_ms)

    blocking = [halt for halt in context.halts if halt.symbol in (None, intent.symbol)]
    if blocking:
        raise NotApproved(f"{intent.symbol}: trading is halted ({blocking[0].reason})")
    if not rules.trading:
        raise NotApproved(f"{intent.symbol}: the venue has halted the symbol")
    if quantity * context.price < rules.min_notional:
        raise NotApproved(f"{intent.symbol}: {quantity} at {context.price} is below the minimum notional {rules.min_notional}")
    exposure = abs(after) * context.price
    if exposure > context.equity * context.max_asset_exposure * EXPOSURE_SLACK:
        raise NotApproved(
            f"{intent.symbol}: exposure {exposure:.2f} after the order exceeds "
            f"{context.max_asset_exposure} of equity {context.equity:.2f}"
        )
    if context.limits is not None:
        _check_order(intent, context, context.limits)
    _check_margin(intent.symbol, context, after)
    return ApprovedOrder(intent, _SEAL, context.approved_ms)


def _check_order(intent: OrderIntent, context: OrderContext, limits: OrderLimits) -> None:
    """Size, price and pace of an order. Raises `NotApproved`."""
    symbol, notional = intent.symbol, intent.quantity * context.price
    if notional > limits.max_notional:
        raise NotApproved(f"{symbol}: order of {notional:.2f} exceeds max_order_notional {limits.max_notional}")
    last, ordered = context.last_price or context.price, intent.price or context.price
    if last > 0 and abs(ordered / last - 1) > limits.price_collar:
        raise NotApproved(
            f"{symbol}: price {ordered} is {abs(ordered / last - 1):.1%} away from the last price {last}, "
            f"price_collar allows {limits.price_collar:.1%}"
        )
    if context.orders_minute >= limits.per_minute:
        raise NotApproved(f"{symbol}: {context.orders_minute} orders in the last minute, max_orders_minute {limits.per_minute}")
    if context.orders_day >= limits.per_day:
        raise NotApproved(f"{symbol}: {context.orders_day} orders in the last 24 h, max_orders_day {limits.per_day}")


def _check_margin(symbol: str, context: OrderContext, after: Decimal) -> None:
    """Whether the account can carry the position. Raises `NotApproved`."""
    needed = (abs(after) - abs(context.held)) * context.price / context.leverage
    if context.available is not None and needed > context.available:
        raise NotApproved(
            f"{symbol}: the order needs {needed:.2f} of margin at leverage {context.leverage}, {context.available:.2f} is free"
        )
