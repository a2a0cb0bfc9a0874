"""Fills, stops, funding and liquidation of the paper exchange, by hand-computed numbers."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cloudrun.exchange.engine import Engine, EngineConfig
from shared.backtest.params import CostParams
from shared.domain.errors import ConfigError

FLAT = [(100.0, 101.0, 99.0, 100.0)] * 5


def position(engine, symbol="BTCUSDT"):
    return engine.core.account.positions[symbol]


def test_a_market_order_fills_at_the_open_of_the_bar_that_opens_now(bench, requests):
    engine = bench.engine(bench.market([(100, 110, 90, 105), (106, 120, 100, 110)]))
    engine.execute("advance", bench.at(1))
    reply = engine.execute("order", requests.market("BUY"))
    assert (reply["status"], reply["avgPrice"], reply["executedQty"]) == ("FILLED", "106", "1")


def test_a_taker_pays_half_spread_impact_and_fee(bench, requests):
    costs = CostParams(5.0, 2.0, 10.0, 100.0, 100.0, 0.0, 0.0)
    engine = bench.engine(bench.market([(100, 100, 100, 100)] * 3), costs)
    engine.execute("advance", bench.at(1))
    # 10 of 1000 units traded in the last bar: impact 100 * sqrt(0.01) = 10 bps, with the spread 20 bps
    reply = engine.execute("order", requests.market("BUY", "10"))
    assert reply["avgPrice"] == "100.2"
    assert engine.core.account.trades[0].commission == Decimal("0.50100000")
    assert engine.core.account.wallet == Decimal("9999.499")


def test_a_resting_limit_fills_as_maker_when_a_later_bar_trades_through(bench, requests):
    engine = bench.engine(bench.market([(100, 101, 98, 99), (99, 99, 96, 97), (97, 98, 96, 97)]))
    reply = engine.execute("order", requests.limit("BUY", "98", "2"))
    assert reply["status"] == "NEW"
    engine.execute("advance", bench.at(1))
    assert position(engine).quantity == 0  # touched, not traded through
    engine.execute("advance", bench.at(2))
    trade = engine.core.account.trades[0]
    assert (trade.price, trade.maker, trade.quantity) == (Decimal(98), True, Decimal(2))


def test_a_marketable_limit_fills_at_once_and_never_above_its_price(bench, requests):
    engine = bench.engine(bench.market(FLAT), CostParams(half_spread_bps=10, impact_bps=5000, max_impact_bps=5000))
    engine.execute("advance", bench.at(1))
    reply = engine.execute("order", requests.limit("BUY", "100.5", "10"))
    assert (reply["status"], reply["avgPrice"]) == ("FILLED", "100.5")


def test_time_in_force_decides_what_happens_to_a_limit_that_cannot_trade(bench, requests):
    engine = bench.engine(bench.market(FLAT))
    assert engine.execute("order", requests.limit("BUY", "90", "2", timeInForce="IOC"))["status"] == "EXPIRED"
    assert bench.refused(engine, "order", **requests.limit("BUY", "90", "2", timeInForce="FOK")) == -5021
    assert bench.refused(engine, "order", **requests.limit("BUY", "110", "2", timeInForce="GTX")) == -5022


def test_a_stop_inside_a_bar_fills_at_its_price_with_slippage(bench, requests):
    engine = bench.engine(bench.market([(100, 101, 90, 95), (95, 96, 94, 95)]), CostParams(0, 0, 0, 0, 0, 100, 0))
    engine.execute("order", requests.market("BUY"))
    engine.execute("algo", requests.stop("SELL", "96", reduceOnly="true", clientAlgoId="s1"))
    engine.execute("advance", bench.at(1))
    trade = engine.core.account.trades[-1]
    assert (trade.price, trade.realised) == (Decimal("95.0"), Decimal("-5.0"))  # 96 minus 1 %, on the tick below
    algo = engine.core.account.algos[engine.core.account.algo_by_client["s1"]]
    assert (algo.status, algo.order_id) == ("FINISHED", trade.order_id)


def test_a_bar_that_opens_beyond_the_stop_fills_at_the_open(bench, requests):
    engine = bench.engine(bench.market([(100, 101, 99, 100), (80, 85, 79, 84), (84, 85, 83, 84)]))
    engine.execute("order", requests.market("BUY"))
    engine.execute("algo", requests.stop("SELL", "95", reduceOnly="true"))
    engine.execute("advance", bench.at(2))
    assert engine.core.account.trades[-1].price == Decimal(80)


def test_stop_and_target_in_one_bar_count_as_the_stop(bench, requests):
    engine = bench.engine(bench.market([(100, 110, 90, 100), (100, 101, 99, 100)]))
    engine.execute("order", requests.market("BUY"))
    target = {**requests.stop("SELL", "108", closePosition="true"), "type": "TAKE_PROFIT_MARKET"}
    target.pop("quantity")
    engine.execute("algo", target)
    engine.execute("algo", requests.stop("SELL", "95", reduceOnly="true"))
    engine.execute("advance", bench.at(1))
    assert [trade.price for trade in engine.core.account.trades] == [Decimal(100), Decimal(95)]
    assert sorted(algo.status for algo in engine.core.account.algos.values()) == ["EXPIRED", "FINISHED"]


def test_a_triggered_reduce_only_stop_without_position_is_rejected_and_trades_nothing(bench, requests):
    engine = bench.engine(bench.market([(100, 101, 90, 95), (95, 96, 94, 95)]))
    engine.execute("algo", requests.stop("SELL", "96", reduceOnly="true"))
    engine.execute("advance", bench.at(1))
    assert [algo.status for algo in engine.core.account.algos.values()] == ["REJECTED"]
    assert engine.core.account.trades == []


@pytest.mark.parametrize(("side", "paid"), [("BUY", Decimal("-0.05")), ("SELL", Decimal("0.05"))])
def test_longs_pay_positive_funding_at_the_stamp(bench, requests, side, paid):
    engine = bench.engine(bench.market(FLAT, funding=[(0, 0.01), (2, 0.0005)]))
    engine.execute("order", requests.market(side))
    engine.execute("advance", bench.at(3))
    entries = [row for row in engine.core.account.income if row.kind == "FUNDING_FEE"]
    assert [(row.amount, row.time_ms) for row in entries] == [(paid, bench.start_ms + 2 * bench.hour_ms)]


def test_funding_follows_the_position_held_at_its_stamp_and_not_a_later_one(bench, requests):
    engine = bench.engine(bench.market(FLAT, funding=[(1, 0.0005)]))
    engine.execute("advance", bench.at(1))
    engine.execute("order", requests.market("BUY"))
    engine.execute("advance", bench.at(2))
    assert all(row.kind != "FUNDING_FEE" for row in engine.core.account.income)


def test_liquidation_at_maintenance_margin_closes_everything_and_says_autoclose(bench, requests):
    # 10 units at 100 with 100 of capital: equity meets 0.4 % maintenance where 100 + 10 (p - 100) = 0.04 p
    engine = bench.engine(bench.market([(100, 100, 80, 85), (85, 86, 84, 85)]), capital="100")
    engine.execute("order", requests.market("BUY", "10"))
    engine.execute("order", requests.limit("SELL", "200", "1", reduceOnly="true"))
    engine.execute("advance", bench.at(1))
    account = engine.core.account
    forced = list(account.orders.values())[-1]
    assert forced.client_id.startswith("autoclose-")
    assert (position(engine).quantity, account.open_orders) == (Decimal(0), {})
    assert forced.price == Decimal("90.3")  # 900 / 9.96 = 90.36, on the tick below
    assert account.wallet == Decimal("3.0")


def test_a_loss_beyond_the_wallet_is_the_insurance_funds(bench, requests):
    engine = bench.engine(bench.market([(100, 100, 99, 100), (50, 51, 49, 50), (50, 51, 49, 50)]), capital="100")
    engine.execute("order", requests.market("BUY", "10"))
    engine.execute("advance", bench.at(2))
    assert engine.core.account.wallet == 0
    assert engine.core.account.income[-1].kind == "INSURANCE_CLEAR"


@pytest.mark.parametrize(("side", "gap"), [("BUY", 40.0), ("SELL", 180.0)])
def test_a_bar_that_opens_beyond_the_margin_is_liquidated_before_the_next_order(bench, requests, side, gap):
    flat = (gap, gap, gap, gap)
    engine = bench.engine(bench.market([(100, 101, 99, 100), flat, flat, flat]), capital="1000")
    engine.execute("order", requests.market(side, "20"))
    engine.execute("advance", bench.at(1))
    account = engine.core.account
    assert (position(engine).quantity, account.wallet) == (Decimal(0), Decimal(0))
    assert list(account.orders.values())[-1].client_id.startswith("autoclose-")
    assert account.income[-1].kind == "INSURANCE_CLEAR"
    assert account.trades[-1].price == Decimal(repr(gap))


def test_a_debt_that_a_stop_leaves_is_the_insurance_funds(bench, requests):
    market = bench.market([(100, 100, 99, 100), (100, 100, 90, 92), (92, 92, 92, 92)])
    engine = bench.engine(market, CostParams(0, 0, 0, 0, 0, 1000, 0), capital="100")
    engine.execute("order", requests.market("BUY", "10"))
    engine.execute("algo", requests.stop("SELL", "95", "10", reduceOnly="true"))
    engine.execute("advance", bench.at(2))
    account = engine.core.account
    assert (account.wallet, account.income[-1].kind) == (Decimal(0), "INSURANCE_CLEAR")


def test_initial_margin_is_checked_against_equity_at_the_leverage_of_the_symbol(bench, requests):
    engine = bench.engine(bench.market(FLAT), capital="100")
    engine.execute("leverage", {"symbol": "BTCUSDT", "leverage": "2"})
    assert bench.refused(engine, "order", **requests.market("BUY", "2.1")) == -2019
    assert bench.refused(engine, "order", **requests.market("BUY", "2")) is None
    assert bench.refused(engine, "order", **requests.limit("BUY", "99", "1.1")) == -2019
    assert bench.refused(engine, "order", **requests.market("SELL", "4")) is None  # reverses to the same size


def test_reduce_only_never_opens_and_is_cut_to_the_position(bench, requests):
    engine = bench.engine(bench.market(FLAT))
    assert bench.refused(engine, "order", **requests.market("SELL", reduceOnly="true")) == -2022
    engine.execute("order", requests.market("BUY", "2"))
    assert bench.refused(engine, "order", **requests.market("BUY", reduceOnly="true")) == -2022
    assert engine.execute("order", requests.market("SELL", "5", reduceOnly="true"))["executedQty"] == "2"
    assert position(engine).quantity == 0


def test_a_client_id_cannot_trade_twice_within_a_day(bench, requests):
    engine = bench.engine(bench.market([(100, 101, 99, 100)] * 30))
    engine.execute("order", requests.market("BUY", newClientOrderId="once"))
    engine.execute("advance", bench.at(23))
    assert bench.refused(engine, "order", **requests.market("BUY", newClientOrderId="once")) == -4116
    assert bench.refused(engine, "algo", **requests.stop("SELL", "90", clientAlgoId="once")) == -4116
    engine.execute("advance", bench.at(24))
    assert bench.refused(engine, "order", **requests.market("BUY", newClientOrderId="once")) is None


def test_a_cancelled_order_is_unknown_to_a_second_cancel(bench, requests):
    engine = bench.engine(bench.market(FLAT))
    engine.execute("order", requests.limit("BUY", "90", "2", newClientOrderId="a"))
    named = {"symbol": "BTCUSDT", "origClientOrderId": "a"}
    assert engine.execute("cancel", named)["status"] == "CANCELED"
    assert bench.refused(engine, "cancel", **named) == -2011


def test_nothing_can_be_opened_after_the_symbols_last_bar(bench, requests):
    market = bench.market(FLAT)
    engine = bench.engine(market)
    assert bench.refused(engine, "advance", to_ms=market.end_ms + 1) == -1130
    engine.execute("advance", {"to_ms": str(market.end_ms)})
    assert engine.now_ms == market.end_ms


def test_the_user_stream_tells_a_fill_in_the_recorded_order(bench, requests):
    engine = bench.engine(bench.market(FLAT))
    engine.execute("order", requests.market("BUY"))
    kinds = [event["e"] for event in engine.take_events()]
    assert kinds == ["ORDER_TRADE_UPDATE", "TRADE_LITE", "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE"]


def test_a_start_outside_the_candles_is_refused_with_the_range(bench):
    market = bench.market(FLAT)
    with pytest.raises(ConfigError, match="2025-07-01 00:00 to 2025-07-01 05:00"):
        Engine(market, EngineConfig(start_ms=0))


def test_a_capital_that_is_not_positive_is_refused():
    with pytest.raises(ConfigError, match="positive amount"):
        EngineConfig(start_ms=0, capital=Decimal(0))
