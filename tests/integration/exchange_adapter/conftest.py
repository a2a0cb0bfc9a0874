"""A venue of a few lines: it answers each path with what the test has put there and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest
from aiohttp import web

from shared.adapters.exchange import Connection, ConnectionParams, connect

PAYLOADS = Path(__file__).resolve().parents[4] / "shared" / "data" / "binance_payloads"


@dataclass
class Asked:
    """One request as the venue saw it."""

    method: str
    path: str
    parameters: dict[str, str]
    headers: dict[str, str]


Reply = Callable[[Asked], tuple[int, Any]] | tuple[int, Any] | tuple[int, Any, dict[str, str]] | Any


@dataclass
class ScriptedVenue:
    """`replies["GET /fapi/v1/time"]` is a JSON body, (status, body[, headers]), a function of the request, or a list of these
    (one for each request; the last one stays); `drop` cuts the connection, `hang` never answers."""

    base_url: str = ""
    replies: dict[str, Any] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def paths(self) -> list[str]:
        return [f"{request.method} {request.path}" for request in self.asked]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        parameters = dict(parse_qsl(request.query_string)) | dict(parse_qsl((await request.read()).decode()))
        asked = Asked(request.method, request.path, parameters, dict(request.headers))
        self.asked.append(asked)
        key = f"{request.method} {request.path}"
        if key not in self.replies:
            return web.json_response({"code": -5000, "msg": f"Path {request.path} is invalid"}, status=404)
        reply = self.replies[key]
        if isinstance(reply, Script):
            reply = reply.steps.pop(0) if len(reply.steps) > 1 else reply.steps[0]
        if callable(reply):
            reply = reply(asked)
        if reply == "hang":
            await self.ended.wait()
            return web.Response()
        if reply == "drop":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        status, body, headers = (*reply, {})[:3] if isinstance(reply, tuple) else (200, reply, {})
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(
            status=status,
            text=text,
            headers={"Content-Type": "text/html" if isinstance(body, str) else "application/json", **headers},
        )


@dataclass
class Script:
    """Replies for one request after the other; the last one stays."""

    steps: list[Any]


class RecordingClock:
    """Real time; waits are written down and skipped, and the time that they would take is added."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.skipped_ms = 0.0

    def now_ms(self) -> int:
        return round(time.time() * 1000 + self.skipped_ms)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.skipped_ms += seconds * 1000


def server_time(_: Asked) -> tuple[int, Any]:
    return 200, {"serverTime": round(time.time() * 1000)}


@pytest.fixture
def script() -> type[Script]:
    return Script


@pytest.fixture
def clock() -> RecordingClock:
    return RecordingClock()


@pytest.fixture
async def venue() -> AsyncIterator[ScriptedVenue]:
    scripted = ScriptedVenue(replies={"GET /fapi/v1/time": server_time})
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", scripted.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    scripted.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield scripted
    scripted.ended.set()
    await runner.cleanup()


@pytest.fixture
async def connection(venue: ScriptedVenue, clock: RecordingClock) -> AsyncIterator[Connection]:
    made = connect(
        "binanceusdm",
        clock,
        np.random.default_rng(1),
        ConnectionParams(timeout_s=2.0),
        base_url=venue.base_url,
        api_key="the-api-key",
        secret="the-api-secret",
    )
    yield made
    await made.close()


@pytest.fixture
def payload() -> Callable[[str], Any]:
    """A recorded file by name."""

    def read(name: str) -> Any:
        if not (PAYLOADS / name).exists():
            pytest.skip("recorded Binance payloads are not present beside the repository")
        return json.loads((PAYLOADS / name).read_text())

    return read


@pytest.fixture
def samples(payload: Callable[[str], Any]) -> Callable[[str], Any]:
    """Documented response bodies of USD-M services by name, e.g. `Trading/GetOrder`."""
    responses = payload("rest_samples.json")["responses"]
    return lambda name: responses[f"UsdFutures/{name}"]["response"]
