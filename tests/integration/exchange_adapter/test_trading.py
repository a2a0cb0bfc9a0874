from dataclasses import replace
from decimal import Decimal

import pytest

from shared.adapters.exchange import CcxtExchange
from shared.domain.errors import MalformedData, OutcomeUnknown, ReconciliationError, UsageError
from shared.domain.money import SymbolRules
from shared.domain.orders import OrderIntent, OrderKind, OrderState, Side
from shared.risk.approval import OrderContext, approve

RULES = SymbolRules("BTCUSDT", Decimal("0.1"), Decimal("0.001"), Decimal("0.001"), Decimal(100), Decimal(100))
CONTEXT = OrderContext(RULES, Decimal(0), Decimal(50_000), Decimal(1_000_000), Decimal(5))
T0 = 1_735_689_600_000
DAY_MS = 86_400_000


def intent(kind=OrderKind.MARKET, quantity="0.120", **fields) -> OrderIntent:
    fields = {"client_id": "oabc-entry-1", "side": Side.BUY} | fields
    return OrderIntent(
        book="b", decision_id="d", leg="entry", symbol="BTCUSDT", kind=kind, quantity=Decimal(quantity), created_ms=T0, **fields
    )


def approved(order: OrderIntent):
    held = -order.quantity * order.side.sign if order.kind is OrderKind.STOP else Decimal(0)
    return approve(order, replace(CONTEXT, held=held))


def order_body(**fields) -> dict:
    return {
        "orderId": 22542179,
        "symbol": "BTCUSDT",
        "status": "FILLED",
        "clientOrderId": "oabc-entry-1",
        "price": "0",
        "avgPrice": "50000.10000",
        "origQty": "0.120",
        "executedQty": "0.120",
        "cumQuote": "6000.012",
        "type": "MARKET",
        "origType": "MARKET",
        "side": "BUY",
        "updateTime": T0 + 5,
    } | fields


def stop_body(**fields) -> dict:
    return {
        "algoId": 2146760,
        "clientAlgoId": "oabc-stop-1",
        "algoType": "CONDITIONAL",
        "orderType": "STOP_MARKET",
        "symbol": "BTCUSDT",
        "side": "SELL",
        "quantity": "0.120",
        "algoStatus": "NEW",
        "triggerPrice": "45000.10",
        "createTime": T0,
        "updateTime": T0 + 1,
    } | fields


def trade(number: int, order: int, time_ms: int, **fields) -> dict:
    return {
        "symbol": "BTCUSDT",
        "id": number,
        "orderId": order,
        "side": "BUY",
        "price": "50000.1",
        "qty": "0.060",
        "commission": "1.50000300",
        "commissionAsset": "USDT",
        "time": time_ms,
        "maker": False,
    } | fields


@pytest.fixture
def exchange(connection):
    return CcxtExchange(connection)


async def test_a_market_order_is_one_request_with_exact_decimals(venue, exchange):
    venue.replies["POST /fapi/v1/order"] = order_body()
    report = await exchange.send(approved(intent()))
    assert venue.paths() == ["POST /fapi/v1/order"]
    sent = venue.asked[0].parameters
    assert {name: sent[name] for name in sent if name not in ("timestamp", "signature", "recvWindow")} == {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "MARKET",
        "quantity": "0.12",
        "newClientOrderId": "oabc-entry-1",
        "newOrderRespType": "RESULT",
    }
    assert (report.state, report.filled, report.average_price) == (OrderState.FILLED, Decimal("0.120"), Decimal("50000.1"))
    assert (report.client_id, report.venue_id, report.fill_client_id) == ("oabc-entry-1", "22542179", None)


async def test_a_limit_order_carries_price_and_time_in_force(venue, exchange):
    venue.replies["POST /fapi/v1/order"] = order_body(status="NEW", executedQty="0", avgPrice="0.00")
    order = intent(OrderKind.LIMIT, price=Decimal("1E+4"), side=Side.BUY)
    report = await exchange.send(approved(order))
    sent = venue.asked[0].parameters
    assert (sent["type"], sent["price"], sent["timeInForce"]) == ("LIMIT", "10000", "GTC")
    assert (report.state, report.average_price) == (OrderState.OPEN, None)


async def test_a_stop_goes_to_the_algo_service(venue, exchange):
    venue.replies["POST /fapi/v1/algoOrder"] = stop_body()
    order = intent(OrderKind.STOP, client_id="oabc-stop-1", side=Side.SELL, stop_price=Decimal("45000.10"), reduce_only=True)
    report = await exchange.send(approved(order))
    sent = venue.asked[0].parameters
    assert sent["algoType"] == "CONDITIONAL"
    assert (sent["type"], sent["triggerPrice"], sent["reduceOnly"]) == ("STOP_MARKET", "45000.1", "true")
    assert (sent["clientAlgoId"], sent["workingType"]) == ("oabc-stop-1", "MARK_PRICE")
    assert (report.client_id, report.venue_id, report.state) == ("oabc-stop-1", "2146760", OrderState.OPEN)


@pytest.mark.parametrize("code", [-4116, -4015, -20132])
async def test_a_duplicate_client_id_is_success(venue, exchange, code):
    venue.replies["POST /fapi/v1/order"] = (400, {"code": code, "msg": "ClientOrderId is duplicated."})
    venue.replies["GET /fapi/v1/order"] = order_body()
    report = await exchange.send(approved(intent()))
    assert report.state is OrderState.FILLED
    assert venue.asked[-1].parameters["origClientOrderId"] == "oabc-entry-1"


@pytest.mark.parametrize("answer", [(502, {}), (429, {"code": -1003, "msg": "Too many requests."})])
async def test_a_duplicate_that_cannot_be_looked_up_is_an_open_question(venue, exchange, answer):
    venue.replies["POST /fapi/v1/order"] = (400, {"code": -4116, "msg": "ClientOrderId is duplicated."})
    venue.replies["GET /fapi/v1/order"] = answer
    with pytest.raises(OutcomeUnknown, match="duplicate"):
        await exchange.send(approved(intent()))


async def test_an_order_that_the_venue_does_not_know_is_none(venue, exchange):
    venue.replies["GET /fapi/v1/order"] = (400, {"code": -2013, "msg": "Order does not exist."})
    assert await exchange.find(intent()) is None


async def test_a_triggered_stop_is_reported_with_the_order_that_it_placed(venue, exchange, samples):
    stop = samples("Trading/GetConditionalOrder") | {"clientAlgoId": "oabc-stop-1"}
    venue.replies["GET /fapi/v1/algoOrder"] = stop
    venue.replies["GET /fapi/v1/order"] = order_body(
        orderId=int(stop["actualOrderId"]), clientOrderId="x-venue", executedQty="0.002", avgPrice="69067.60000"
    )
    order = intent(OrderKind.STOP, client_id="oabc-stop-1", side=Side.SELL, stop_price=Decimal("69080.2"), reduce_only=True)
    report = await exchange.find(order)
    assert report is not None
    assert (report.client_id, report.fill_client_id) == ("oabc-stop-1", "x-venue")
    assert (report.state, report.filled, report.average_price) == (OrderState.FILLED, Decimal("0.002"), Decimal("69067.6"))
    assert venue.asked[-1].parameters["orderId"] == "974828356187"


async def test_a_stop_whose_order_is_not_listed_yet_still_exists(venue, exchange, samples):
    venue.replies["GET /fapi/v1/algoOrder"] = samples("Trading/GetConditionalOrder") | {"clientAlgoId": "oabc-stop-1"}
    venue.replies["GET /fapi/v1/order"] = (400, {"code": -2013, "msg": "Order does not exist."})
    order = intent(OrderKind.STOP, client_id="oabc-stop-1", side=Side.SELL, stop_price=Decimal("69080.2"), reduce_only=True)
    report = await exchange.find(order)
    assert report is not None
    assert report.state is OrderState.OPEN


async def test_an_answer_that_cannot_be_read_leaves_a_sent_order_unknown(venue, exchange):
    venue.replies["POST /fapi/v1/order"] = {"ok": True}
    with pytest.raises(OutcomeUnknown, match="oabc-entry-1"):
        await exchange.send(approved(intent()))


async def test_a_read_that_cannot_be_understood_is_malformed_data(venue, exchange):
    venue.replies["GET /fapi/v3/account"] = {"totalWalletBalance": "many"}
    with pytest.raises(MalformedData, match="account: the venue's answer is not as documented"):
        await exchange.account()
    venue.replies["GET /fapi/v1/time"] = []
    with pytest.raises(MalformedData, match="server time"):
        await exchange.server_time_ms()
    for unreadable in ([{}], [{"id": 1, "time": 10**13}], [{"id": "x"}], ["?"]):
        venue.replies["GET /fapi/v1/userTrades"] = unreadable
        with pytest.raises(MalformedData, match="executions"):
            await exchange.fills("BTCUSDT", 0)


async def test_a_cancelled_stop_is_final(venue, exchange):
    venue.replies["DELETE /fapi/v1/algoOrder"] = {"algoId": 1, "clientAlgoId": "oabc-stop-1", "code": "200", "msg": "success"}
    order = intent(OrderKind.STOP, client_id="oabc-stop-1", side=Side.SELL, stop_price=Decimal(45_000), reduce_only=True)
    report = await exchange.cancel(order)
    assert report is not None
    assert (report.state, report.filled, report.venue_id) == (OrderState.CANCELLED, Decimal(0), "1")


async def test_cancelling_a_filled_order_reports_the_fill(venue, exchange):
    venue.replies["DELETE /fapi/v1/order"] = (400, {"code": -2011, "msg": "Unknown order sent."})
    venue.replies["GET /fapi/v1/order"] = order_body()
    report = await exchange.cancel(intent())
    assert report is not None
    assert report.state is OrderState.FILLED


async def test_open_orders_name_regular_and_algo_orders_with_their_kind(venue, exchange):
    venue.replies["GET /fapi/v1/openOrders"] = [order_body(status="PARTIALLY_FILLED", type="LIMIT", executedQty="0.01")]
    venue.replies["GET /fapi/v1/openAlgoOrders"] = [stop_body()]
    reports = await exchange.open_orders()
    assert [(report.client_id, report.state, kind) for report, kind in reports] == [
        ("oabc-entry-1", OrderState.OPEN, OrderKind.LIMIT),
        ("oabc-stop-1", OrderState.OPEN, OrderKind.STOP),
    ]
    assert [report.left for report, _ in reports] == [Decimal("0.110"), Decimal("-0.120")]


async def test_the_account_is_one_request_and_its_prices_follow_from_notional(venue, exchange):
    venue.replies["GET /fapi/v3/account"] = {
        "totalWalletBalance": "25.72610060",
        "totalMarginBalance": "26.26840422",
        "availableBalance": "18.65949928",
        "positions": [
            # Recorded position: 0.009 BTC at 67445.9, mark 67582.2.
            {"symbol": "BTCUSDT", "positionSide": "BOTH", "positionAmt": "0.009", "unrealizedProfit": "1.22670000"}
            | {"notional": "608.23980000"},
            {"symbol": "ETHUSDT", "positionSide": "BOTH", "positionAmt": "0.000", "unrealizedProfit": "0", "notional": "0"},
        ],
    }
    account = await exchange.account()
    assert venue.paths() == ["GET /fapi/v3/account"]
    assert (account.wallet, account.equity, account.available) == tuple(
        map(Decimal, ("25.72610060", "26.26840422", "18.65949928"))
    )
    (position,) = account.positions
    assert (position.quantity, position.entry_price, position.mark_price) == tuple(
        map(Decimal, ("0.009", "67445.9", "67582.2"))
    )


async def test_rules_read_the_recorded_exchange_info(venue, exchange, payload):
    venue.replies["GET /fapi/v1/exchangeInfo"] = payload("usdm_exchange_info_2025-12-24.json")
    rules = await exchange.rules(["BTCUSDT", "EOSUSDT"])
    assert rules["BTCUSDT"] == SymbolRules(
        "BTCUSDT", Decimal("0.10"), Decimal("0.001"), Decimal("0.001"), Decimal(1000), Decimal(100), trading=True
    )
    assert not rules["EOSUSDT"].trading
    with pytest.raises(UsageError, match="does not list NOSUCHUSDT"):
        await exchange.rules(["BTCUSDT", "NOSUCHUSDT"])


async def test_fills_carry_client_ids_learnt_when_the_order_was_sent(venue, exchange, connection):
    venue.replies["POST /fapi/v1/order"] = order_body()
    await exchange.send(approved(intent()))
    now = connection.estimated_now_ms()
    venue.replies["GET /fapi/v1/userTrades"] = [trade(1, 22542179, now), trade(2, 22542179, now + 1)]
    fills = await exchange.fills("BTCUSDT", now)
    assert [(fill.trade_id, fill.client_id, fill.fee) for fill in fills] == [
        ("1", "oabc-entry-1", Decimal("1.500003")),
        ("2", "oabc-entry-1", Decimal("1.500003")),
    ]
    assert "GET /fapi/v1/allOrders" not in venue.paths()


async def test_after_a_restart_client_ids_come_from_the_order_lists(venue, exchange, connection):
    now = connection.estimated_now_ms()
    venue.replies["GET /fapi/v1/userTrades"] = [
        trade(1, 100, now - 3000),
        trade(2, 105, now - 2000, side="SELL"),
        trade(3, 109, now - 1000),
    ]
    venue.replies["GET /fapi/v1/allOrders"] = [
        order_body(orderId=100, clientOrderId="oabc-entry-1"),
        order_body(orderId=105, clientOrderId="venue-made-it"),
        order_body(orderId=109, clientOrderId="autoclose-1"),
    ]
    venue.replies["GET /fapi/v1/allAlgoOrders"] = [stop_body(algoStatus="FINISHED", actualOrderId="105")]
    fills = await exchange.fills("BTCUSDT", now - 5000)
    assert [fill.client_id for fill in fills] == ["oabc-entry-1", "oabc-stop-1", "autoclose-1"]
    asked = len(venue.asked)
    await exchange.fills("BTCUSDT", now - 5000)
    assert len(venue.asked) == asked + 1  # the ids are known now


async def test_executions_are_paged_by_week_and_then_by_id(venue, exchange, connection):
    now = connection.estimated_now_ms()
    since = now - 20 * DAY_MS
    made = [trade(number, 7, since + 8 * DAY_MS + number) for number in range(1, 2501)]

    def reply(asked):
        if "fromId" in asked.parameters:
            assert "startTime" not in asked.parameters
            return 200, [entry for entry in made if entry["id"] >= int(asked.parameters["fromId"])][:1000]
        start, end = int(asked.parameters["startTime"]), int(asked.parameters["endTime"])
        assert end - start < 7 * DAY_MS
        return 200, [entry for entry in made if start <= entry["time"] <= end][:1000]

    venue.replies["GET /fapi/v1/userTrades"] = reply
    venue.replies["GET /fapi/v1/allOrders"] = [order_body(orderId=7)]
    venue.replies["GET /fapi/v1/allAlgoOrders"] = []
    fills = await exchange.fills("BTCUSDT", since)
    assert [int(fill.trade_id) for fill in fills] == list(range(1, 2501))


async def test_executions_since_ever_are_not_asked_for_week_by_week(venue, exchange):
    venue.replies["GET /fapi/v1/userTrades"] = []
    assert await exchange.fills("BTCUSDT", 0) == []
    assert venue.paths() == ["GET /fapi/v1/userTrades"]


async def test_a_fee_in_another_currency_is_not_booked_as_quote_and_hides_no_execution(venue, exchange, connection):
    now = connection.estimated_now_ms()
    venue.replies["GET /fapi/v1/userTrades"] = [trade(1, 7, now, commission="0.00010000", commissionAsset="BNB")]
    venue.replies["GET /fapi/v1/allOrders"] = [order_body(orderId=7)]
    venue.replies["GET /fapi/v1/allAlgoOrders"] = []
    [fill] = await exchange.fills("BTCUSDT", now - 1000)
    assert (fill.quantity, fill.fee, fill.foreign_fee) == (Decimal("0.060"), 0, "0.0001 BNB")


async def test_client_ids_that_were_forgotten_are_looked_up_again(venue, exchange, connection, monkeypatch):
    monkeypatch.setattr("shared.adapters.exchange.history.REMEMBERED", 2)
    now = connection.estimated_now_ms()
    venue.replies["GET /fapi/v1/userTrades"] = [trade(number, 100 + number, now) for number in range(5)]
    venue.replies["GET /fapi/v1/allOrders"] = [order_body(orderId=100 + n, clientOrderId=f"oabc-{n}") for n in range(5)]
    venue.replies["GET /fapi/v1/allAlgoOrders"] = []
    for _ in range(2):
        fills = await exchange.fills("BTCUSDT", now - 1000)
        assert [fill.client_id for fill in fills] == [f"oabc-{number}" for number in range(5)]


async def test_funding_payments_are_paged_without_repetition(venue, exchange):
    made = [
        {"symbol": f"S{n % 3}USDT", "incomeType": "FUNDING_FEE", "income": "-0.01", "time": T0 + n // 3, "tranId": str(n)}
        for n in range(2300)
    ]
    venue.replies["GET /fapi/v1/income"] = lambda asked: (
        200,
        [entry for entry in made if entry["time"] >= int(asked.parameters["startTime"])][:1000],
    )
    payments = await exchange.funding_paid(T0)
    assert len(payments) == len({payment.id for payment in payments}) == 2300
    assert venue.asked[0].parameters["incomeType"] == "FUNDING_FEE"


class Settings:
    """The venue's account settings; `stubborn` ones answer success and change nothing."""

    def __init__(self, venue, *, hedge="false", margin="ISOLATED", leverage=20, stubborn=False) -> None:
        self.hedge, self.margin, self.leverage, self.stubborn = hedge, margin, leverage, stubborn
        self.fee_burn = False
        venue.replies |= {
            "GET /fapi/v1/feeBurn": lambda _: (200, {"feeBurn": self.fee_burn}),
            "GET /fapi/v1/accountConfig": lambda _: (200, {"dualSidePosition": self.hedge == "true"}),
            "GET /fapi/v1/symbolConfig": lambda _: (
                200,
                [{"symbol": "BTCUSDT", "marginType": self.margin, "leverage": self.leverage}],
            ),
            "POST /fapi/v1/positionSide/dual": self.set("hedge", "dualSidePosition"),
            "POST /fapi/v1/marginType": self.set("margin", "marginType"),
            "POST /fapi/v1/leverage": self.set("leverage", "leverage"),
        }

    def set(self, field, parameter):
        def reply(asked):
            value = asked.parameters[parameter]
            if not self.stubborn:
                setattr(self, field, int(value) if value.isdigit() else value)
            return 200, {"code": 200, "msg": "success"}

        return reply


async def test_prepare_sets_what_differs_and_reads_it_back(venue, exchange):
    settings = Settings(venue, hedge="true")
    await exchange.prepare(["BTCUSDT"], 3)
    assert (settings.hedge, settings.margin, settings.leverage) == ("false", "CROSSED", 3)
    venue.asked.clear()
    await exchange.prepare(["BTCUSDT"], 3)
    assert not [path for path in venue.paths() if path.startswith("POST")]


async def test_prepare_refuses_an_account_that_pays_its_fees_in_another_currency(venue, exchange):
    settings = Settings(venue)
    settings.fee_burn = True
    with pytest.raises(ReconciliationError, match=r"pays its futures fees in BNB.*switch the BNB fee discount.*off"):
        await exchange.prepare(["BTCUSDT"], 3)
    assert not [path for path in venue.paths() if path.startswith("POST")]
    venue.replies["GET /fapi/v1/feeBurn"] = {}
    with pytest.raises(MalformedData, match="currency of fees"):
        await exchange.prepare(["BTCUSDT"], 3)


async def test_prepare_takes_no_need_to_change_for_success(venue, exchange):
    settings = Settings(venue)

    def no_need(asked):
        settings.margin = "CROSSED"  # another process was faster
        return 400, {"code": -4046, "msg": "No need to change margin type."}

    venue.replies["POST /fapi/v1/marginType"] = no_need
    await exchange.prepare(["BTCUSDT"], 3)
    assert settings.leverage == 3


async def test_prepare_refuses_a_venue_that_still_says_otherwise(venue, exchange):
    Settings(venue, stubborn=True)
    with pytest.raises(ReconciliationError, match="BTCUSDT ISOLATED 20x; expected CROSSED margin and 3x"):
        await exchange.prepare(["BTCUSDT"], 3)
    Settings(venue, hedge="true", stubborn=True)
    with pytest.raises(ReconciliationError, match="hedge mode"):
        await exchange.prepare(["BTCUSDT"], 3)
