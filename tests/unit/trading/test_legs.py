from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.decision import Action
from shared.domain.money import SymbolRules
from shared.domain.orders import OrderKind
from shared.trading.legs import Plan, plan_orders

RULES = SymbolRules("BTCUSDT", Decimal("0.10"), Decimal("0.001"), Decimal("0.001"), Decimal(1000), Decimal(100))
PRICE = 50_000.0


def plan(held: str, target: float, *, equity: str = "10000", stop: float = 0.02, price: float = PRICE) -> Plan:
    return plan_orders(
        book="b",
        decision="d",
        rules=RULES,
        held=Decimal(held),
        target_fraction=target,
        equity=Decimal(equity),
        price=price,
        stop_distance=stop,
        now_ms=0,
    )


@pytest.mark.parametrize(
    ("held", "target", "action", "signed", "final"),
    [
        ("0", 0.5, Action.OPEN, "0.100", "0.100"),
        ("0", -0.5, Action.OPEN, "-0.100", "-0.100"),
        ("0.1", 0.75, Action.INCREASE, "0.050", "0.150"),
        ("0.1", 0.25, Action.REDUCE, "-0.050", "0.050"),
        ("0.1", 0.0, Action.CLOSE, "-0.100", "0"),
        ("0.1", -0.5, Action.REVERSE, "-0.200", "-0.100"),
        ("-0.1", 0.5, Action.REVERSE, "0.200", "0.100"),
    ],
)
def test_one_market_leg_carries_the_whole_difference(held: str, target: float, action: Action, signed: str, final: str) -> None:
    result = plan(held, target)
    market = result.intents[0]
    assert result.action is action
    assert market.kind is OrderKind.MARKET
    assert market.quantity * market.side.sign == Decimal(signed)
    stops = result.intents[1:]
    assert [stop.quantity * -stop.side.sign for stop in stops] == ([Decimal(final)] if Decimal(final) else [])


def test_the_stop_rests_on_the_losing_side_reduce_only_and_on_the_tick() -> None:
    long_stop = plan("0", 0.5).intents[1]
    short_stop = plan("0", -0.5).intents[1]
    assert (long_stop.stop_price, short_stop.stop_price) == (Decimal("49000.0"), Decimal("51000.0"))
    assert long_stop.reduce_only
    assert short_stop.reduce_only


@pytest.mark.parametrize(
    ("held", "target", "only_reduces"),
    [
        ("0", 0.5, False),
        ("0.1", 0.75, False),
        ("0.1", 0.49, True),
        ("0.001", 0.0, True),
        ("-0.1", 0.0, True),
        ("0.1", -0.5, False),
    ],
)
def test_a_market_leg_that_only_shrinks_the_position_says_so_and_so_passes_the_minimum_notional(
    held: str, target: float, only_reduces: bool
) -> None:
    assert plan(held, target).intents[0].reduce_only is only_reduces


def test_nothing_to_do_orders_nothing() -> None:
    assert plan("0.1", 0.5) == Plan(Action.HOLD, (), None)
    assert plan("0", 0.0) == Plan(Action.HOLD, (), None)


def test_a_change_below_the_minimum_notional_is_not_ordered_and_says_so() -> None:
    small = plan("0", 0.009)
    assert small.action is Action.HOLD
    assert small.intents == ()
    assert "below what the venue accepts" in small.note


def test_a_position_below_the_minimum_notional_can_still_be_closed() -> None:
    assert plan("0.001", 0.0).action is Action.CLOSE


@given(
    st.decimals(min_value=-1, max_value=1, places=3),
    st.floats(min_value=-2, max_value=2),
    st.floats(min_value=1_000, max_value=200_000),
)
def test_the_plan_never_overshoots_the_target(held: Decimal, target: float, price: float) -> None:
    result = plan(str(held), target, price=price)
    change = sum((i.quantity * i.side.sign for i in result.intents if i.kind is OrderKind.MARKET), Decimal(0))
    final = held + change
    wanted = Decimal(repr(10_000 * target / price))
    assert min(held, wanted, Decimal(0)) <= final <= max(held, wanted, Decimal(0))
    ids = [intent.client_id for intent in result.intents]
    assert len(set(ids)) == len(ids)
