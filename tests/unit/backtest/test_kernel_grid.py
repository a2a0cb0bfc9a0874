"""Rounding in floats against the Decimal rules of the live books."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.backtest.costs import venue_price
from shared.backtest.kernel_grid import against_taker, as_fraction, steps_reaching, steps_within
from shared.domain.money import SymbolRules

STEPS = [Decimal(text) for text in ("0.001", "0.10", "0.01", "1", "0.00001", "0.05", "0.25", "5")]
AMOUNTS = st.floats(0.0, 1e6)


def rules(step: Decimal) -> SymbolRules:
    return SymbolRules("X", step, step, step, Decimal(10**12), Decimal(0))


def near_the_grid(step: Decimal) -> st.SearchStrategy[float]:
    """Whole multiples of the step, and their neighbours in floating point."""
    on_grid = st.integers(1, 10**7).map(lambda k: float(k * step))
    return st.one_of(AMOUNTS, on_grid, on_grid.map(lambda x: x * (1 + 2**-52)), on_grid.map(lambda x: x * (1 - 2**-53)))


@pytest.mark.parametrize("step", STEPS, ids=str)
@given(data=st.data())
def test_sizes_and_stops_round_as_the_symbol_rules_do(step: Decimal, data: st.DataObject) -> None:
    value = data.draw(near_the_grid(step))
    numerator, denominator = as_fraction(step)
    exact = rules(step)
    assert steps_within(value, numerator, denominator) * numerator / denominator == float(exact.quantity(value))
    assert steps_within(value, numerator, denominator) * numerator / denominator == float(exact.price_below(value))
    assert steps_reaching(value, numerator, denominator) * numerator / denominator == float(exact.price_above(value))


@pytest.mark.parametrize("tick", STEPS, ids=str)
@given(ticks=st.integers(1, 10**6), bps=st.floats(0, 300).map(lambda x: round(x, 3)), sign=st.sampled_from([1, -1]))
def test_a_taker_pays_what_the_venue_asks(tick: Decimal, ticks: int, bps: float, sign: int) -> None:
    reference = ticks * tick
    slipped = float(reference) + sign * float(reference) * bps / 10_000
    assert against_taker(slipped, sign, *as_fraction(tick)) == float(venue_price(reference, sign, bps, tick))


def test_no_price_below_one_tick() -> None:
    assert against_taker(0.04, -1, *as_fraction(Decimal("0.1"))) == 0.1
