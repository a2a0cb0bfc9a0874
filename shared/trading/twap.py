"""A large order in equal slices over time, so that it does not move the market against itself (time-weighted average price).

    slice i of n: quantity/n on the venue's grid (the first ones take the rest), due at created + i · span / (n - 1)

Slices are intents like any other, committed with their decision: a restart knows them, each is approved when it is due, and a
halt or a newer decision ends those that were not sent. Their quantities add up to the order's. Source: Almgren & Chriss (2000)
for a risk-neutral trader under linear impact; the number and the span are settings.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_DOWN, Decimal

from shared.domain.ids import client_order_id
from shared.domain.money import SymbolRules, on_grid
from shared.domain.orders import OrderIntent
from shared.trading.execution_params import ExecutionParams

SLICE = "slice"
"""first part of a slice's leg name"""


def slices(
    intent: OrderIntent, rules: SymbolRules, notional: Decimal, params: ExecutionParams, latest_ms: int
) -> tuple[OrderIntent, ...]:
    """`intent` cut into slices with their own ids and due times, or as it is where it is not large.

    `notional` is the order's, quote currency; no slice is due after `latest_ms`, ms UTC (the end of its decision's life).
    Each slice is at least what the venue accepts as an order of its own.
    """
    if not params.twap_notional or notional <= Decimal(repr(params.twap_notional)):
        return (intent,)
    count = min(params.twap_slices, _most(intent, rules, notional))
    span_ms = min(round(params.twap_seconds * 1000), max(latest_ms - intent.created_ms, 0))
    if count < 2 or span_ms == 0:
        return (intent,)
    return tuple(
        _slice(intent, number, size, intent.created_ms + number * span_ms // (count - 1))
        for number, size in enumerate(_sizes(intent.quantity, count, rules.step))
    )


def _most(intent: OrderIntent, rules: SymbolRules, notional: Decimal) -> int:
    """Slices at most, so that the smallest is a valid order."""
    by_quantity = intent.quantity // max(rules.min_quantity, rules.step)
    by_notional = notional // (2 * rules.min_notional) if rules.min_notional and not intent.reduce_only else by_quantity
    return int(min(by_quantity, by_notional))


def _sizes(quantity: Decimal, count: int, step: Decimal) -> list[Decimal]:
    """`count` sizes on the grid that add up to `quantity` and differ by one step at most."""
    base = on_grid(quantity / count, step, ROUND_DOWN)
    left = int((quantity - base * count) / step)
    sizes = [base + step * (number < left) for number in range(count)]
    return [*sizes[:-1], quantity - sum(sizes[:-1], Decimal(0))]


def _slice(intent: OrderIntent, number: int, quantity: Decimal, due_ms: int) -> OrderIntent:
    leg = f"{SLICE}{number + 1}"
    return replace(
        intent,
        client_id=client_order_id(intent.book, intent.decision_id, leg),
        leg=leg,
        quantity=quantity,
        due_ms=due_ms if number else 0,
    )
