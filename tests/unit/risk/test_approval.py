"""The only door to the exchange, and each rule that it keeps."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from shared.domain.errors import NotApproved
from shared.domain.money import SymbolRules
from shared.domain.orders import OrderIntent, OrderKind, Side
from shared.domain.records import Halt
from shared.risk.approval import ApprovedOrder, OrderContext, OrderLimits, approve
from shared.risk.params import RiskParams

RULES = SymbolRules("BTCUSDT", Decimal("0.1"), Decimal("0.001"), Decimal("0.001"), Decimal(50), Decimal(5))
FLAT = OrderContext(RULES, Decimal(0), Decimal(100), Decimal(1000), Decimal(1))
LATCH = Halt("b", "latched", 0, None)


def intent(quantity: str, kind: OrderKind = OrderKind.MARKET) -> OrderIntent:
    """An order of a signed quantity."""
    size, stop = Decimal(quantity), kind is OrderKind.STOP
    stop_price = Decimal(90) if stop else None
    return OrderIntent("o1", "b", "d", "leg", "BTCUSDT", Side.of(size), kind, abs(size), 0, None, stop_price, stop)


def refused(order: OrderIntent, context: OrderContext) -> str:
    with pytest.raises(NotApproved) as raised:
        approve(order, context)
    return str(raised.value)


def test_an_approved_order_cannot_be_made_by_anybody_else() -> None:
    for seal in (None, object(), "seal"):
        with pytest.raises(NotApproved, match=r"only shared/risk/approval\.py"):
            ApprovedOrder(intent("1"), seal)
    approved = approve(intent("1"), FLAT)
    assert approved.intent == intent("1")
    with pytest.raises(AttributeError):
        approved.intent = intent("2")  # type: ignore[misc]


@pytest.mark.parametrize("quantity", ["1.0005", "0.0001", "51"])
def test_a_quantity_off_the_venues_grid_is_refused(quantity: str) -> None:
    assert "off the venue's grid" in refused(intent(quantity), FLAT)


@pytest.mark.parametrize("context", [replace(FLAT, halts=(LATCH,)), replace(FLAT, halts=(replace(LATCH, symbol="BTCUSDT"),))])
def test_a_halt_of_the_book_or_the_symbol_refuses_new_risk(context: OrderContext) -> None:
    assert "trading is halted (latched)" in refused(intent("1"), context)


def test_a_halt_of_another_symbol_refuses_nothing() -> None:
    assert approve(intent("1"), replace(FLAT, halts=(replace(LATCH, symbol="ETHUSDT"),)))


def test_a_symbol_that_the_venue_has_halted_is_refused() -> None:
    assert "the venue has halted the symbol" in refused(intent("1"), replace(FLAT, rules=replace(RULES, trading=False)))


def test_an_entry_below_the_minimum_notional_is_refused() -> None:
    assert "below the minimum notional 5" in refused(intent("0.049"), FLAT)
    assert approve(intent("0.05"), FLAT)


def test_exposure_after_the_order_is_limited_with_one_per_cent_of_slack() -> None:
    assert approve(intent("10.1"), FLAT)
    assert "exposure 1010.10 after the order exceeds 1 of equity 1000.00" in refused(intent("10.101"), FLAT)
    assert "exceeds" in refused(intent("6"), replace(FLAT, held=Decimal(5)))


def test_a_reduction_passes_every_halt_and_limit() -> None:
    context = replace(FLAT, held=Decimal(40), halts=(LATCH,), rules=replace(RULES, trading=False))
    for quantity in ("-0.001", "-39", "-40"):
        assert approve(intent(quantity), context)


def test_an_order_that_turns_the_position_is_new_risk() -> None:
    assert "halted" in refused(intent("-2"), replace(FLAT, held=Decimal(1), halts=(LATCH,)))


def test_a_stop_passes_every_halt_where_there_is_a_position_to_protect() -> None:
    halted = replace(FLAT, halts=(LATCH,), rules=replace(RULES, trading=False))
    assert approve(intent("-1", OrderKind.STOP), replace(halted, held=Decimal(1)))
    assert approve(intent("1", OrderKind.STOP), replace(halted, held=Decimal(-1)))
    for held in ("0", "-1"):
        assert "no position to protect" in refused(intent("-1", OrderKind.STOP), replace(halted, held=Decimal(held)))


LIMITED = replace(FLAT, limits=OrderLimits.of(RiskParams(max_order_notional=500.0, max_orders_minute=3, max_orders_day=10)))


@pytest.mark.parametrize(
    ("context", "said"),
    [
        (LIMITED, "order of 600 exceeds max_order_notional 500"),
        (replace(LIMITED, last_price=Decimal("94")), "price 100 is 6.4% away from the last price 94, price_collar allows 5.0%"),
        (replace(LIMITED, orders_minute=3), "3 orders in the last minute, max_orders_minute 3"),
        (replace(LIMITED, orders_day=10), "10 orders in the last 24 h, max_orders_day 10"),
        (replace(LIMITED, available=Decimal(99), leverage=4), "needs 100.00 of margin at leverage 4, 99 is free"),
    ],
)
def test_size_price_pace_and_margin_of_an_order(context: OrderContext, said: str) -> None:
    quantity = "6" if "notional" in said else "4"
    shown = refused(intent(quantity), context)
    assert said.split(" ")[0] in shown
    assert said in shown.replace("600.00", "600").replace("500.0", "500").replace("99.00", "99")
    assert approve(intent("4"), LIMITED)
    assert approve(intent("-4"), replace(context, held=Decimal(5)))


def test_a_limit_order_is_measured_by_its_own_price() -> None:
    limit = replace(intent("1"), kind=OrderKind.LIMIT, price=Decimal(90))
    assert "10.0% away" in refused(limit, LIMITED)
    assert approve(replace(limit, price=Decimal(96)), LIMITED)


def test_the_margin_of_a_reversal_counts_what_the_closed_side_frees() -> None:
    context = replace(FLAT, held=Decimal(-5), available=Decimal(0), leverage=1)
    assert approve(intent("10"), context)
    assert "needs 100.00 of margin" in refused(intent("11"), context)
