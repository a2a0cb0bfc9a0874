import json
import socket
from pathlib import Path

import aiohttp
import pytest

from shared.adapters.exchange.ccxt_import import load_module
from shared.adapters.exchange.client import HttpReply
from shared.adapters.exchange.errors import AccessBlocked, translate
from shared.domain.errors import (
    NoMargin,
    NothingToReduce,
    OutcomeUnknown,
    RateLimited,
    RulesBroken,
    VenueRejected,
    VenueUnreachable,
    WouldTrigger,
)

RECORDED = Path(__file__).resolve().parents[5] / "shared" / "data" / "binance_payloads" / "errors.json"
BUSY = {-1003}
NOT_TAKEN = {-1008, -1015}
UNKNOWN = {-1006, -1007}
NOW_MS = 1_615_183_600_000


def recorded() -> list[dict]:
    return json.loads(RECORDED.read_text())["errors"] if RECORDED.exists() else []


def ccxt_error(name: str = "ExchangeError", cause: Exception | None = None) -> Exception:
    error = getattr(load_module("ccxt.base.errors"), name)("binanceusdm POST https://fapi.example/fapi/v1/order?signature=abc")
    error.__cause__ = cause
    return error


def outcome(status=None, body="", *, changes=True, error=None, headers=None):
    reply = HttpReply(status, headers or {}, body if isinstance(body, str) else json.dumps(body))
    return translate(error or ccxt_error(), reply, "send order", changes=changes, now_ms=NOW_MS)


@pytest.mark.skipif(not RECORDED.exists(), reason="recorded Binance payloads are not present beside the repository")
@pytest.mark.parametrize("changes", [True, False], ids=["send", "read"])
@pytest.mark.parametrize("entry", recorded(), ids=lambda entry: f"{entry['venue']}{entry['body']['code']}")
def test_every_recorded_error_has_its_outcome(entry, changes):
    code, status = entry["body"]["code"], entry["http_status"] or 400
    error = outcome(status, entry["body"], changes=changes)
    if code in BUSY:
        assert isinstance(error, RateLimited)
    elif code in NOT_TAKEN:
        assert type(error) is VenueUnreachable
    elif code in UNKNOWN:
        assert type(error) is (OutcomeUnknown if changes else VenueUnreachable)
    else:
        assert isinstance(error, VenueRejected)
        assert not isinstance(error, RateLimited)
        assert error.code == code
    assert entry["body"]["msg"] in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
def test_a_venue_in_trouble_leaves_a_sent_order_unknown_and_a_read_repeatable(status):
    assert type(outcome(status, "<html>trouble</html>")) is OutcomeUnknown
    assert type(outcome(status, "<html>trouble</html>", changes=False)) is VenueUnreachable


@pytest.mark.parametrize(("status", "code"), [(503, -1008), (400, -1008), (429, -1015), (400, -1015)])
@pytest.mark.parametrize("changes", [True, False])
def test_overload_and_too_many_orders_mean_that_this_request_was_not_done_and_bind_no_other(status, code, changes):
    error = outcome(status, {"code": code, "msg": "Request throttled by system-level protection."}, changes=changes)
    assert type(error) is VenueUnreachable


@pytest.mark.parametrize("changes", [True, False])
def test_a_blocked_region_says_so(changes):
    error = outcome(451, {"code": 0, "msg": "Service unavailable from a restricted location"}, changes=changes)
    assert isinstance(error, AccessBlocked)
    assert "region" in str(error)


def test_a_firewall_never_reached_the_matching_engine():
    assert isinstance(outcome(403, "<html>forbidden</html>"), VenueUnreachable)


def test_a_ban_is_turned_into_a_wait():
    error = outcome(418, {"code": -1003, "msg": "Way too many requests; IP(1.2.3.4) banned until 1615183669840."})
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == pytest.approx(69.84)


def test_retry_after_wins_over_the_words():
    body = {"code": -1003, "msg": "banned until 1615183669840."}
    error = outcome(429, body, headers={"Retry-After": "5"})
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == 5


@pytest.mark.parametrize(
    "cause",
    [
        aiohttp.ClientConnectorError(None, ConnectionRefusedError(111, "refused")),  # type: ignore[arg-type]
        aiohttp.ConnectionTimeoutError("connecting took too long"),
        aiohttp.ClientHttpProxyError(None, (), status=403),  # type: ignore[arg-type]
        socket.gaierror(-2, "Name or service not known"),
    ],
)
def test_a_connection_that_was_never_made_sent_nothing(cause):
    assert type(outcome(error=ccxt_error("ExchangeNotAvailable", cause))) is VenueUnreachable


@pytest.mark.parametrize(
    "cause",
    [
        TimeoutError(),
        aiohttp.SocketTimeoutError("reading"),
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientOSError(104, "Connection reset by peer"),
        aiohttp.ClientPayloadError("body ended early"),
    ],
)
def test_a_connection_that_broke_may_have_delivered_the_order(cause):
    assert type(outcome(error=ccxt_error("RequestTimeout", cause))) is OutcomeUnknown
    assert type(outcome(error=ccxt_error("RequestTimeout", cause), changes=False)) is VenueUnreachable


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (-2019, NoMargin),
        (-2022, NothingToReduce),
        (-4118, NothingToReduce),
        (-2021, WouldTrigger),
        (-1111, RulesBroken),
        (-1013, RulesBroken),
        (-4164, RulesBroken),
        (-2027, VenueRejected),
        (-1121, VenueRejected),
    ],
)
def test_a_refusal_says_what_has_to_be_asked_again(code, kind):
    assert type(outcome(400, {"code": code, "msg": "no"})) is kind


def test_missing_keys_are_a_definitive_no_before_anything_is_sent():
    error = outcome(error=ccxt_error("AuthenticationError"))
    assert type(error) is VenueRejected
    assert "no API key" in str(error)


@pytest.mark.parametrize("body", ["", "[]", "null", '{"code": "x"}', "<html>"])
def test_bodies_that_are_not_binances_give_no_code(body):
    error = outcome(404, body)
    assert type(error) is VenueRejected
    assert error.code is None


def test_no_message_holds_the_signed_url():
    for error in (outcome(400, {"code": -1, "msg": "no"}), outcome(), outcome(500), outcome(429)):
        assert "signature" not in str(error)
        assert "https" not in str(error)
