"""Positions and trades are folds of fills: however the fills are grouped, and whatever they are."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.sql.round_trips import Holding, fill_key, fold
from shared.domain.money import ZERO
from shared.domain.orders import Fill, Position, Side

_FLAT = Holding(Position("BTCUSDT"))
_TINY = Decimal("1e-15")


def fill(n: int, signed: Decimal, price: Decimal, fee: Decimal) -> Fill:
    return Fill("BTCUSDT", str(n), f"o-{n}", "1", Side.of(signed), abs(signed), price, fee, 1000 + n // 2)


_QUANTITIES = st.integers(-5, 5).filter(bool).map(lambda n: Decimal(n) / 10)
_PRICES = st.decimals("0.01", "100000", places=2)
_FEES = st.decimals("-1", "5", places=8)


@st.composite
def histories(draw: st.DrawFn) -> list[Fill]:
    values = draw(st.lists(st.tuples(_QUANTITIES, _PRICES, _FEES), max_size=30))
    return [fill(n, *value) for n, value in enumerate(values, start=8)]


@given(histories())
def test_the_position_is_the_sum_of_its_fills(fills: list[Fill]) -> None:
    holding, _ = fold("b", _FLAT, fills)
    assert holding.position == reduce(Position.after, fills, _FLAT.position)
    assert holding.position.quantity == sum((f.signed_quantity for f in fills), ZERO)


@given(histories(), st.integers(0, 30))
def test_folding_in_two_parts_is_folding_at_once(fills: list[Fill], cut: int) -> None:
    whole, closed = fold("b", _FLAT, fills)
    first, early = fold("b", _FLAT, fills[:cut])
    second, late = fold("b", first, fills[cut:])
    assert (second, early + late) == (whole, closed)


@given(histories())
def test_a_trip_lasts_exactly_while_something_is_held(fills: list[Fill]) -> None:
    holding, closed = fold("b", _FLAT, fills)
    assert (holding.trip is None) == (holding.position.quantity == 0)
    assert all(trip.entry_quantity == trip.exit_quantity >= trip.quantity > 0 for trip in closed)
    assert len({trip.id for trip in closed}) == len(closed)
    if holding.trip is not None:
        held = holding.trip.entry_quantity - holding.trip.exit_quantity
        assert held == abs(holding.position.quantity)
        assert holding.trip.side == ("long" if holding.position.quantity > 0 else "short")


@given(histories())
def test_profits_of_trades_are_realised_profit_minus_fees(fills: list[Fill]) -> None:
    held = sum((f.signed_quantity for f in fills), ZERO)
    if held:
        fills = [*fills, fill(99, -held, Decimal(100), Decimal("0.1"))]
    holding, closed = fold("b", _FLAT, fills)
    assert abs(sum((trip.fees for trip in closed), ZERO) - holding.position.fees) < _TINY
    assert abs(sum((trip.profit for trip in closed), ZERO) - (holding.position.realised - holding.position.fees)) < _TINY


def test_fills_of_one_millisecond_follow_their_counter() -> None:
    fills = [replace(fill(n, Decimal(1), Decimal(1), ZERO), time_ms=7) for n in (100, 11, 10, 9, 8)]
    assert [f.trade_id for f in sorted(fills, key=fill_key)] == ["8", "9", "10", "11", "100"]
