"""WebSocket streams: market streams by name and the user stream by listen key.

A connection on `…/ws` gets bare events, one on `…/stream` gets `{"stream", "data"}`. The category that newer clients put
before the path (`/public`, `/market`, `/private`) is accepted and ignored. Market events follow simulated time: each move
of the clock sends the bars that closed on the way and then the open one; a new subscription gets the open one at once.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

from cloudrun.exchange import public_data, stream_payloads
from cloudrun.exchange.core import Event
from cloudrun.exchange.desk import Desk
from cloudrun.exchange.klines import interval_of
from cloudrun.exchange.market import SymbolMarket
from cloudrun.exchange.refusal import Refusal

MAX_BARS_PER_MOVE = 1500
KEY_MINUTES = 60


class Connection:
    """One socket: what it listens to and what waits to be sent."""

    def __init__(self, socket: web.WebSocketResponse, *, wrapped: bool) -> None:
        self.socket = socket
        self.wrapped = wrapped
        self.names: set[str] = set()
        self.key: str | None = None
        self._outbox: asyncio.Queue[str] = asyncio.Queue()

    def put(self, name: str, event: Any) -> None:
        """Queue an event of stream `name`."""
        self.say({"stream": name, "data": event} if self.wrapped else event)

    def say(self, body: Any) -> None:
        """Queue a message as it is."""
        self._outbox.put_nowait(json.dumps(body, separators=(",", ":")))

    async def write(self) -> None:
        """Send what is queued, in order, until cancelled; a reader that is slow or gone delays nobody else."""
        while True:
            try:
                await self.socket.send_str(await self._outbox.get())
            except ConnectionError:
                return


class Streams:
    """All connections of one desk. `monotonic_s` is the clock that listen keys expire on."""

    def __init__(self, desk: Desk, monotonic_s: Callable[[], float], key_lifetime_s: float = KEY_MINUTES * 60) -> None:
        self._desk = desk
        self._clock = monotonic_s
        self._lifetime_s = key_lifetime_s
        self._connections: set[Connection] = set()
        self._key: str | None = None
        self._key_until_s = 0.0
        desk.listener = self._publish

    def open_key(self) -> str:
        """The listen key, new or extended."""
        self.expire_key()
        if self._key is None:
            self._key = secrets.token_hex(32)
        self._key_until_s = self._clock() + self._lifetime_s
        return self._key

    def keep_key(self) -> str:
        """Extend the listen key. Raises -1125 where there is none."""
        self.expire_key()
        if self._key is None:
            raise Refusal(-1125, "This listenKey does not exist.")
        return self.open_key()

    def close_key(self) -> dict[str, Any]:
        """End the listen key at the client's wish."""
        self._key = None
        return {}

    def expire_key(self) -> None:
        """End the listen key if its time is over, and say so to its listeners."""
        if self._key is None or self._clock() < self._key_until_s:
            return
        for connection in self._connections:
            if connection.key == self._key:
                connection.put(self._key, stream_payloads.listen_key_expired(self._key, self._desk.now_ms))
        self._key = None

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Handle one socket until it closes."""
        socket = web.WebSocketResponse(heartbeat=60)
        await socket.prepare(request)
        connection = Connection(socket, wrapped="/stream" in request.path)
        self._connections.add(connection)
        listen_key = request.query.get("listenKey")
        names = request.query.get("streams", "").split("/") + request.match_info.get("name", "").split("/")
        self._subscribe(connection, [name for name in (listen_key, *names) if name])
        writing = asyncio.create_task(connection.write())
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._command(connection, message.data)
        finally:
            self._connections.discard(connection)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        return socket

    async def close(self) -> None:
        """Close every socket."""
        for connection in list(self._connections):
            await connection.socket.close()

    def _command(self, connection: Connection, text: str) -> None:
        """SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS as JSON."""
        try:
            message = json.loads(text)
            method, names, number = message["method"], message.get("params") or [], message.get("id")
        except (ValueError, KeyError, TypeError, AttributeError):
            connection.say({"error": {"code": 2, "msg": "Invalid request: expected method, params and id"}})
            return
        result: Any = None
        if method == "LIST_SUBSCRIPTIONS":
            result = sorted(connection.names)
        elif method == "UNSUBSCRIBE":
            connection.names.difference_update(names)
        connection.say({"result": result, "id": number})
        if method == "SUBSCRIBE":
            self._subscribe(connection, names)

    def _subscribe(self, connection: Connection, names: list[str]) -> None:
        for name in names:
            if name == self._key:
                connection.key = name
                continue
            connection.names.add(name)
            now_ms = self._desk.now_ms
            for event in self._market_events(name, now_ms, now_ms):
                connection.put(name, event)

    def _publish(self, events: list[Event], before_ms: int, now_ms: int) -> None:
        """After a command: user events to the listen key's sockets, market events if time has moved."""
        made: dict[str, list[Event]] = {}
        for connection in self._connections:
            if connection.key is not None and connection.key == self._key:
                for event in events:
                    connection.put(connection.key, event)
            if now_ms == before_ms:
                continue
            for name in connection.names:
                if name not in made:
                    made[name] = self._market_events(name, before_ms, now_ms)
                for event in made[name]:
                    connection.put(name, event)

    def _market_events(self, name: str, before_ms: int, now_ms: int) -> list[Event]:
        symbol, _, channel = name.partition("@")
        market = self._desk.market.symbols.get(symbol.upper())
        if market is None:
            return []
        if channel.startswith("kline_"):
            return self._kline_events(market, channel.removeprefix("kline_"), before_ms, now_ms)
        core = self._desk.engine.core
        if channel == "bookTicker":
            quote = public_data.book_ticker(core, market)
            sizes = {"b": quote["bidPrice"], "B": quote["bidQty"], "a": quote["askPrice"], "A": quote["askQty"]}
            return [{"e": "bookTicker", "u": now_ms, "E": now_ms, "T": now_ms, "s": market.symbol, **sizes}]
        if channel in ("markPrice", "markPrice@1s"):
            index = public_data.premium_index(core, market)
            prices = {"p": index["markPrice"], "i": index["indexPrice"], "P": index["estimatedSettlePrice"]}
            funding = {"r": index["lastFundingRate"], "T": index["nextFundingTime"]}
            return [{"e": "markPriceUpdate", "E": now_ms, "s": market.symbol, **prices, **funding}]
        return []

    def _kline_events(self, market: SymbolMarket, spelling: str, before_ms: int, now_ms: int) -> list[Event]:
        try:
            interval = interval_of(spelling, self._desk.market.interval)
        except Refusal:
            return []
        events = []
        first = max(interval.floor(before_ms), interval.floor(now_ms) - MAX_BARS_PER_MOVE * interval.ms)
        for open_ms in range(first, now_ms + 1, interval.ms):
            bar = self._desk.klines.bar(market, interval, open_ms, now_ms)
            if bar is not None:
                closed = open_ms + interval.ms <= now_ms
                events.append(stream_payloads.kline(market.symbol, spelling, bar, interval.ms, closed=closed, time_ms=now_ms))
        return events
