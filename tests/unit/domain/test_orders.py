from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import MalformedData
from shared.domain.orders import Fill, OrderIntent, OrderKind, OrderRecord, OrderReport, OrderState, Position, Side

INTENT = OrderIntent("c-1", "book", "d-1", "market", "BTCUSDT", Side.BUY, OrderKind.MARKET, Decimal(1), 0)
FINAL = [state for state in OrderState if state.is_final]

fills = st.builds(
    Fill,
    symbol=st.just("BTCUSDT"),
    trade_id=st.uuids().map(str),
    client_id=st.none(),
    venue_order_id=st.just("1"),
    side=st.sampled_from(Side),
    quantity=st.decimals(min_value="0.001", max_value=5, places=3),
    price=st.decimals(min_value=1, max_value=100_000, places=2),
    fee=st.decimals(min_value=0, max_value=5, places=4),
    time_ms=st.integers(0, 10**12),
)


@given(st.lists(fills, max_size=30), st.decimals(min_value=1, max_value=100_000, places=2))
def test_a_position_is_worth_exactly_what_its_fills_exchanged(history: list[Fill], mark: Decimal) -> None:
    position = Position("BTCUSDT")
    for fill in history:
        position = position.after(fill)
    cash = sum((-fill.signed_quantity * fill.price for fill in history), Decimal(0))
    assert position.quantity == sum((fill.signed_quantity for fill in history), Decimal(0))
    assert position.fees == sum((fill.fee for fill in history), Decimal(0))
    worth = position.realised + position.unrealised(mark)
    assert abs(worth - (cash + position.quantity * mark)) < Decimal("1e-15") * (1 + abs(cash) + abs(position.quantity * mark))


def test_average_entry_changes_only_when_the_position_grows_or_turns() -> None:
    def trade(position: Position, side: Side, quantity: int, price: int) -> Position:
        return position.after(
            Fill("BTCUSDT", "1", None, "1", side, Decimal(quantity), Decimal(price), fee=Decimal(0), time_ms=0)
        )

    position = trade(trade(Position("BTCUSDT"), Side.BUY, 1, 100), Side.BUY, 1, 110)
    assert position.entry_price == 105
    position = trade(position, Side.SELL, 1, 120)
    assert (position.entry_price, position.realised) == (105, 15)
    position = trade(position, Side.SELL, 3, 90)
    assert (position.quantity, position.entry_price, position.realised) == (-2, 90, 0)


@given(st.lists(st.tuples(st.sampled_from(OrderState), st.decimals(0, 1, places=2)), max_size=12))
def test_states_only_move_forward_and_filled_only_grows(messages: list[tuple[OrderState, Decimal]]) -> None:
    record = OrderRecord(INTENT, OrderState.INTENT)
    for state, filled in messages:
        later = record.advanced(OrderReport("c-1", "BTCUSDT", state, filled))
        assert later.state.rank >= record.state.rank
        assert later.filled >= record.filled
        if record.state.is_final:
            assert later.state is record.state
        record = later


def test_a_late_ack_does_not_reopen_a_filled_order() -> None:
    filled = OrderRecord(INTENT, OrderState.FILLED, Decimal(1))
    assert filled.advanced(OrderReport("c-1", "BTCUSDT", OrderState.OPEN, Decimal(0))) == filled


@pytest.mark.parametrize(
    "change",
    [
        {"quantity": Decimal(0)},
        {"price": Decimal(1)},
        {"kind": OrderKind.LIMIT},
        {"kind": OrderKind.STOP},
        {"stop_price": Decimal(1)},
    ],
)
def test_a_contradictory_intent_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(MalformedData):
        replace(INTENT, **change)  # type: ignore[arg-type]
