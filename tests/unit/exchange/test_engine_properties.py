"""What holds after any sequence of commands: the wallet's identity, position = sum of fills, no hidden state."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudrun.exchange.refusal import Refusal
from shared.backtest.params import CostParams

SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
COMMANDS = st.lists(
    st.tuples(
        st.sampled_from(["market", "limit", "stop", "reduce", "advance", "advance", "cancel_all"]),
        st.sampled_from(["BUY", "SELL"]),
        st.sampled_from(["BTCUSDT", "ETHUSDT"]),
        st.integers(1, 400),
        st.integers(-30, 30),
    ),
    max_size=40,
)


def run(engine, commands):
    for kind, side, symbol, size, offset in commands:
        price = engine.core.price(symbol)
        level = str((price * (1 + Decimal(offset) / 1000)).quantize(Decimal("0.1")))
        order = {"symbol": symbol, "side": side, "type": "MARKET", "quantity": f"{size / 1000:.3f}"}
        parameters = {
            "market": ("order", order),
            "reduce": ("order", {**order, "reduceOnly": "true"}),
            "limit": ("order", {**order, "type": "LIMIT", "price": level, "timeInForce": "GTC"}),
            "stop": ("algo", {**order, "type": "STOP_MARKET", "algoType": "CONDITIONAL", "triggerPrice": level}),
            "advance": ("advance", {"to_ms": str(engine.now_ms + size * 20_000)}),
            "cancel_all": ("cancel_all", {"symbol": symbol}),
        }
        command, sent = parameters[kind]
        with suppress(Refusal):
            engine.execute(command, sent)


@SETTINGS
@given(seed=st.integers(0, 10_000), commands=COMMANDS)
def test_wallet_change_is_exactly_realised_plus_fees_plus_funding(bench, seed, commands):
    engine = bench.engine(bench.walk(seed), CostParams())
    run(engine, commands)
    account = engine.core.account
    assert account.wallet - account.capital == sum((row.amount for row in account.income), Decimal(0))
    for symbol, position in account.positions.items():
        trades = [trade for trade in account.trades if trade.symbol == symbol]
        assert position.quantity == sum((t.sign * t.quantity for t in trades), Decimal(0))
        paid = sum((t.sign * t.quantity * t.price for t in trades), Decimal(0))
        assert position.cost == paid + sum((t.realised for t in trades), Decimal(0))
    for order in account.orders.values():
        filled = sum((t.quantity for t in account.trades if t.order_id == order.id), Decimal(0))
        assert order.executed == filled <= order.quantity
        assert order.is_open == (order.id in account.open_orders)


@SETTINGS
@given(seed=st.integers(0, 10_000), commands=COMMANDS)
def test_the_same_commands_give_the_same_account(bench, seed, commands):
    market = bench.walk(seed)
    first, second = bench.engine(market, CostParams()), bench.engine(market, CostParams())
    run(first, commands)
    run(second, commands)
    assert first.core.account == second.core.account


@SETTINGS
@given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(0, 20), max_size=6))
def test_whole_bars_may_be_advanced_one_by_one_or_at_once(bench, requests, seed, cuts):
    market = bench.walk(seed)
    engines = [bench.engine(market, CostParams()) for _ in range(2)]
    for engine in engines:
        engine.execute("order", requests.market("BUY", "0.1"))
        price = engine.core.price("BTCUSDT")
        stop = str((price * Decimal("0.97")).quantize(Decimal("0.1")))
        engine.execute("algo", requests.stop("SELL", stop, "0.1", reduceOnly="true"))
    engines[0].execute("advance", bench.at(20))
    for hours in sorted({*cuts, 20}):
        engines[1].execute("advance", bench.at(hours))
    assert engines[0].core.account == engines[1].core.account


@SETTINGS
@given(seed=st.integers(0, 10_000), minutes=st.integers(0, 600))
def test_what_is_served_at_a_time_does_not_depend_on_later_bars(bench, seed, minutes):
    whole = bench.walk(seed, bars=20, symbols=("BTCUSDT",)).symbols["BTCUSDT"]
    now_ms = bench.start_ms + minutes * 60_000
    row = whole.row_at(now_ms)
    other = bench.walk(seed + 1, bars=20, symbols=("BTCUSDT",)).symbols["BTCUSDT"]
    for name in ("_open", "_high", "_low", "_close", "_volume"):
        setattr(other, name, getattr(whole, name)[: row + 1] + getattr(other, name)[row + 1 :])
    assert whole.price(now_ms) == other.price(now_ms)
    assert whole.open_bar(now_ms) == other.open_bar(now_ms)
    assert whole.traded_notional(now_ms) == other.traded_notional(now_ms)
