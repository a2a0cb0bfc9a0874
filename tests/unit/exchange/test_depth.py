"""A market that is not infinitely deep: market orders fill in parts, second by second, and their rest expires."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrun.exchange.depth import Depth
from cloudrun.exchange.engine import Engine, EngineConfig
from cloudrun.exchange.market import Market
from shared.domain.candles import Candles
from shared.domain.interval import Interval, parse_date_ms

START_MS = parse_date_ms("2025-07-01")
MINUTE_MS = 60_000
BUY = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.100", "newClientOrderId": "a"}


def engine_of(depth: Depth | None) -> Engine:
    rows = [[float(START_MS + i * MINUTE_MS), 60_000.0, 60_010.0, 59_990.0, 60_000.0, 100.0] for i in range(10)]
    market = Market({"BTCUSDT": Candles.from_rows(Interval.M1, rows)})
    return Engine(market, EngineConfig(START_MS, depth=depth))


def after(engine: Engine, seconds: float) -> Engine:
    engine.execute("advance", {"to_ms": str(START_MS + round(seconds * 1000))})
    return engine


def test_without_a_depth_everything_fills_at_once():
    reply = engine_of(None).execute("order", BUY)
    assert (reply["status"], reply["executedQty"]) == ("FILLED", "0.1")


def test_the_rest_fills_second_by_second():
    engine = engine_of(Depth(Decimal(1200)))
    reply = engine.execute("order", BUY)
    assert (reply["status"], reply["executedQty"]) == ("PARTIALLY_FILLED", "0.019")
    after(engine, 2.5)
    assert engine.core.account.positions["BTCUSDT"].quantity == Decimal("0.059")
    after(engine, 9.0)
    assert engine.core.account.positions["BTCUSDT"].quantity == Decimal("0.100")
    assert not engine.core.account.open_orders


def test_what_is_left_at_the_end_of_its_life_expires():
    engine = engine_of(Depth(Decimal(110)))
    engine.execute("order", BUY)
    after(engine, 30.0)
    order = engine.core.account.orders[engine.core.account.by_client["a"]]
    assert order.status == "EXPIRED"
    assert order.executed == engine.core.account.positions["BTCUSDT"].quantity == Decimal("0.011")


def test_a_reduce_only_rest_never_turns_the_position():
    engine = engine_of(Depth(Decimal(1200)))
    engine.execute("order", BUY)
    after(engine, 8.0)
    engine.execute("order", {**BUY, "side": "SELL", "reduceOnly": "true", "newClientOrderId": "b"})
    engine.execute("order", {**BUY, "side": "SELL", "quantity": "0.090", "newClientOrderId": "c"})
    after(engine, 20.0)
    held = engine.core.account.positions["BTCUSDT"].quantity
    sold = engine.core.account.orders[engine.core.account.by_client["b"]].executed
    assert held <= 0
    assert sold <= Decimal("0.100")


def test_a_triggered_stop_fills_in_parts_as_well():
    engine = engine_of(Depth(Decimal(1200)))
    engine.execute("order", BUY)
    after(engine, 8.0)
    stop = {"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "algoType": "CONDITIONAL", "quantity": "0.100"}
    engine.execute("algo", {**stop, "triggerPrice": "59995", "reduceOnly": "true", "clientAlgoId": "s"})
    after(engine, 61.0)
    assert engine.core.account.algos[engine.core.account.algo_by_client["s"]].status == "FINISHED"
    assert 0 < engine.core.account.positions["BTCUSDT"].quantity < Decimal("0.100")


@given(st.lists(st.integers(1, 4_000), min_size=1, max_size=12))
def test_how_time_is_cut_does_not_change_what_is_filled(pieces: list[int]):
    whole, cut = engine_of(Depth(Decimal(950))), engine_of(Depth(Decimal(950)))
    for engine in (whole, cut):
        engine.execute("order", BUY)
    at_ms = START_MS
    for piece in pieces:
        at_ms += piece
        cut.execute("advance", {"to_ms": str(at_ms)})
    whole.execute("advance", {"to_ms": str(at_ms)})
    assert cut.core.account.positions["BTCUSDT"].quantity == whole.core.account.positions["BTCUSDT"].quantity


def test_depth_is_part_of_the_journal_header_only_where_it_is_set():
    assert "depth" not in EngineConfig(START_MS).as_json()
    assert EngineConfig(START_MS, depth=Depth(Decimal(5))).as_json()["depth"] == {"notional": "5", "life_ms": 10_000}


@pytest.mark.parametrize(("start_ms", "end_ms", "helpings"), [(0, 999, 0), (0, 1000, 1), (500, 2500, 2), (9_500, 20_000, 1)])
def test_helpings_are_counted_by_whole_seconds_of_an_orders_life(start_ms: int, end_ms: int, helpings: int):
    assert Depth(Decimal(1)).helpings(0, start_ms, end_ms) == helpings
