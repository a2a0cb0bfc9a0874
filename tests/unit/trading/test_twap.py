"""Slices of a large order: they add up, fit the venue, come in time, and have names of their own."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.decision import Action
from shared.domain.money import SymbolRules
from shared.domain.orders import OrderIntent, OrderKind
from shared.trading.execution_params import ExecutionParams
from shared.trading.legs import leg_order, plan_orders
from shared.trading.twap import slices

RULES = SymbolRules("BTCUSDT", Decimal("0.10"), Decimal("0.001"), Decimal("0.001"), Decimal(1000), Decimal(100))
PARAMS = ExecutionParams()
NOW_MS = 1_000_000


def order(quantity: str, *, reduce_only: bool = False) -> OrderIntent:
    return leg_order("b", "d", "market", "BTCUSDT", Decimal(quantity), NOW_MS, reduce_only=reduce_only)


def cut(quantity: str, latest_ms: int = NOW_MS + 900_000, params: ExecutionParams = PARAMS) -> tuple[OrderIntent, ...]:
    return slices(order(quantity), RULES, Decimal(quantity) * 50_000, params, latest_ms)


def test_an_order_up_to_the_limit_stays_whole() -> None:
    assert cut("1") == (order("1"),)
    assert cut("1.001") != (order("1.001"),)


def test_zero_switches_slicing_off() -> None:
    assert len(cut("100", params=ExecutionParams(twap_notional=0.0))) == 1


def test_a_large_order_becomes_five_slices_over_a_minute() -> None:
    parts = cut("2.002")
    assert [part.leg for part in parts] == ["slice1", "slice2", "slice3", "slice4", "slice5"]
    assert [part.quantity for part in parts] == [Decimal(text) for text in ("0.401", "0.401", "0.400", "0.400", "0.400")]
    assert [part.due_ms for part in parts] == [0, NOW_MS + 15_000, NOW_MS + 30_000, NOW_MS + 45_000, NOW_MS + 60_000]
    assert len({part.client_id for part in parts}) == 5


def test_slices_end_with_the_life_of_their_decision() -> None:
    assert [part.due_ms - NOW_MS for part in cut("2", NOW_MS + 8_000)[1:]] == [2000, 4000, 6000, 8000]
    assert len(cut("2", NOW_MS - 1)) == 1


def test_a_sliced_plan_names_its_stop_price_and_leaves_the_stop_to_what_is_filled() -> None:
    result = plan_orders(
        book="b",
        decision="d",
        rules=RULES,
        held=Decimal(0),
        target_fraction=0.5,
        equity=Decimal(1_000_000),
        price=50_000.0,
        stop_distance=0.02,
        now_ms=NOW_MS,
        latest_ms=NOW_MS + 900_000,
        params=PARAMS,
    )
    assert (result.action, result.stop_price) == (Action.OPEN, 49_000.0)
    assert {intent.kind for intent in result.intents} == {OrderKind.MARKET}
    assert sum(intent.quantity for intent in result.intents) == 10


@given(
    st.decimals(min_value="0.001", max_value=900, places=3),
    st.integers(min_value=2, max_value=60),
    st.floats(min_value=1.0, max_value=3600.0),
    st.integers(min_value=-10_000, max_value=3_000_000),
    st.booleans(),
)
def test_slices_add_up_fit_the_grid_and_come_in_order(
    quantity: Decimal, count: int, seconds: float, life_ms: int, reduce_only: bool
) -> None:
    whole = order(str(quantity), reduce_only=reduce_only)
    params = ExecutionParams(twap_slices=count, twap_seconds=seconds)
    parts = slices(whole, RULES, quantity * 50_000, params, NOW_MS + life_ms)
    assert sum(part.quantity for part in parts) == quantity
    assert all(RULES.quantity(part.quantity) == part.quantity for part in parts)
    assert all(part.reduce_only == reduce_only and part.side is whole.side for part in parts)
    if len(parts) > 1:
        assert [part.due_ms for part in parts] == sorted(part.due_ms for part in parts)
        assert parts[-1].due_ms <= NOW_MS + min(life_ms, round(seconds * 1000))
        assert max(part.quantity for part in parts) - min(part.quantity for part in parts) <= RULES.step
        assert reduce_only or min(part.quantity for part in parts) * 50_000 >= RULES.min_notional
