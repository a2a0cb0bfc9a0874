"""What a book's own orders prove about the grid of its venue is enough for what closes and protects."""

from __future__ import annotations

from decimal import Decimal

from shared.domain.orders import OrderIntent, OrderKind, OrderRecord, OrderState, Side
from shared.trading.proven_rules import proven_rules


def order(quantity: str, stop_price: str | None = None, symbol: str = "BTCUSDT") -> OrderRecord:
    kind = OrderKind.MARKET if stop_price is None else OrderKind.STOP
    price = None if stop_price is None else Decimal(stop_price)
    intent = OrderIntent("c", "b", "d", "leg", symbol, Side.SELL, kind, Decimal(quantity), 0, stop_price=price)
    return OrderRecord(intent, OrderState.OPEN)


def test_the_finest_orders_tell_the_grid() -> None:
    rules = proven_rules(
        "BTCUSDT", [order("0.130"), order("0.013", "60123.4"), order("1.5", "60000"), order("0.00001", symbol="X")]
    )
    assert (rules.step, rules.tick) == (Decimal("0.001"), Decimal("0.1"))
    assert rules.quantity(Decimal("-0.117")) == Decimal("-0.117")
    assert rules.price(Decimal("59999.96")) == Decimal("60000.0")


def test_nothing_is_opened_by_them() -> None:
    assert not proven_rules("BTCUSDT", [order("1000")]).trading


def test_round_sizes_stay_what_they_are() -> None:
    assert proven_rules("BTCUSDT", [order("1000")]).quantity(Decimal(3000)) == Decimal(3000)
