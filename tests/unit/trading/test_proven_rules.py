"""What a book's own orders prove about the grid of its venue is enough for what closes and protects."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from shared.domain.orders import OrderKind
from shared.trading.proven_rules import proven_rules


def ordered(desk: Any, *orders: tuple[str, str | None], symbol: str = "BTCUSDT", bar: int = 0) -> None:
    """Orders of a quantity and, where there is one, a stop price."""
    intents = []
    for number, (quantity, stop_price) in enumerate(orders):
        kind = OrderKind.MARKET if stop_price is None else OrderKind.STOP
        price = None if stop_price is None else Decimal(stop_price)
        intents.append(desk.intent(f"{symbol}-{number}", quantity, bar, symbol=symbol, kind=kind, stop_price=price))
    desk.committed(*intents, bar=bar)


def test_the_finest_orders_tell_the_grid(desk: Any) -> None:
    ordered(desk, ("0.130", None), ("0.013", "60123.4"), ("1.5", "60000"))
    ordered(desk, ("0.00001", None), symbol="ETHUSDT", bar=1)
    rules = proven_rules(desk.ledger, desk.book, "BTCUSDT")
    assert (rules.step, rules.tick) == (Decimal("0.001"), Decimal("0.1"))
    assert rules.quantity(Decimal("-0.117")) == Decimal("-0.117")
    assert rules.price(Decimal("59999.96")) == Decimal("60000.0")


def test_nothing_is_opened_by_them(desk: Any) -> None:
    ordered(desk, ("1000", None))
    assert not proven_rules(desk.ledger, desk.book, "BTCUSDT").trading


def test_round_sizes_stay_what_they_are(desk: Any) -> None:
    ordered(desk, ("1000", None))
    assert proven_rules(desk.ledger, desk.book, "BTCUSDT").quantity(Decimal(3000)) == Decimal(3000)
