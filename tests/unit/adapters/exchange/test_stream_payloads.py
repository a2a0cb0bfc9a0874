"""Every recorded message becomes the right value; the small samples here have the venue's shapes and need no recordings."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.exchange.stream_payloads import STOPS_REMEMBERED, UserReader, decode, kind_of, read_market
from shared.adapters.exchange.stream_reading import Malformed, read_safely
from shared.domain.errors import MalformedData
from shared.domain.interval import Interval
from shared.domain.orders import Fill, OrderReport, OrderState, Side
from shared.domain.stream import AccountMessage, BarMessage, MarkMessage, OrderMessage, QuoteMessage

PAYLOADS = Path(__file__).resolve().parents[5] / "shared" / "data" / "binance_payloads"


@pytest.fixture(scope="module")
def recorded() -> Callable[[str], Any]:
    def read(name: str) -> Any:
        if not (PAYLOADS / name).exists():
            pytest.skip("recorded Binance payloads are not present beside the repository")
        return json.loads((PAYLOADS / name).read_text())

    return read


def order_event(**changes: Any) -> dict[str, Any]:
    order = {
        "s": "BTCUSDT",
        "c": "mine-1",
        "S": "SELL",
        "o": "MARKET",
        "f": "GTC",
        "q": "0.030",
        "p": "0",
        "ap": "90000.5",
        "x": "TRADE",
        "X": "PARTIALLY_FILLED",
        "i": 77,
        "l": "0.010",
        "z": "0.020",
        "L": "90001.0",
        "n": "0.45",
        "N": "USDT",
        "T": 1_700_000_000_001,
        "t": 501,
        "m": False,
        "R": True,
        "ot": "MARKET",
        "ps": "BOTH",
        "rp": "1.5",
        "er": "0",
    }
    return {"e": "ORDER_TRADE_UPDATE", "T": 1_700_000_000_001, "E": 1_700_000_000_002, "o": order | changes}


def stop_event(**changes: Any) -> dict[str, Any]:
    stop = {
        "caid": "stop-1",
        "aid": 9,
        "at": "CONDITIONAL",
        "o": "STOP_MARKET",
        "s": "BTCUSDT",
        "S": "SELL",
        "ps": "BOTH",
        "f": "GTC",
        "q": "0.03",
        "X": "NEW",
        "ai": "",
        "tp": "88000",
        "p": "0",
        "R": True,
        "tt": 0,
    }
    return {"e": "ALGO_UPDATE", "T": 1_700_000_000_001, "E": 1_700_000_000_002, "o": stop | changes}


def account_event(**changes: Any) -> dict[str, Any]:
    change = {
        "B": [{"a": "USDT", "wb": "122.5", "cw": "100.1", "bc": "0"}, {"a": "BNB", "wb": "1.0", "cw": "0", "bc": "0"}],
        "P": [{"s": "BTCUSDT", "pa": "-0.02", "ep": "6563.66", "cr": "200", "up": "0", "mt": "cross", "ps": "BOTH"}],
        "m": "ORDER",
    }
    return {"e": "ACCOUNT_UPDATE", "T": 1_700_000_000_001, "E": 1_700_000_000_002, "a": change | changes}


def bar_event(**changes: Any) -> dict[str, Any]:
    bar = {"t": 60_000, "T": 119_999, "s": "ETHUSDT", "i": "1m", "o": "1.5", "c": "1.6", "h": "1.7", "l": "1.4", "v": "30.5"}
    return {"e": "kline", "E": 90_000, "s": "ETHUSDT", "k": bar | {"x": False} | changes}


# --- samples


def test_a_bar_says_whether_it_is_closed() -> None:
    assert read_market(bar_event()) == BarMessage("ETHUSDT", Interval.M1, 60_000, 1.5, 1.7, 1.4, 1.6, 30.5, False, 90_000)
    closed = read_market(bar_event(x=True))
    assert isinstance(closed, BarMessage)
    assert closed.closed


@pytest.mark.parametrize(
    "event",
    [
        bar_event(x="true"),
        bar_event(i="7m"),
        bar_event(o=None),
        {"e": "kline"},
        {"e": "bookTicker", "s": "X", "b": "1", "a": "z"},
    ],
)
def test_a_market_event_that_is_not_as_documented_is_malformed(event: dict[str, Any]) -> None:
    with pytest.raises(MalformedData, match="market stream"):
        read_market(event)


def test_answers_and_other_channels_say_nothing() -> None:
    assert read_market({"result": None, "id": 1}) is None
    assert read_market({"e": "aggTrade", "s": "BTCUSDT"}) is None


@pytest.mark.parametrize("text", ["", "no", "[1]", "5", '{"stream":"x","data":[]}', '{"stream":"x"}', '{"e":'])
def test_a_message_that_is_no_event_is_malformed(text: str) -> None:
    with pytest.raises(MalformedData, match="stream"):
        decode(text)


def test_an_envelope_is_opened() -> None:
    assert decode('{"stream":"btcusdt@kline_1m","data":{"e":"kline"}}') == {"e": "kline"}


def test_an_execution_is_a_report_and_a_fill() -> None:
    message = UserReader("USDT").read(order_event())
    assert message == OrderMessage(
        OrderReport(
            client_id="mine-1",
            symbol="BTCUSDT",
            state=OrderState.OPEN,
            filled=Decimal("0.020"),
            venue_id="77",
            average_price=Decimal("90000.5"),
            updated_ms=1_700_000_000_001,
        ),
        Fill(
            symbol="BTCUSDT",
            trade_id="501",
            client_id="mine-1",
            venue_order_id="77",
            side=Side.SELL,
            quantity=Decimal("0.010"),
            price=Decimal("90001.0"),
            fee=Decimal("0.45"),
            time_ms=1_700_000_000_001,
        ),
        1_700_000_000_002,
    )


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("NEW", OrderState.OPEN),
        ("FILLED", OrderState.FILLED),
        ("CANCELED", OrderState.CANCELLED),
        ("EXPIRED", OrderState.EXPIRED),
        ("EXPIRED_IN_MATCH", OrderState.EXPIRED),
        ("REJECTED", OrderState.REJECTED),
    ],
)
def test_an_order_without_execution_has_no_fill(status: str, state: OrderState) -> None:
    message = UserReader("USDT").read(order_event(x=status, X=status, l="0", z="0", ap="0", n=None, N=None, t=0))
    assert isinstance(message, OrderMessage)
    assert (message.report.state, message.report.filled, message.report.average_price) == (state, 0, None)
    assert message.fill is None


def test_an_expiry_keeps_its_reason() -> None:
    message = UserReader("USDT").read(order_event(x="EXPIRED", X="EXPIRED", l="0", er="5"))
    assert isinstance(message, OrderMessage)
    assert message.report.reason == "expiry reason 5"


def test_a_liquidation_is_a_fill_under_the_venues_own_name() -> None:
    message = UserReader("USDT").read(order_event(c="autoclose-123", x="CALCULATED", X="FILLED"))
    assert isinstance(message, OrderMessage)
    assert message.fill is not None
    assert (message.fill.client_id, message.report.state) == ("autoclose-123", OrderState.FILLED)
    empty = UserReader("USDT").read(order_event(c="autoclose-124", x="CALCULATED", X="FILLED", l="0.000", n=None, N=None))
    assert isinstance(empty, OrderMessage)
    assert empty.fill is None


def test_an_execution_without_a_fee_is_free_and_one_with_a_foreign_fee_says_so() -> None:
    event = order_event()
    del event["o"]["n"], event["o"]["N"]
    message = UserReader("USDT").read(event)
    assert isinstance(message, OrderMessage)
    assert message.fill is not None
    assert message.fill.fee == 0
    assert message.fill.foreign_fee == ""
    message = UserReader("USDT").read(order_event(n="0.00010000", N="BNB"))
    assert isinstance(message, OrderMessage)
    assert message.fill is not None
    assert (message.fill.fee, message.fill.foreign_fee) == (0, "0.0001 BNB")


def test_the_order_that_a_stop_places_is_told_under_the_stops_client_id() -> None:
    reader = UserReader("USDT")
    resting = reader.read(stop_event())
    triggered = reader.read(stop_event(X="TRIGGERED", ai="77", ap="0", aq="0"))
    early = reader.read({"e": "TRADE_LITE", "E": 3, "T": 2, "s": "BTCUSDT", "c": "venue-1", "l": "0.01", "i": 77, "t": 501})
    filled = reader.read(order_event(c="venue-1", X="FILLED", z="0.030"))
    finished = reader.read(stop_event(X="FINISHED", ai="77", ap="87990.5", aq="0.03"))
    messages = [resting, triggered, early, filled, finished]
    assert all(isinstance(m, OrderMessage) and m.report.client_id == "stop-1" for m in messages)
    states = [m.report.state for m in messages if isinstance(m, OrderMessage)]
    assert states == [OrderState.OPEN, OrderState.OPEN, OrderState.OPEN, OrderState.FILLED, OrderState.OPEN]
    assert isinstance(filled, OrderMessage)
    assert filled.fill is not None
    assert (filled.fill.client_id, filled.report.fill_client_id, filled.fill.venue_order_id) == ("stop-1", "venue-1", "77")
    assert isinstance(finished, OrderMessage)
    assert (finished.report.filled, finished.report.average_price) == (Decimal("0.03"), Decimal("87990.5"))


@pytest.mark.parametrize(
    ("status", "state"),
    [("CANCELED", OrderState.CANCELLED), ("REJECTED", OrderState.REJECTED), ("EXPIRED", OrderState.EXPIRED)],
)
def test_a_stop_that_ends_without_an_order_says_why(status: str, state: OrderState) -> None:
    message = UserReader("USDT").read(stop_event(X=status, rm="Reduce Only reject"))
    assert isinstance(message, OrderMessage)
    assert (message.report.state, message.report.filled, message.report.reason) == (state, 0, "Reduce Only reject")


def test_only_so_many_stops_are_remembered() -> None:
    reader = UserReader("USDT")
    for number in range(STOPS_REMEMBERED + 1):
        reader.read(stop_event(X="TRIGGERED", ai=str(1_000 + number), caid=f"stop-{number}"))
    first, second = (reader.read(order_event(c="venue", i=1_000 + number)) for number in (0, 1))
    assert isinstance(first, OrderMessage)
    assert isinstance(second, OrderMessage)
    assert (first.report.client_id, second.report.client_id) == ("venue", "stop-1")


def test_an_early_trade_notice_proves_the_order_and_is_no_fill() -> None:
    event = {
        "e": "TRADE_LITE",
        "E": 3,
        "T": 2,
        "s": "BTCUSDT",
        "c": "mine-1",
        "S": "BUY",
        "l": "0.02",
        "L": "5",
        "t": 1,
        "i": 7,
    }
    message = UserReader("USDT").read(event)
    assert message == OrderMessage(
        OrderReport("mine-1", "BTCUSDT", OrderState.OPEN, Decimal("0.02"), "7", updated_ms=2), None, 3
    )


def test_an_account_change_tells_the_wallet_of_the_quote_currency() -> None:
    expected = (("BTCUSDT", Decimal("-0.02"), Decimal("6563.66")),)
    assert UserReader("USDT").read(account_event()) == AccountMessage(Decimal("122.5"), expected, "ORDER", 1_700_000_000_002)
    assert UserReader("USDC").read(account_event(P=[])) == AccountMessage(None, (), "ORDER", 1_700_000_000_002)
    funding = UserReader("USDT").read(account_event(B=[{"a": "USDT", "wb": "1", "cw": "1", "bc": "-1"}], m="FUNDING_FEE"))
    assert isinstance(funding, AccountMessage)
    assert funding.reason == "FUNDING_FEE"


def test_a_hedge_position_is_refused_but_an_empty_one_is_not() -> None:
    rows = [{"s": "BTCUSDT", "pa": quantity, "ep": "0", "ps": "LONG"} for quantity in ("0", "1")]
    message = UserReader("USDT").read(account_event(P=rows[:1]))
    assert isinstance(message, AccountMessage)
    assert message.positions == ()
    with pytest.raises(MalformedData, match="hedge mode"):
        UserReader("USDT").read(account_event(P=rows))


@pytest.mark.parametrize(
    "event",
    [order_event(X="NONSENSE"), order_event(z="much"), order_event(S="UP"), {"e": "ACCOUNT_UPDATE"}, {"e": "SOMETHING_NEW"}],
)
def test_a_user_event_that_is_not_as_documented_is_malformed(event: dict[str, Any]) -> None:
    with pytest.raises(MalformedData):
        UserReader("USDT").read(event)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.sampled_from(["ORDER_TRADE_UPDATE", "kline"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*"eEoaksTXx", "stream", "data"]), inner),
        max_leaves=12,
    )
)
def test_nothing_that_comes_can_break_the_reading(content: Any) -> None:
    malformed = Malformed("test")
    reader = UserReader("USDT")
    text = json.dumps(content)
    for read in (read_market, reader.read):
        read_safely(text, lambda event, read=read: read(event) and None, malformed)
    assert malformed.counts.total() <= 2


# --- recordings


def test_every_recorded_market_message_is_read(recorded: Callable[[str], Any]) -> None:
    messages = [decode(json.dumps(m)) for m in recorded("usdm_ws_market_recorded.json")["messages"]]
    read = {kind_of(event): read_market(event) for event in reversed(messages)}
    assert read["kline"] == BarMessage(
        "BTCUSDT", Interval.M1, 1_791_240_000_000, 85_885.4, 85_900.0, 85_885.4, 85_893.9, 30.033, True, 1_791_240_060_493
    )
    assert read["markPriceUpdate"] == MarkMessage("BTCUSDT", Decimal("68005.80802899"), 1_771_263_510_000)
    assert read["bookTicker"] == QuoteMessage("BTCUSDT", Decimal("68005.00"), Decimal("68005.10"), 1_771_263_510_337)
    assert {kind for kind, message in read.items() if message is None} == {"trade", "aggTrade", "depthUpdate"}


def test_every_recorded_user_message_is_read(recorded: Callable[[str], Any]) -> None:
    for session in recorded("usdm_ws_user_stream_recorded.json"):
        reader = UserReader("USDC" if session["symbol"].endswith("USDC") else "USDT")
        messages = [reader.read(decode(json.dumps(event))) for event in session["messages"]]
        assert len(messages) == len(session["messages"])
        for event, message in zip(session["messages"], messages, strict=True):
            assert message is not None
            assert message.time_ms == event["E"]
            if isinstance(message, AccountMessage):
                assert message.wallet == Decimal(event["a"]["B"][0]["wb"])
                assert [row[:2] for row in message.positions] == [(p["s"], Decimal(p["pa"])) for p in event["a"]["P"]]
            elif event["e"] == "ORDER_TRADE_UPDATE":
                assert message.report.filled == Decimal(event["o"]["z"])
                assert (message.fill is not None) == (event["o"]["x"] == "TRADE")


def test_the_recorded_round_trip_adds_up(recorded: Callable[[str], Any]) -> None:
    session = recorded("usdm_ws_user_stream_recorded.json")[0]
    reader = UserReader("USDT")
    messages = [reader.read(event) for event in session["messages"]]
    fills = [m.fill for m in messages if isinstance(m, OrderMessage) and m.fill is not None]
    assert [fill.signed_quantity for fill in fills] == [Decimal("0.002"), Decimal("-0.002")]
    wallets = [m.wallet for m in messages if isinstance(m, AccountMessage) and m.wallet is not None]
    profit = sum(-fill.signed_quantity * fill.price for fill in fills)
    assert wallets[1] - wallets[0] == (profit - fills[1].fee).quantize(Decimal("1e-8"))
    kinds = [type(m) for m in messages[:4]]
    assert kinds == [OrderMessage, OrderMessage, AccountMessage, OrderMessage]


def test_every_documented_futures_message_is_read_or_known_to_be_unused(recorded: Callable[[str], Any]) -> None:
    samples = recorded("ws_stream_samples.json")["messages"]
    malformed = Malformed("test")
    reader = UserReader("USDT")
    found: dict[str, Any] = {}

    def take(name: str, event: Any) -> None:
        user = kind_of(event).isupper()
        found[name] = reader.read(event) if user else read_market(event)

    for name, message in samples.items():
        if name.startswith("UsdFutures/") and not isinstance(message.get("data"), list):
            read_safely(json.dumps(message), lambda event, name=name: take(name, event), malformed)
    assert dict(malformed.counts) == {"ACCOUNT_UPDATE": 1}  # of an account in hedge mode
    assert {name.removeprefix("UsdFutures/") for name, value in found.items() if value is not None} == {
        "AlgoOrderUpdate",
        "BookTicker",
        "Klines",
        "MarkPrice",
        "OrderUpdate",
        "TradeUpdate",
    }


def test_the_captured_life_of_a_stop_is_read(recorded: Callable[[str], Any]) -> None:
    fixtures = recorded("nautilus_fixtures.json")["fixtures"]
    reader = UserReader("USDT")
    steps = ("triggering", "triggered", "finished")
    messages = [reader.read(decode(json.dumps(fixtures[f"tests/ws_messages/ws_futures_algo_update_{step}"]))) for step in steps]
    reports = [m.report for m in messages if isinstance(m, OrderMessage)]
    assert {report.client_id for report in reports} == {"O-20251211-053131-TEST-000-1"}
    assert [report.filled for report in reports] == [0, 0, 38]
    order = reader.read(order_event(s="DOGEUSDT", i=88937381063, c="x"))
    assert isinstance(order, OrderMessage)
    assert order.report.client_id == "O-20251211-053131-TEST-000-1"
    for name, content in fixtures.items():
        if "order_update" in name or "trade_lite" in name:
            event = decode(json.dumps(content))
            message = reader.read(event)
            assert isinstance(message, OrderMessage), name
