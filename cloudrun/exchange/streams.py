"""WebSocket streams: market streams by name and the user stream by listen key.

A connection on `…/ws` gets bare events, one on `…/stream` gets `{"stream", "data"}`. The category that newer clients put
before the path (`/public`, `/market`, `/private`) is accepted and ignored. Market events follow simulated time: each move
of the clock sends the bars that closed on the way and then the open one; a new subscription gets the open one at once.
Listen keys and connections have a limited life, as at the venue. `control` makes connections fail, for tests.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from cloudrun.exchange import public_data, stream_payloads
from cloudrun.exchange.core import Event
from cloudrun.exchange.desk import Desk
from cloudrun.exchange.klines import interval_of
from cloudrun.exchange.market import SymbolMarket
from cloudrun.exchange.refusal import Refusal, malformed
from cloudrun.exchange.sockets import Connection
from shared.domain.interval import DAY_MS, HOUR_MS

MAX_BARS_PER_MOVE = 1500
HEARTBEAT_S = 60


@dataclass(frozen=True, slots=True)
class Lives:
    """How long things last, in seconds of `clock_s`."""

    key_s: float = HOUR_MS / 1000
    """a listen key that is not prolonged"""
    connection_s: float = DAY_MS / 1000
    """a WebSocket connection"""


class Streams:
    """All connections of one desk. `clock_s` is the clock that lives are measured on."""

    def __init__(self, desk: Desk, clock_s: Callable[[], float], lives: Lives | None = None) -> None:
        self._desk = desk
        self._clock = clock_s
        self._lives = lives or Lives()
        self._connections: list[Connection] = []
        self._key: str | None = None
        self._key_until_s = 0.0
        self._refusing = False
        desk.listener = self._publish

    def open_key(self) -> str:
        """The listen key, new or extended."""
        self.expire()
        if self._key is None:
            self._key = secrets.token_hex(32)
        self._key_until_s = self._clock() + self._lives.key_s
        return self._key

    def keep_key(self) -> str:
        """Extend the listen key. Raises -1125 where there is none."""
        self.expire()
        if self._key is None:
            raise Refusal(-1125, "This listenKey does not exist.")
        return self.open_key()

    def close_key(self) -> dict[str, Any]:
        """End the listen key at the client's wish."""
        self._key = None
        return {}

    def expire(self) -> None:
        """End what has lived long enough: the listen key, which its listeners are told, and connections."""
        now_s = self._clock()
        if self._key is not None and now_s >= self._key_until_s:
            for connection in self._connections:
                if connection.key == self._key:
                    connection.put(self._key, stream_payloads.listen_key_expired(self._key, self._desk.now_ms))
            self._key = None
        for connection in self._connections:
            if now_s >= connection.began_s + self._lives.connection_s:
                connection.go_away()

    def control(self, action: str, which: str) -> dict[str, Any]:
        """Make streams fail: `drop`, `stall` or `close` connections, `refuse` new ones or `accept` them, `expire_key`.

        `which` is `market`, `user` or `all`. Returns how many connections it was about. Raises -1130.
        """
        if which not in ("all", "market", "user"):
            raise malformed("which")
        chosen = [connection for connection in self._connections if which == "all" or connection.is_user == (which == "user")]
        if action in ("drop", "stall", "close"):
            for connection in chosen:
                {"drop": connection.drop, "stall": connection.stall, "close": connection.go_away}[action]()
        elif action in ("refuse", "accept"):
            self._refusing = action == "refuse"
        elif action == "expire_key":
            self._key_until_s = self._clock()
            self.expire()
        else:
            raise malformed("action")
        return {"connections": len(chosen)}

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Handle one socket until it closes."""
        if self._refusing:
            return web.Response(status=503, text="Service Unavailable")
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, autoping=False)
        await socket.prepare(request)
        connection = Connection(request, socket, self._clock())
        self._connections.append(connection)
        names = request.query.get("streams", "").split("/") + request.match_info.get("name", "").split("/")
        self._subscribe(connection, [name for name in (request.query.get("listenKey"), *names) if name])
        try:
            await connection.run(lambda text: self._command(connection, text))
        finally:
            self._connections.remove(connection)
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
            connection.names = {name: None for name in connection.names if name not in names}
        connection.say({"result": result, "id": number})
        if method == "SUBSCRIBE":
            self._subscribe(connection, names)

    def _subscribe(self, connection: Connection, names: list[str]) -> None:
        for name in names:
            if name == self._key:
                connection.key = name
                continue
            connection.names[name] = None
            now_ms = self._desk.now_ms
            for event in self._market_events(name, now_ms, now_ms):
                connection.put(name, event)

    def _publish(self, events: list[Event], before_ms: int, now_ms: int) -> None:
        """After a command: user events to the listen key's sockets, market events if time has moved."""
        self.expire()
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
