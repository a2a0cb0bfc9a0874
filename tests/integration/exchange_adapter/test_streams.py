"""The streams against a venue of a few lines that says and does what each test wants: nonsense, refusals, silence."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from aiohttp import WSMsgType, web

from shared.adapters.exchange import CcxtMarketStream, CcxtUserStream, Connection, StreamParams
from shared.adapters.exchange.stream_connection import Consumer, StreamConnection, Subscription
from shared.adapters.exchange.stream_socket import open_session
from shared.adapters.local.clock import SystemClock
from shared.domain.errors import ConfigError, VenueRejected, VenueUnreachable
from shared.domain.interval import Interval
from shared.domain.stream import BarMessage, Channel, OrderMessage, QuoteMessage, StreamNotice, StreamState

pytestmark = pytest.mark.timeout(20)
QUICK = StreamParams(heartbeat_s=5, backoff_s=0.01, backoff_limit_s=0.05, timeout_s=2)
BAR = {"t": 60_000, "T": 119_999, "s": "BTCUSDT", "i": "1m", "o": "1", "c": "1", "h": "1", "l": "1", "v": "1", "x": True}
KLINE = {"e": "kline", "E": 120_001, "s": "BTCUSDT", "k": BAR}
QUOTE = {"e": "bookTicker", "u": 1, "E": 5, "T": 5, "s": "BTCUSDT", "b": "1.0", "B": "1", "a": "1.1", "A": "1"}
TRADE = {"e": "TRADE_LITE", "E": 3, "T": 2, "s": "BTCUSDT", "c": "mine", "S": "BUY", "l": "0.1", "L": "5", "t": 1, "i": 7}


@dataclass
class TalkativeVenue:
    """Says `says[category]` after each handshake's subscription; `before` comes ahead of the answer to it."""

    base_url: str = ""
    says: dict[str, list[str | bytes]] = field(default_factory=dict)
    before: list[str] = field(default_factory=list)
    refusal: dict[str, Any] = field(default_factory=dict)
    """what is said to a subscription instead of yes"""
    refusals: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    subscribed: list[tuple[str, list[str]]] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    close_after: bool = False
    holding: asyncio.Event | None = None
    """handshakes are answered once it is set"""
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    """a handshake waits for that"""
    deaf: bool = False
    """goes on talking after the subscription and hears nothing more"""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        category = request.path.strip("/").split("/")[0]
        if self.holding is not None:
            self.waiting.set()
            await self.holding.wait()
        if self.refusals:
            status, headers = self.refusals.pop(0)
            return web.Response(status=status, headers=headers)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.opened.append(request.path_qs)
        if category == "private":
            await self._speak(socket, category)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                asked = json.loads(message.data)
                self.subscribed.append((category, asked["params"]))
                for text in self.before:
                    await socket.send_str(text)
                await socket.send_str(json.dumps({"result": None, "id": asked["id"]} | self.refusal))
                await self._speak(socket, category)
            if self.close_after:
                break
            while self.deaf and not socket.closed:
                await asyncio.sleep(0.01)
                with suppress(ConnectionError):
                    await self._speak(socket, category)
        return socket

    async def _speak(self, socket: web.WebSocketResponse, category: str) -> None:
        for text in self.says.get(category, []):
            await (socket.send_bytes(text) if isinstance(text, bytes) else socket.send_str(text))


@pytest.fixture
async def talkative() -> AsyncIterator[TalkativeVenue]:
    made = TalkativeVenue()
    app = web.Application()
    app.router.add_get("/{category}/ws", made.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def market(talkative: TalkativeVenue) -> AsyncIterator[CcxtMarketStream]:
    stream = CcxtMarketStream("binanceusdm", SystemClock(), np.random.default_rng(1), QUICK, base_url=talkative.base_url)
    yield stream
    await stream.close()


async def first(stream: CcxtMarketStream | CcxtUserStream, kind: type) -> Any:
    while not isinstance(message := await stream.next(), kind):
        pass
    return message


async def test_nonsense_is_counted_logged_once_and_harms_nothing_else(
    talkative: TalkativeVenue, market: CcxtMarketStream, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = {"e": "kline", "E": 1, "k": {}}
    nonsense = ["no json", json.dumps(wrong), "[]", json.dumps({**wrong, "E": None}), b"bytes"]
    talkative.says = {"market": [*nonsense, json.dumps(KLINE)], "public": [json.dumps(QUOTE)]}
    with caplog.at_level(logging.WARNING):
        await market.open(["BTCUSDT"], Interval.M1)
        bar = await first(market, BarMessage)
    assert (bar.open_ms, bar.closed) == (60_000, True)
    assert market.malformed == {"no event": 2, "kline": 2}
    assert len([record for record in caplog.records if "left out" in record.message]) == 2


async def test_each_channel_is_asked_for_where_the_venue_serves_it(talkative: TalkativeVenue, market: CcxtMarketStream) -> None:
    symbols = [f"S{number}USDT" for number in range(70)]
    await market.open(symbols, Interval.M1)
    names = [f"s{number}usdt" for number in range(70)]
    wanted = {"market": {f"{n}@kline_1m" for n in names} | {f"{n}@markPrice@1s" for n in names}}
    wanted["public"] = {f"{n}@bookTicker" for n in names}
    for category, all_names in wanted.items():
        requests = [params for asked, params in talkative.subscribed if asked == category]
        assert max(map(len, requests)) <= 100
        assert {name for params in requests for name in params} == all_names


async def test_what_comes_before_the_answer_to_the_subscription_is_kept(
    talkative: TalkativeVenue, market: CcxtMarketStream
) -> None:
    talkative.before = [json.dumps(QUOTE), "no json"]
    await market.open(["BTCUSDT"], Interval.M1)
    assert (await first(market, QuoteMessage)).time_ms == 5
    assert market.malformed["no event"] >= 1


async def test_a_refused_subscription_is_final(talkative: TalkativeVenue, market: CcxtMarketStream) -> None:
    talkative.refusal = {"error": {"code": 2, "msg": "Invalid request"}}
    with pytest.raises(VenueRejected, match=r"refused the subscription.*Invalid request"):
        await market.open(["BTCUSDT"], Interval.M1)


@pytest.mark.parametrize(("status", "words"), [(451, "does not serve this region"), (403, "firewall"), (404, "HTTP 404")])
async def test_a_venue_that_refuses_for_good_is_told_at_once(
    talkative: TalkativeVenue, market: CcxtMarketStream, status: int, words: str
) -> None:
    talkative.refusals = [(status, {})] * 2
    with pytest.raises((VenueRejected, VenueUnreachable), match=words):
        await market.open(["BTCUSDT"], Interval.M1)


class Pauses:
    """Short waits are written down and skipped, long ones last until the end."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self._never = asyncio.Event()

    def now_ms(self) -> int:
        return 0

    async def sleep(self, seconds: float) -> None:
        if seconds > 1_000:
            await self._never.wait()
        self.waits.append(seconds)
        await asyncio.sleep(0)


async def test_pauses_double_with_jitter_up_to_their_limit_and_a_ban_is_waited_for(talkative: TalkativeVenue) -> None:
    talkative.refusals = [(503, {})] * 7 + [(429, {"Retry-After": "77"})]
    clock = Pauses()
    params = replace(QUICK, backoff_s=0.5, backoff_limit_s=8.0)
    told: list[StreamState] = []
    connected = asyncio.Event()
    session = open_session("", trust_env=False)

    def notify(state: StreamState, _: str) -> None:
        told.append(state)
        if state is StreamState.CONNECTED:
            connected.set()

    async def address() -> str:
        return f"ws{talkative.base_url.removeprefix('http')}/market/ws"

    consumer = Consumer(lambda _: None, notify, lambda _: None)
    keeper = StreamConnection(
        Subscription("stream", address, ["x"]), consumer, session, clock, np.random.default_rng(3), params
    )
    await keeper.open()
    await connected.wait()
    await keeper.close()
    await session.close()
    assert told == [StreamState.LOST, StreamState.CONNECTED]
    assert clock.waits[-1] == 77.0
    for wait, full in zip(clock.waits, [0.5, 1, 2, 4, 8, 8, 8], strict=False):
        assert full / 2 <= wait <= full
    assert len(set(clock.waits)) == len(clock.waits)


async def test_a_venue_that_accepts_and_hangs_up_is_not_stormed(talkative: TalkativeVenue) -> None:
    talkative.close_after = True
    clock = Pauses()
    params = replace(QUICK, backoff_s=0.5, backoff_limit_s=30.0)
    stream = CcxtMarketStream("binanceusdm", clock, np.random.default_rng(1), params, base_url=talkative.base_url)
    await stream.open(["BTCUSDT"], Interval.M1)
    while len(clock.waits) < 12:
        await first(stream, StreamNotice)
    await stream.close()
    assert max(clock.waits[:2]) <= 0.5
    assert min(clock.waits[10:12]) >= 4


async def test_a_rotation_that_is_refused_keeps_the_old_connection_and_is_tried_again(talkative: TalkativeVenue) -> None:
    params = replace(QUICK, rotate_after_s=0.05, overlap_s=0.02)
    stream = CcxtMarketStream("binanceusdm", SystemClock(), np.random.default_rng(1), params, base_url=talkative.base_url)
    await stream.open(["BTCUSDT"], Interval.M1)
    talkative.refusals = [(503, {})] * 5
    while talkative.refusals:
        notice = await first(stream, StreamNotice)
        assert notice.state in (StreamState.CONNECTED, StreamState.ROTATED)
    assert (await first(stream, StreamNotice)).state is StreamState.ROTATED
    await stream.close()


async def test_a_loss_is_told_at_once_even_while_a_rotation_waits_for_its_handshake(talkative: TalkativeVenue) -> None:
    params = replace(QUICK, rotate_after_s=0.05, overlap_s=0.02, timeout_s=600)
    stream = CcxtMarketStream("binanceusdm", SystemClock(), np.random.default_rng(1), params, base_url=talkative.base_url)
    await stream.open(["BTCUSDT"], Interval.M1)
    assert (await first(stream, StreamNotice)).state is StreamState.CONNECTED
    assert (await first(stream, StreamNotice)).state is StreamState.ROTATED
    talkative.holding = asyncio.Event()
    await talkative.waiting.wait()
    await stream.reconnect("for a test")
    while (notice := await first(stream, StreamNotice)).state is StreamState.ROTATED:
        pass
    assert notice.state is StreamState.LOST
    talkative.holding.set()
    assert (await first(stream, StreamNotice)).state is StreamState.CONNECTED
    await stream.close()


async def test_a_venue_that_hears_no_goodbye_is_left_all_the_same(talkative: TalkativeVenue, market: CcxtMarketStream) -> None:
    talkative.deaf = True
    talkative.says = {"market": [json.dumps(KLINE)], "public": [json.dumps(QUOTE)]}
    await market.open(["BTCUSDT"], Interval.M1)
    assert (await first(market, StreamNotice)).state is StreamState.CONNECTED
    await market.reconnect("for a test")
    notices = [await first(market, StreamNotice) for _ in range(2)]
    assert [notice.state for notice in notices] == [StreamState.LOST, StreamState.CONNECTED]
    async with asyncio.timeout(5):
        await market.close()


async def test_a_fault_of_our_own_reaches_the_consumer(talkative: TalkativeVenue, market: CcxtMarketStream) -> None:
    def broken(_: str) -> None:
        raise ZeroDivisionError

    talkative.says = {"market": [json.dumps(KLINE)]}
    market._receive = broken  # type: ignore[method-assign]
    await market.open(["BTCUSDT"], Interval.M1)
    with pytest.raises(ZeroDivisionError):
        await first(market, BarMessage)


async def test_the_listen_key_is_in_no_message(
    talkative: TalkativeVenue, venue: Any, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    venue.replies["POST /fapi/v1/listenKey"] = {"listenKey": "the-listen-key"}
    talkative.refusals = [(503, {}), (429, {"Retry-After": "0"}), (502, {})]
    talkative.says = {"private": ["no json", json.dumps(TRADE)]}
    stream = CcxtUserStream(connection, SystemClock(), np.random.default_rng(1), QUICK, base_url=talkative.base_url)
    with caplog.at_level(logging.DEBUG):
        await stream.open()
        notices = [await first(stream, StreamNotice) for _ in range(2)]
        await first(stream, OrderMessage)
        await stream.close()
    assert [notice.state for notice in notices] == [StreamState.LOST, StreamState.CONNECTED]
    assert stream.malformed == {"no event": 1}
    said = " ".join([*(record.getMessage() for record in caplog.records), *(notice.detail for notice in notices)])
    assert "the-listen-key" not in said
    assert talkative.opened == ["/private/ws?listenKey=the-listen-key"]


async def test_orders_come_out_of_the_envelope_of_combined_streams(
    talkative: TalkativeVenue, venue: Any, connection: Connection
) -> None:
    venue.replies["POST /fapi/v1/listenKey"] = {"listenKey": "k"}
    talkative.says = {"private": [json.dumps({"stream": "k", "data": TRADE})]}
    stream = CcxtUserStream(connection, SystemClock(), np.random.default_rng(1), QUICK, base_url=talkative.base_url)
    await stream.open()
    assert (await first(stream, OrderMessage)).report.client_id == "mine"
    await stream.close()


async def test_what_an_unreadable_message_said_has_to_be_fetched(
    talkative: TalkativeVenue, venue: Any, connection: Connection
) -> None:
    venue.replies["POST /fapi/v1/listenKey"] = {"listenKey": "k"}
    order = {"e": "ORDER_TRADE_UPDATE", "E": 3, "o": {}}
    hedge = {"e": "ACCOUNT_UPDATE", "E": 3, "a": {"m": "ORDER", "P": [{"s": "BTCUSDT", "ps": "LONG", "pa": "1", "ep": "1"}]}}
    news = {"e": "SOMETHING_NEW", "E": 3}
    says = [order, TRADE, order, hedge, news, news, {"e": "MARGIN_CALL"}]
    talkative.says = {"private": ["no json", *map(json.dumps, says)]}
    stream = CcxtUserStream(connection, SystemClock(), np.random.default_rng(1), QUICK, base_url=talkative.base_url)
    await stream.open()
    heard = [await stream.next() for _ in range(12)]
    told = [message.state if isinstance(message, StreamNotice) else type(message) for message in heard]
    unreadable = [StreamState.UNREADABLE, StreamState.CONNECTED]
    assert told == [StreamState.CONNECTED, *2 * unreadable, OrderMessage, *3 * unreadable]  # the second SOMETHING_NEW is none
    assert "hedge mode" in " ".join(message.detail for message in heard if isinstance(message, StreamNotice))
    await stream.close()


async def test_the_connection_of_one_channel_is_replaced_alone(talkative: TalkativeVenue, market: CcxtMarketStream) -> None:
    await market.open(["BTCUSDT"], Interval.M1)
    assert (await first(market, StreamNotice)).state is StreamState.CONNECTED
    opened = sorted(talkative.opened)
    for channel, path, words in (
        (Channel.QUOTES, "/public/ws", "bookTicker"),
        (Channel.BARS, "/market/ws", "kline, markPrice"),
        (Channel.MARKS, "/market/ws", "kline, markPrice"),
    ):
        await market.reconnect("no data", channel)
        lost, back = [await first(market, StreamNotice) for _ in range(2)]
        assert (lost.state, lost.detail, back.state) == (
            StreamState.LOST,
            f"market stream ({words}): no data",
            StreamState.CONNECTED,
        )
        opened = sorted([*opened, path])
        assert sorted(talkative.opened) == opened


@pytest.mark.parametrize(
    "setting", [{"timeout_s": 0}, {"heartbeat_s": -1}, {"overlap_s": 90_000.0}, {"backoff_s": 31.0}, {"keep_alive_s": 0}]
)
def test_impossible_stream_settings_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"stream.{next(iter(setting))}"):
        StreamParams(**setting)
