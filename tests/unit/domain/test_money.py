from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import MalformedData
from shared.domain.money import SymbolRules, to_decimal

RULES = SymbolRules(
    symbol="BTCUSDT",
    tick=Decimal("0.10"),
    step=Decimal("0.001"),
    min_quantity=Decimal("0.001"),
    max_quantity=Decimal(1000),
    min_notional=Decimal(100),
)


@given(st.floats(min_value=0.1, max_value=1e6, allow_nan=False))
def test_prices_land_on_the_tick_and_on_the_side_asked_for(price: float) -> None:
    below, nearest, above = RULES.price_below(price), RULES.price(price), RULES.price_above(price)
    assert below <= Decimal(repr(price)) <= above
    assert nearest in (below, above)
    assert all(value % RULES.tick == 0 for value in (below, nearest, above))


@given(st.floats(min_value=-2000, max_value=2000, allow_nan=False))
def test_quantities_are_never_rounded_away_from_zero(size: float) -> None:
    quantity = RULES.quantity(size)
    assert abs(quantity) <= abs(to_decimal(size))
    assert abs(quantity) <= RULES.max_quantity
    assert quantity % RULES.step == 0
    assert quantity == 0 or (quantity > 0) == (size > 0)


def test_a_size_below_the_minimum_is_nothing() -> None:
    assert RULES.quantity(0.00099) == 0
    assert RULES.quantity(-0.001) == Decimal("-0.001")


def test_a_float_becomes_the_decimal_that_it_prints_as() -> None:
    assert to_decimal(0.1) == Decimal("0.1")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "Infinity"])
def test_what_is_not_finite_is_no_money(value: float | str) -> None:
    with pytest.raises(MalformedData, match="not a finite amount"):
        to_decimal(value)
