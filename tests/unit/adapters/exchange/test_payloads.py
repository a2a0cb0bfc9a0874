from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.exchange import payloads
from shared.domain.errors import MalformedData
from shared.domain.orders import OrderKind, OrderState, Side

ORDER = {
    "orderId": "664082074",
    "symbol": "LTCUSDT",
    "status": "NEW",
    "clientOrderId": "c",
    "avgPrice": "0.00000",
    "executedQty": "0.000",
    "updateTime": "1707907323983",
}


@given(st.decimals(min_value=0, max_value=10**9, allow_nan=False, places=8))
def test_decimals_leave_exactly_and_without_exponent(value):
    text = payloads.decimal_text(value)
    assert Decimal(text) == value
    assert "E" not in text.upper()


@pytest.mark.parametrize(("value", "text"), [("1E+2", "100"), ("0.00100", "0.001"), ("120", "120"), ("1E-8", "0.00000001")])
def test_decimals_are_short(value, text):
    assert payloads.decimal_text(Decimal(value)) == text


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("NEW", OrderState.OPEN),
        ("PARTIALLY_FILLED", OrderState.OPEN),
        ("FILLED", OrderState.FILLED),
        ("CANCELED", OrderState.CANCELLED),
        ("REJECTED", OrderState.REJECTED),
        ("EXPIRED", OrderState.EXPIRED),
        ("EXPIRED_IN_MATCH", OrderState.EXPIRED),
    ],
)
def test_order_states(status, state):
    report = payloads.read_order(ORDER | {"status": status})
    assert (report.state, report.average_price, report.updated_ms) == (state, None, 1707907323983)


def test_an_unknown_state_is_not_guessed():
    with pytest.raises(MalformedData, match="unknown state 'HALTED'"):
        payloads.read_order(ORDER | {"status": "HALTED"})


@pytest.mark.parametrize(("number", "expected"), [(None, None), ("", None), ("0", None), (974828356187, "974828356187")])
def test_a_stop_names_the_order_that_it_placed(number, expected):
    assert payloads.triggered_order_id({"actualOrderId": number}) == expected


@pytest.mark.parametrize(
    ("order", "kind"),
    [
        ({"type": "LIMIT"}, OrderKind.LIMIT),
        ({"type": "MARKET"}, OrderKind.MARKET),
        ({"orderType": "STOP_MARKET"}, OrderKind.STOP),
        ({"orderType": "TAKE_PROFIT_MARKET"}, OrderKind.STOP),
    ],
)
def test_kinds(order, kind):
    assert payloads.read_kind(order) is kind


def test_the_recorded_execution():
    # ccxt static response fixture, fetchMyTrades of binanceusdm.
    fill = payloads.read_fill(
        {
            "symbol": "BTCUSDT",
            "id": "272536245",
            "orderId": "3524852987",
            "side": "BUY",
            "price": "36567.10",
            "qty": "0.010",
            "commission": "0.14626840",
            "commissionAsset": "USDT",
            "time": "1699972836419",
            "maker": False,
        },
        "c",
    )
    assert (fill.trade_id, fill.venue_order_id, fill.side, fill.maker) == ("272536245", "3524852987", Side.BUY, False)
    assert (fill.quantity, fill.price, fill.fee) == (Decimal("0.010"), Decimal("36567.10"), Decimal("0.14626840"))


def test_a_fee_in_the_quote_of_a_delivery_contract_is_in_quote():
    entry = {
        "symbol": "BTCUSDT_260327",
        "id": 1,
        "orderId": 1,
        "side": "SELL",
        "price": "1",
        "qty": "1",
        "time": 0,
        "maker": True,
    }
    assert payloads.read_fill(entry | {"commission": "-0.1", "commissionAsset": "USDT"}, None).fee == Decimal("-0.1")


@pytest.mark.parametrize(
    ("symbol", "amount", "currency", "booked", "foreign"),
    [
        ("BTCUSDT", "0.5", "USDT", "0.5", ""),
        ("ETHUSDC", "0.5", "USDC", "0.5", ""),
        ("FOO", "0.5", "USDT", "0.5", ""),  # of a generated market: the wallet pays
        ("BTCUSDT", "0.5", None, "0.5", ""),
        ("BTCUSDT", "0", "BNB", "0", ""),
        ("BTCUSDT", "0.00010000", "BNB", "0", "0.0001 BNB"),
        ("BNBUSDT", "0.0001", "BNB", "0", "0.0001 BNB"),
    ],
)
def test_a_fee_is_in_quote_currency_or_says_which_it_is(symbol, amount, currency, booked, foreign):
    assert payloads.read_fee(symbol, amount, currency) == (Decimal(booked), foreign)


def test_a_position_of_hedge_mode_is_not_read_as_net():
    position = {"symbol": "BTCUSDT", "positionSide": "LONG", "positionAmt": "1", "unrealizedProfit": "0", "notional": "1"}
    with pytest.raises(MalformedData, match="one-way"):
        payloads.read_account(
            {"totalWalletBalance": "1", "totalMarginBalance": "1", "availableBalance": "1", "positions": [position]}
        )


def test_rules_take_the_stricter_of_the_two_lot_sizes():
    rules = payloads.read_rules(
        {
            "symbol": "XUSDT",
            "status": "TRADING",
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": "0.01"},
                {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "1000"},
                {"filterType": "MARKET_LOT_SIZE", "stepSize": "0.01", "minQty": "0.01", "maxQty": "120"},
                {"filterType": "MIN_NOTIONAL", "notional": "5"},
            ],
        }
    )
    assert (rules.step, rules.min_quantity, rules.max_quantity) == (Decimal("0.01"), Decimal("0.01"), Decimal(120))


@pytest.mark.parametrize(
    ("delivery", "expected"),
    [({}, None), ({"deliveryDate": 4133404800000}, None), ({"deliveryDate": 1747814400000}, 1747814400000)],
)
def test_rules_know_when_a_contract_ends(delivery, expected):
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.01"},
        {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "1000"},
        {"filterType": "MIN_NOTIONAL", "notional": "5"},
    ]
    rules = payloads.read_rules({"symbol": "XUSDT", "status": "SETTLING", "filters": filters, **delivery})
    assert (rules.delivery_ms, rules.trading) == (expected, False)


def test_rules_without_a_filter_name_it():
    with pytest.raises(MalformedData, match="XUSDT lack 'PRICE_FILTER'"):
        payloads.read_rules({"symbol": "XUSDT", "status": "TRADING", "filters": [{"filterType": "LOT_SIZE", "stepSize": "1"}]})
