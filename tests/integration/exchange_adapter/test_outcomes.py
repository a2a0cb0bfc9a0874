"""What each kind of failure means for a sent order and for a read."""

import logging
import re
import socket
import time
import traceback
from decimal import Decimal

import numpy as np
import pytest

from shared.adapters.exchange import CcxtExchange, ConnectionParams, connect, probe_venue
from shared.domain.errors import OutcomeUnknown, RateLimited, VenueRejected, VenueUnreachable
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


def connect_to(base_url, clock, **params):
    return connect(
        "binanceusdm",
        clock,
        np.random.default_rng(1),
        ConnectionParams(**params),
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
    connection = connect_to(venue.base_url, clock, timeout_s=0.2)
    venue.replies["POST /fapi/v1/order"] = "hang"
    with pytest.raises(OutcomeUnknown, match="without an answer"):
        await CcxtExchange(connection).send(ORDER)
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


async def test_a_refused_timestamp_is_corrected_and_the_order_sent_once_more(venue, clock, script):
    ahead_ms = 4_000
    venue.replies["GET /fapi/v1/time"] = lambda _: (200, {"serverTime": round(time.time() * 1000) + ahead_ms})
    skewed = (400, {"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."})
    venue.replies["POST /fapi/v1/order"] = script([skewed, FILLED])
    connection = connect_to(venue.base_url, clock)
    assert (await CcxtExchange(connection).send(ORDER)).state is OrderState.FILLED
    assert venue.paths() == ["POST /fapi/v1/order", "GET /fapi/v1/time", "POST /fapi/v1/order"]
    first, second = (int(request.parameters["timestamp"]) for request in (venue.asked[0], venue.asked[2]))
    assert abs(second - first - ahead_ms) < 1000
    await connection.close()


async def test_a_timestamp_refused_twice_is_final(venue, exchange):
    venue.replies["POST /fapi/v1/order"] = (400, {"code": -1021, "msg": "Timestamp outside of the recvWindow."})
    with pytest.raises(VenueRejected) as caught:
        await exchange.send(ORDER)
    assert caught.value.code == -1021
    assert venue.paths().count("POST /fapi/v1/order") == 2


async def test_a_clock_too_far_off_does_not_trade_until_it_is_right_again(venue, exchange):
    venue.replies["POST /fapi/v1/order"] = FILLED
    venue.replies["GET /fapi/v1/time"] = lambda _: (200, {"serverTime": round(time.time() * 1000) - 60_000})
    await exchange.server_time_ms()
    with pytest.raises(VenueRejected, match=r"clock is \+60\.0 s off the venue's"):
        await exchange.send(ORDER)
    assert "POST /fapi/v1/order" not in venue.paths()
    venue.replies["GET /fapi/v1/time"] = lambda _: (200, {"serverTime": round(time.time() * 1000)})
    assert (await exchange.send(ORDER)).state is OrderState.FILLED


async def test_a_venue_with_simulated_time_is_not_called_skewed(venue, clock):
    venue.replies["GET /fapi/v1/time"] = {"serverTime": 1_735_689_600_000}
    venue.replies["POST /fapi/v1/order"] = FILLED
    connection = connect_to(venue.base_url, clock, clock_skew_limit_ms=None)
    exchange = CcxtExchange(connection)
    assert await exchange.server_time_ms() == 1_735_689_600_000
    assert (await exchange.send(ORDER)).state is OrderState.FILLED
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
