"""The paper exchange's answers have the keys and types of the recorded ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cloudrun.exchange import account_data, payloads, public_data
from cloudrun.exchange.klines import Klines

PAYLOADS = Path(__file__).resolve().parents[4] / "shared" / "data" / "binance_payloads"

# Fields of other products, and those that no client of one-way cross margin reads.
UNUSED = {"activatePrice", "callbackRate", "priceRate", "pair", "icebergQuantity"}


@pytest.fixture(scope="module")
def samples() -> dict[str, Any]:
    if not PAYLOADS.is_dir():
        pytest.skip("the recorded payloads are not beside the repository")
    rows = json.loads((PAYLOADS / "rest_samples.json").read_text())["responses"]
    return {name.removeprefix("UsdFutures/"): row["response"] for name, row in rows.items() if name.startswith("UsdFutures/")}


@pytest.fixture
def engine(bench, requests):
    made = bench.engine(bench.market([(100.0, 101.0, 99.0, 100.0)] * 20, funding=[(1, 0.0001)]))
    made.execute("order", requests.market("BUY", "2"))
    made.execute("order", requests.limit("BUY", "90", "2"))
    made.execute("algo", requests.stop("SELL", "80", reduceOnly="true"))
    made.execute("advance", bench.at(2))
    return made


def check(ours: Any, recorded: Any, where: str = "answer") -> None:
    """`ours` has every key of `recorded`, with the same kind of value."""
    if isinstance(recorded, dict):
        assert isinstance(ours, dict), where
        missing = set(recorded) - set(ours) - UNUSED
        assert not missing, f"{where} lacks {missing}"
        for name in set(recorded) & set(ours):
            check(ours[name], recorded[name], f"{where}.{name}")
    elif isinstance(recorded, list):
        assert isinstance(ours, list), where
        if ours and recorded:
            check(ours[0], recorded[0], f"{where}[0]")
    elif recorded is not None and where.rpartition(".")[2] not in {"tradeId", "tranId", "autoAssetExchange"}:
        kinds = (type(ours), type(recorded))
        assert kinds[0] is kinds[1] or set(kinds) <= {int, float}, f"{where}: {ours!r} is not like {recorded!r}"


def test_account_answers(engine, samples):
    core = engine.core
    check(payloads.account(core, everything=True), samples["Account/GetAccountInfo"])
    check(payloads.account(core, everything=False), samples["Account/GetAccountInfoV3"])
    check(payloads.balance(core), samples["Account/GetBalances"])
    check(account_data.positions(core, {}, everything=True), samples["Account/GetPositionInformation"])
    check(account_data.positions(core, {}, everything=False), samples["Trading/GetPositions"])
    check(account_data.symbol_config(core, {}), samples["Account/GetSymbolConfiguration"])
    check(account_data.leverage_brackets(core, {}), samples["Account/GetBrackets"])
    check(account_data.commission_rate(core, {"symbol": "BTCUSDT"}), samples["Account/GetUserCommissionRate"])
    check(account_data.income(core, {}), samples["Account/GetIncomeHistory"])


def test_order_answers(engine, samples):
    core = engine.core
    named = {"symbol": "BTCUSDT"}
    check(account_data.all_orders(core, named), samples["Trading/GetOrders"])
    check(account_data.open_orders(core, named), samples["Trading/GetOpenOrders"])
    check(account_data.all_orders(core, named)[0], samples["Trading/PlaceOrder"])
    check(account_data.open_algo_orders(core, named), samples["Trading/GetOpenConditionalOrders"])
    check(account_data.all_algo_orders(core, named), samples["Trading/GetConditionalOrders"])
    check(account_data.all_algo_orders(core, named)[0], samples["Trading/PlaceConditionalOrder"])
    check(account_data.user_trades(core, named), samples["Trading/GetUserTrades"])


def test_market_answers(engine, samples):
    core = engine.core
    market = core.market.symbols["BTCUSDT"]
    check(public_data.exchange_info(core, 2400), samples["ExchangeData/GetExchangeInfo"])
    check(public_data.book_ticker(core, market), samples["ExchangeData/GetBookPrice"])
    check(public_data.depth(core, market, {}), samples["ExchangeData/GetOrderBook"])
    check(public_data.price_ticker(core, market), samples["ExchangeData/GetPrice"])
    check(public_data.premium_index(core, market), samples["ExchangeData/GetMarkPrice"])
    check(public_data.funding_rates(core, market, {}), samples["ExchangeData/GetFundingRates"])
    check(public_data.funding_info(core), samples["ExchangeData/GetFundingInfo"])
    row = Klines(core.market).rows(market, {"interval": "1h"}, engine.now_ms)[0]
    assert [type(value) for value in row] == [type(value) for value in samples["ExchangeData/GetKlines"][0]]


def test_exchange_info_has_the_filters_of_the_recorded_one(engine):
    if not PAYLOADS.is_dir():
        pytest.skip("the recorded payloads are not beside the repository")
    recorded = json.loads((PAYLOADS / "usdm_exchange_info_2025-12-24.json").read_text())
    theirs = next(row for row in recorded["symbols"] if row["symbol"] == "BTCUSDT")
    ours = public_data.exchange_info(engine.core, 2400)["symbols"][0]
    check(ours, theirs)
    for filters in (ours["filters"], theirs["filters"]):
        filters.sort(key=lambda row: row["filterType"])
    our_filters = {row["filterType"]: row for row in ours["filters"]}
    for row in theirs["filters"]:
        if row["filterType"] in our_filters:
            check(our_filters[row["filterType"]], row, row["filterType"])
    assert float(our_filters["PRICE_FILTER"]["tickSize"]) == 0.1


def test_user_stream_events(bench, requests, samples):
    made = bench.engine(bench.market([(100.0, 101.0, 90.0, 100.0)] * 3))
    made.execute("order", requests.market("BUY"))
    made.execute("algo", requests.stop("SELL", "95", reduceOnly="true"))
    made.execute("advance", bench.at(1))
    events = made.take_events()
    recorded: dict[str, Any] = {}
    for scenario in json.loads((PAYLOADS / "usdm_ws_user_stream_recorded.json").read_text()):
        for message in scenario["messages"]:
            recorded[message["e"]] = message
    shapes = json.loads((PAYLOADS / "ws_stream_samples.json").read_text())["messages"]
    recorded["ALGO_UPDATE"] = shapes["UsdFutures/AlgoOrderUpdate"]["data"]
    assert {event["e"] for event in events} == {"ORDER_TRADE_UPDATE", "TRADE_LITE", "ACCOUNT_UPDATE", "ALGO_UPDATE"}
    for event in events:
        if event["e"] != "ACCOUNT_UPDATE" or event["a"]["m"] == "ORDER":
            known = {name: value for name, value in recorded[event["e"]].items() if name != "fs"}
            check(event, known, event["e"])
