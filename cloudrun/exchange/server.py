"""REST and WebSocket over one desk (aiohttp). Single-threaded: a request is handled from journal to answer in one piece.

Request weight is counted per minute of real time and reported in `X-MBX-USED-WEIGHT-1M`; beyond the limit the answer is
429 with `Retry-After`, and nothing is done.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from cloudrun.exchange.auth import Credentials, check_timestamp
from cloudrun.exchange.desk import Desk
from cloudrun.exchange.refusal import HTTP_TOO_MANY_REQUESTS, Answer, Refusal
from cloudrun.exchange.routes import Route, Security, routes
from cloudrun.exchange.streams import Lives, Streams
from shared.domain.errors import StorageError

MINUTE_S = 60
_PATHS_WS = ("/ws", "/stream", "/ws/{name:.+}")
_CATEGORIES = ("", "/public", "/market", "/private")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How the desk is served."""

    credentials: Credentials = field(default_factory=Credentials)
    """key and secret of the account"""
    weight_limit: int = 1_000_000
    """request weight per minute before 429"""
    speed: float | None = None
    """simulated seconds per real second; `None`: lockstep"""
    tick_s: float = 0.5
    """longest real time between two moves of the clock; it also moves when a bar closes"""
    lives: Lives = field(default_factory=Lives)
    """how long listen keys and stream connections last"""
    simulated_lives: bool = False
    """whether those lives are measured in simulated time instead of real time"""
    real_time: bool = False
    """whether simulated time is what the clock of this computer says; `speed` is 1 then"""


class WeightCounter:
    """Request weight in the present minute of a clock that never goes back."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._minute = -1

    def add(self, weight: int, now_s: float) -> int | None:
        """Count a request; where that exceeds the limit, the seconds to wait."""
        minute = int(now_s // MINUTE_S)
        if minute != self._minute:
            self._minute, self.used = minute, 0
        self.used += weight
        if self.used > self.limit:
            return max(int((minute + 1) * MINUTE_S - now_s) + 1, 1)
        return None


class Server:
    """Answers requests; `application` is what aiohttp runs."""

    def __init__(self, desk: Desk, config: ServerConfig) -> None:
        self.desk = desk
        self.config = config
        self.streams = Streams(desk, self._simulated_s if config.simulated_lives else time.monotonic, config.lives)
        self._weights = WeightCounter(config.weight_limit)
        self._table = routes(desk, self.streams, config.weight_limit, self._state)
        self._began: tuple[float, int] | None = None

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=1 << 20)
        for category in _CATEGORIES:
            for path in _PATHS_WS:
                app.router.add_get(category + path, self.streams.serve)
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_shutdown.append(self._shut_down)
        app.cleanup_ctx.append(self._clock)
        return app

    def _simulated_s(self) -> float:
        return self.desk.now_ms / 1000

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.text() if request.can_read_body else ""
        route = self._table.get((request.method, request.path))
        headers: dict[str, str] = {}
        if route is None:
            return _response({"code": -5000, "msg": f"Path {request.path}, Method {request.method} is invalid"}, 404, headers)
        query = request.raw_path.partition("?")[2]  # as it was signed: the parsed URL is quoted anew
        params = dict(parse_qsl(query, keep_blank_values=True)) | dict(parse_qsl(body, keep_blank_values=True))
        wait_s = self._weights.add(route.weight(params), time.monotonic())
        headers["X-MBX-USED-WEIGHT-1M"] = str(self._weights.used)
        if wait_s is not None:
            headers["Retry-After"] = str(wait_s)
            return _refused(_too_many(self.config.weight_limit), headers)
        self.streams.expire()
        try:
            self._authorise(request, route, query, body, params)
            reply = route.answer(params)
        except Refusal as error:
            return _refused(error.answer, headers)
        except StorageError as error:
            return _refused(Answer(503, -1000, str(error)), headers)
        return _response(reply, 200, headers)

    def _authorise(self, request: web.Request, route: Route, query: str, body: str, params: dict[str, str]) -> None:
        if route.security is Security.NONE:
            return
        credentials = self.config.credentials
        credentials.check_key(request.headers)
        if route.security is Security.SIGNED:
            real_ms = int(time.time() * 1000)
            venue_ms = real_ms if self.config.real_time else self.desk.now_ms
            check_timestamp(params, venue_ms, real_ms, strict=self.config.speed == 1)
            credentials.check_signature(query, body)

    async def _clock(self, _: web.Application) -> Any:
        tasks = [asyncio.create_task(self._expire())]
        if self.config.speed is not None:
            tasks.append(asyncio.create_task(self._tick(self.config.speed)))
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _expire(self) -> None:
        """Keys and connections end in time, also while nobody asks anything."""
        while True:
            await asyncio.sleep(self.config.tick_s)
            self.streams.expire()

    async def _tick(self, speed: float) -> None:
        """Speed mode: simulated time follows real time, `speed` times as fast, up to the end of the market."""
        market = self.desk.market
        self._began = time.monotonic(), self.desk.now_ms
        while self.desk.now_ms < market.end_ms:
            to_close_ms = market.interval.floor(self.desk.now_ms) + market.interval.ms - self.desk.now_ms
            await asyncio.sleep(min(self.config.tick_s, to_close_ms / 1000 / speed))
            try:
                self._catch_up()
            except StorageError as error:  # time goes on with the next move
                print(f"warning: {error}", file=sys.stderr, flush=True)

    def _catch_up(self) -> None:
        """Move simulated time to where it should be by now; in lockstep it stands where its client has put it."""
        if self.config.real_time:
            self.desk.advance(int(time.time() * 1000))
        elif self._began is not None and self.config.speed is not None:
            began_s, began_ms = self._began
            self.desk.advance(began_ms + int((time.monotonic() - began_s) * 1000 * self.config.speed))

    def _state(self) -> dict[str, Any]:
        """The engine's summary at this very instant, and how fast its time goes (`None`: in lockstep)."""
        self._catch_up()
        return {**self.desk.engine.state(), "speed": self.config.speed}

    async def _shut_down(self, _: web.Application) -> None:
        await self.streams.close()


def _too_many(limit: int) -> Answer:
    text = f"Too many requests; current limit is {limit} request weight per 1 MINUTE. Please use the websocket."
    return Answer(HTTP_TOO_MANY_REQUESTS, -1003, text)


def _refused(answer: Answer, headers: dict[str, str]) -> web.Response:
    return _response({"code": answer.code, "msg": answer.message}, answer.status, headers)


def _response(body: Any, status: int, headers: dict[str, str]) -> web.Response:
    content = json.dumps(body, separators=(",", ":")).encode()
    return web.Response(body=content, status=status, headers=headers, content_type="application/json")
