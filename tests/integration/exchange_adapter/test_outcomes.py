"""What each kind of failure means for a sent order and for a read."""

import logging
import re
import socket
import time
import traceback
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from shared.adapters.exchange import CcxtExchange, ConnectionParams, connect, probe_venue
from shared.adapters.exchange.params import in_trader as trader_params
from shared.adapters.local.clock import SystemClock
from shared.domain.errors import ClockRefused, OutcomeUnknown, RateLimited, VenueRejected, VenueUnreachable
from shared.domain.money import SymbolRules
from shared.domain.orders import OrderIntent, OrderKind, OrderState, Side
from shared.risk.approval import OrderContext, approve

RULES = SymbolRules("BTCUSDT", Decimal("0.1"), Decimal("0.001"), Decimal("0.001"), Decimal(100), Decimal(100))
CONTEXT = OrderContext(RULES, Decimal(0), Decimal(50_000), Decimal(1_000_000), Decimal(5))
ORDER = approve(
    OrderIntent("oabc-entry-1", "b", "d", "entry", "BTCUSDT", Side.BUY, OrderKind.MARKET, Decimal("0.12"), 0), CONTEXT
)
FILLED = {
    "orderId": 1,
    "symbol": "BTCUSDT",
    "status": "FILLED",
    "clientOrderId": "oabc-entry-1",
    "avgPrice": "50000",
    "executedQty": "0.12",
    "updateTime": 0,
}


@pytest.fixture
def exchange(connection):
    return CcxtExchange(connection)


def unused_port() -> int:
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        return int(probe_socket.getsockname()[1])


def connect_to(base_url, clock, *, in_trader=False, **params):
    made = ConnectionParams(**params)
    return connect(
        "binanceusdm",
        clock,
        np.random.default_rng(1),
        trader_params(made) if in_trader else made,
        base_url=base_url,
        api_key="the-api-key",
        secret="the-api-secret",
    )


@pytest.mark.parametrize(
    "reply",
    [
        "drop",
        (502, "<html>Bad Gateway</html>"),
        (503, {"code": -1001, "msg": "Unknown error, please check your request or try again later."}),
        (408, {"code": -1007, "msg": "Timeout waiting for response from backend server. Send status unknown."}),
        (400, {"code": -1006, "msg": "An unexpected response was received from the message bus."}),
        (200, "<html>sign in to the hotel's network</html>"),
    ],
)
async def test_an_order_that_may_have_arrived_is_unknown_and_not_sent_again(venue, exchange, reply):
    venue.replies["POST /fapi/v1/order"] = reply
    with pytest.raises(OutcomeUnknown):
        await exchange.send(ORDER)
    assert venue.paths() == ["POST /fapi/v1/order"]


async def test_an_order_without_answer_in_time_is_unknown(venue, clock):
    venue.replies["POST /fapi/v1/order"] = "hang"
    for limit in ("timeout_s", "order_answer_s"):
        connection, before = connect_to(venue.base_url, clock, **{limit: 0.2}), time.monotonic()
        with pytest.raises(OutcomeUnknown, match="without an answer"):
            await CcxtExchange(connection).send(ORDER)
        assert time.monotonic() - before < 5
        await connection.close()


async def test_a_refused_connection_means_not_sent(clock):
    connection = connect_to(f"http://127.0.0.1:{unused_port()}", clock)
    with pytest.raises(VenueUnreachable, match="Connection refused"):
        await CcxtExchange(connection).send(ORDER)
    await connection.close()


async def test_a_definitive_no_carries_the_venues_code(venue, exchange):
    venue.replies["POST /fapi/v1/order"] = (400, {"code": -2019, "msg": "Margin is insufficient."})
    with pytest.raises(VenueRejected, match="Margin is insufficient") as caught:
        await exchange.send(ORDER)
    assert caught.value.code == -2019


async def test_too_many_requests_on_a_send_is_no_retry_and_blocks_the_next_send(venue, exchange, clock):
    venue.replies["POST /fapi/v1/order"] = (429, {"code": -1003, "msg": "Too many requests."}, {"Retry-After": "3"})
    with pytest.raises(RateLimited) as caught:
        await exchange.send(ORDER)
    assert caught.value.retry_after_s == 3
    with pytest.raises(RateLimited, match="nothing was sent"):
        await exchange.send(ORDER)
    assert venue.paths() == ["POST /fapi/v1/order"]
    venue.replies["POST /fapi/v1/order"] = FILLED
    await clock.sleep(3)
    assert (await exchange.send(ORDER)).state is OrderState.FILLED


SKEWED = (400, {"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."})
STOP_ORDER = approve(
    OrderIntent(
        *("oabc-stop-1", "b", "d", "stop", "BTCUSDT", Side.SELL, OrderKind.STOP, Decimal("0.12"), 0),
        stop_price=Decimal(45_000),
        reduce_only=True,
    ),
    replace(CONTEXT, held=Decimal("0.12")),
)


@pytest.mark.parametrize("code", [-1021, -5028, -4188])
@pytest.mark.parametrize("path", ["POST /fapi/v1/order", "POST /fapi/v1/algoOrder", "DELETE /fapi/v1/order"])
async def test_a_change_that_is_refused_for_its_time_is_not_sent_again_by_the_wire(venue, clock, code, path):
    ahead_ms = 4_000
    venue.replies["GET /fapi/v1/time"] = lambda _: (200, {"serverTime": round(time.time() * 1000) + ahead_ms})
    venue.replies[path] = (400, {"code": code, "msg": "Timestamp for this request is outside of the recvWindow."})
    connection = connect_to(venue.base_url, clock)
    exchange = CcxtExchange(connection)
    change = {
        "POST /fapi/v1/order": lambda: exchange.send(ORDER),
        "POST /fapi/v1/algoOrder": lambda: exchange.send(STOP_ORDER),
        "DELETE /fapi/v1/order": lambda: exchange.cancel(ORDER.intent),
    }[path]
    with pytest.raises(ClockRefused, match="nothing was done"):
        await change()
    assert venue.paths() == [path, "GET /fapi/v1/time"]
    with pytest.raises(ClockRefused):
        await change()
    first, second = (int(request.parameters["timestamp"]) for request in (venue.asked[0], venue.asked[2]))
    assert abs(second - first - ahead_ms) < 1000  # the venue's time was taken
    await connection.close()


async def test_a_read_that_is_refused_for_its_time_is_signed_anew_once(venue, exchange, script):
    venue.replies["GET /fapi/v1/order"] = script([SKEWED, FILLED])
    found = await exchange.find(ORDER.intent)
    assert (found.state, venue.paths()) == (
        OrderState.FILLED,
        ["GET /fapi/v1/order", "GET /fapi/v1/time", "GET /fapi/v1/order"],
    )
    venue.replies["GET /fapi/v1/order"] = SKEWED
    with pytest.raises(VenueRejected) as caught:
        await exchange.find(ORDER.intent)
    assert caught.value.code == -1021


async def test_a_read_that_is_signed_anew_waits_for_what_another_one_was_told(venue, clock):
    connection = connect_to(venue.base_url, clock)
    asked_s: list[float] = []

    def order(_):
        asked_s.append(clock.now_ms() / 1000)
        return SKEWED if len(asked_s) == 1 else FILLED

    def server_time(_):
        connection.budget.block(3.0)  # a request beside this one was answered 429
        return 200, {"serverTime": clock.now_ms()}

    venue.replies |= {"GET /fapi/v1/order": order, "GET /fapi/v1/time": server_time}
    assert (await CcxtExchange(connection).find(ORDER.intent)).state is OrderState.FILLED
    assert asked_s[-1] - asked_s[0] >= 3.0
    await connection.close()


async def test_what_opens_or_bares_a_position_dies_at_the_venue_sooner_than_what_can_only_close(venue, clock):
    venue.replies |= {"POST /fapi/v1/order": FILLED, "DELETE /fapi/v1/order": FILLED, "GET /fapi/v1/order": FILLED}
    resting = {"algoId": 1, "clientAlgoId": "oabc-stop-1", "symbol": "BTCUSDT", "algoStatus": "NEW", "updateTime": 0}
    venue.replies |= {"POST /fapi/v1/algoOrder": resting, "DELETE /fapi/v1/algoOrder": resting}
    connection = connect_to(venue.base_url, clock, order_window_ms=1_500, receive_window_ms=7_000)
    exchange = CcxtExchange(connection)
    leaving = replace(ORDER.intent, client_id="oabc-exit-1", side=Side.SELL, reduce_only=True)
    await exchange.send(ORDER)
    await exchange.cancel(STOP_ORDER.intent)
    short = [request.parameters["recvWindow"] for request in venue.asked]
    await exchange.cancel(ORDER.intent)
    await exchange.send(STOP_ORDER)
    await exchange.send(approve(leaving, replace(CONTEXT, held=Decimal("0.12"))))
    await exchange.find(ORDER.intent)
    assert short == ["1500"] * 2
    assert [request.parameters["recvWindow"] for request in venue.asked[2:]] == ["7000"] * 4
    await connection.close()


async def test_market_data_leave_a_reserve_of_the_budget_to_questions_about_the_account(venue, clock):
    venue.replies["GET /fapi/v1/order"] = FILLED
    venue.replies["GET /fapi/v1/time"] = {"serverTime": clock.now_ms()}
    connection = connect_to(venue.base_url, clock, in_trader=True)
    connection.budget.observe({"X-MBX-USED-WEIGHT-1M": "2390"})  # another process behind this address
    with pytest.raises(VenueUnreachable, match="request budget"):
        await connection.now_ms()
    assert clock.waits == []  # said at once, not asked for again and again
    exchange = CcxtExchange(connection)
    assert (await exchange.find(ORDER.intent)).state is OrderState.FILLED
    await connection.close()


async def test_an_order_is_signed_with_the_time_of_its_approval_on_the_venues_clock(venue, exchange, connection, clock):
    ahead_ms = 3_000
    venue.replies["GET /fapi/v1/time"] = lambda _: (200, {"serverTime": round(time.time() * 1000) + ahead_ms})
    venue.replies["POST /fapi/v1/order"] = FILLED
    await exchange.server_time_ms()
    approved_ms = clock.now_ms() - 20_000  # and then its process was held up
    await exchange.send(approve(ORDER.intent, replace(CONTEXT, approved_ms=approved_ms)))
    assert abs(int(venue.asked[-1].parameters["timestamp"]) - approved_ms - ahead_ms) < 2_000


async def test_a_cancel_is_signed_with_the_time_of_its_call(venue, exchange, connection, clock, monkeypatch):
    venue.replies["DELETE /fapi/v1/order"] = FILLED | {"status": "CANCELED"}
    called_ms, change = clock.now_ms(), connection.change

    async def held_up(*order, **options):
        monkeypatch.setattr(clock, "now_ms", lambda: called_ms + 50_000)
        return await change(*order, **options)

    monkeypatch.setattr(connection, "change", held_up)
    await exchange.cancel(ORDER.intent)
    assert abs(int(venue.asked[-1].parameters["timestamp"]) - called_ms) < 10_000


async def test_a_clock_too_far_off_does_not_trade_until_it_is_right_again(venue, exchange):
    venue.replies["POST /fapi/v1/order"] = FILLED
    venue.replies["GET /fapi/v1/time"] = lambda _: (200, {"serverTime": round(time.time() * 1000) - 60_000})
    await exchange.server_time_ms()
    with pytest.raises(VenueRejected, match=r"clock is \+60\.0 s off the venue's"):
        await exchange.send(ORDER)
    venue.replies["GET /fapi/v1/time"] = lambda _: (200, {"serverTime": round(time.time() * 1000)})
    with pytest.raises(ClockRefused, match="not sent"):  # time has passed over the question: the caller decides anew
        await exchange.send(ORDER)
    assert "POST /fapi/v1/order" not in venue.paths()
    assert (await exchange.send(ORDER)).state is OrderState.FILLED


async def test_failed_attempts_to_learn_the_time_do_not_shift_it(venue, clock, script):
    def right(_):
        return 200, {"serverTime": clock.now_ms()}

    venue.replies["GET /fapi/v1/time"] = script([(503, "busy"), (503, "busy"), right])
    connection = connect_to(venue.base_url, clock, backoff_s=4.0)
    await connection.now_ms()
    assert sum(clock.waits) > 2
    assert abs(connection.estimated_now_ms() - clock.now_ms()) < 800
    await connection.close()


async def test_a_venue_with_simulated_time_is_not_called_skewed(venue, clock):
    venue.replies["GET /fapi/v1/time"] = {"serverTime": 1_735_689_600_000}
    venue.replies["POST /fapi/v1/order"] = FILLED
    connection = connect_to(venue.base_url, clock, clock_skew_limit_ms=None)
    exchange = CcxtExchange(connection)
    assert await exchange.server_time_ms() == 1_735_689_600_000
    assert (await exchange.send(ORDER)).state is OrderState.FILLED
    await connection.close()


async def test_in_a_trader_a_question_without_answer_ends_soon(venue, clock):
    connection = connect_to(venue.base_url, clock, in_trader=True, trader_read_s=0.2)
    venue.replies |= {"GET /fapi/v3/account": "hang", "GET /fapi/v1/time": "hang", "POST /fapi/v1/order": SKEWED}
    before = time.monotonic()
    with pytest.raises(VenueUnreachable, match=r"account: no answer within 0\.2 s"):
        await CcxtExchange(connection).account()
    with pytest.raises(VenueUnreachable, match=r"server time: no answer within 0\.2 s"):
        await CcxtExchange(connection).send(ORDER)
    assert time.monotonic() - before < 5
    assert venue.paths().count("POST /fapi/v1/order") == 1
    await connection.close()


async def test_in_a_trader_a_question_is_repeated_while_there_is_time_and_then_says_what_was_wrong(venue):
    connection = connect_to(venue.base_url, SystemClock(), in_trader=True, trader_read_s=2.0, backoff_s=0.05, read_attempts=50)
    venue.replies["GET /fapi/v3/account"] = (503, "maintenance")
    with pytest.raises(VenueUnreachable, match="HTTP 503"):
        await CcxtExchange(connection).account()
    assert len(venue.asked) > 1
    await connection.close()


async def test_in_a_trader_a_wait_that_the_venue_asks_for_is_told_at_once_and_not_slept(venue, clock):
    connection = connect_to(venue.base_url, clock, in_trader=True)
    venue.replies["GET /fapi/v3/account"] = (418, {"code": -1003, "msg": "banned"}, {"Retry-After": "60"})
    for _ in range(2):
        with pytest.raises(RateLimited) as caught:
            await CcxtExchange(connection).account()
        assert 55 < caught.value.retry_after_s <= 60
    assert (venue.paths(), clock.waits) == (["GET /fapi/v3/account"], [])
    await connection.close()


async def test_in_a_trader_a_used_up_budget_is_told_at_once_and_not_slept(venue, clock):
    connection = connect_to(venue.base_url, clock, in_trader=True, weight_per_minute=60, weight_share=1.0)
    venue.replies["GET /fapi/v3/account"] = {}
    connection.budget.observe({"X-MBX-USED-WEIGHT-1M": "60"})
    with pytest.raises(VenueUnreachable, match="used up for 5 s"):  # nobody has asked to be left alone
        await CcxtExchange(connection).account()
    assert (venue.asked, clock.waits) == ([], [])
    await connection.close()


async def test_neither_key_nor_secret_nor_signature_shows_up_anywhere(venue, exchange, connection, caplog):
    caplog.set_level(logging.DEBUG)
    venue.replies["GET /fapi/v3/account"] = (401, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."})
    venue.replies["POST /fapi/v1/order"] = "drop"
    with pytest.raises(VenueRejected) as refused:
        await exchange.account()
    with pytest.raises(OutcomeUnknown) as unknown:
        await exchange.send(ORDER)
    signature = venue.asked[0].parameters["signature"]
    shown = caplog.text + "".join("".join(traceback.format_exception(error.value)) for error in (refused, unknown))
    shown += repr(connection) + repr(exchange) + repr(connection._client) + str(connection._client)
    for secret in ("the-api-key", "the-api-secret", signature, "signature="):
        assert secret not in shown


async def test_probe_says_yes(venue, clock):
    assert (await probe_venue(clock, base_url=venue.base_url)).reachable


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ((451, {"code": 0, "msg": "restricted location"}), "does not serve this region"),
        ((503, "maintenance"), "HTTP 503"),
        ((200, "<html>sign in</html>"), "no JSON"),
        ((200, {"hello": "world"}), "not as documented"),
        ("hang", "did not answer within|without an answer"),
    ],
)
async def test_probe_gives_the_reason_in_one_line(venue, clock, reply, reason):
    venue.replies["GET /fapi/v1/time"] = reply
    before = time.monotonic()
    outcome = await probe_venue(clock, base_url=venue.base_url, timeout_s=0.3)
    assert time.monotonic() - before < 1.5
    assert not outcome.reachable
    assert "\n" not in outcome.reason
    assert re.search(reason, outcome.reason)


async def test_probe_of_an_address_where_nobody_listens(clock):
    outcome = await probe_venue(clock, base_url=f"http://127.0.0.1:{unused_port()}")
    assert (outcome.reachable, "Connection refused" in outcome.reason) == (False, True)
