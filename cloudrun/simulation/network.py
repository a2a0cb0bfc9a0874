"""HTTP between a process and the venue, without sockets: the part of an aiohttp session that ccxt uses, with faults.

A request that is on its way arrives whether or not its sender still lives: executing and answering are the network's own
timers. Everything above this line is the product's real code: ccxt's request building, signing, error classes, our adapter.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
from aiohttp.client_reqrep import ConnectionKey

from cloudrun.simulation.faults import Effect, Faults
from cloudrun.simulation.loop import VirtualLoop
from cloudrun.simulation.process import Process

CONNECT_TIMEOUT_S = 1.0
ORDER_PATHS = ("/fapi/v1/order", "/fapi/v1/algoOrder")


@dataclass(frozen=True, slots=True)
class Request:
    """What arrives at the venue."""

    sender: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What the venue answers."""

    status: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sent:
    """An order, a stop or a cancellation that a process put on the wire, and what became of it there."""

    at_s: float
    sender: str
    method: str
    path: str
    client_id: str
    effect: Effect


Handler = Callable[[Request], Reply]

_ID_KEYS = ("newClientOrderId", "clientAlgoId", "origClientOrderId")
EXECUTED = frozenset(
    {Effect.DUPLICATE, Effect.NONE, Effect.NO_ANSWER, Effect.CUT, Effect.UNKNOWN, Effect.TIMED_OUT, Effect.SLOW}
)


def _refusal(status: int, code: int, message: str, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, json.dumps({"code": code, "msg": message}), named)


_INSTEAD = {
    Effect.UNKNOWN: _refusal(503, -1000, "Unknown error, please check your request or try again later."),
    Effect.TIMED_OUT: _refusal(408, -1007, "Timeout waiting for response from backend server. Send status unknown."),
    Effect.GATEWAY: Reply(502, "<html><body>502 Bad Gateway</body></html>"),
    Effect.MAINTENANCE: Reply(503, "Service Unavailable."),
    Effect.SKEWED: _refusal(400, -1021, "Timestamp for this request is outside of the recvWindow."),
    Effect.DUPLICATE: _refusal(400, -4116, "ClientOrderId is duplicated."),
    Effect.MARGIN: _refusal(400, -2019, "Margin is insufficient."),
    Effect.REDUCE_ONLY: _refusal(400, -2022, "ReduceOnly Order is rejected."),
    Effect.LEVERAGE: _refusal(400, -4028, "Leverage 5 is not valid"),
    Effect.FILTER: _refusal(400, -1111, "Precision is over the maximum defined for this asset."),
}


class Network:
    """Carries requests of all processes to one venue."""

    def __init__(self, loop: VirtualLoop, faults: Faults, handler: Handler, tell: Callable[[str], None]) -> None:
        self.faults = faults
        self.on_order: Callable[[Process, dict[str, str]], None] | None = None
        """told that a process puts an order on the wire"""
        self.on_fault: Callable[[], None] | None = None
        self.sent: list[Sent] = []
        """every change of orders that was put on the wire"""
        self._loop = loop
        self._handler = handler
        self._tell = tell

    def send(self, process: Process, request: Request) -> asyncio.Future[Reply]:
        """Hand a request over; the answer, or what became of the connection."""
        answer: asyncio.Future[Reply] = self._loop.create_future()
        name = f"{request.method} {request.path}"
        params = dict(parse_qsl(request.body or request.query)) if request.path in ORDER_PATHS else {}
        if request.method == "POST" and params and self.on_order is not None:
            self.on_order(process, params)
        effect = self.faults.of_request(name, self._loop.time())
        if request.method != "GET" and params:
            client_id = next((params[key] for key in _ID_KEYS if key in params), "")
            self.sent.append(Sent(self._loop.time(), process.name, request.method, request.path, client_id, effect))
        if effect is not Effect.NONE:
            self._tell(f"{request.sender}: {name}: {effect}")
            if self.on_fault is not None:
                self.on_fault()
        there_s = self.faults.latency_s()
        if effect is Effect.REFUSED:
            self._loop.call_later(min(there_s, CONNECT_TIMEOUT_S), _fail, answer, _refused())
        elif effect is not Effect.LOST:
            self._loop.call_later(there_s, self._arrive, request, effect, answer)
        return answer

    def _arrive(self, request: Request, effect: Effect, answer: asyncio.Future[Reply]) -> None:
        reply = self._handler(request) if effect in EXECUTED else None
        back_s = self.faults.latency_s()
        if effect is Effect.NO_ANSWER:
            return
        if effect in (Effect.CUT, Effect.CUT_BEFORE):
            self._loop.call_later(back_s, _fail, answer, aiohttp.ServerDisconnectedError())
            return
        if effect is Effect.SLOW:
            back_s += self.faults.between(1.0, 8.0)
        if effect in (Effect.THROTTLED, Effect.BANNED):
            wait_s = round(self.faults.between(1, 5) if effect is Effect.THROTTLED else self.faults.between(20, 80))
            status = 429 if effect is Effect.THROTTLED else 418
            reply = _refusal(status, -1003, "Too many requests.", Retry_After=str(wait_s))
        self._loop.call_later(back_s, _answer, answer, _INSTEAD.get(effect, reply))


def _answer(answer: asyncio.Future[Reply], reply: Reply | None) -> None:
    if reply is not None and not answer.done():
        answer.set_result(reply)


def _fail(answer: asyncio.Future[Reply], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)


def _refused() -> aiohttp.ClientConnectorError:
    key = ConnectionKey("venue", 80, False, True, None, None, None)
    return aiohttp.ClientConnectorError(key, ConnectionRefusedError(111, "Connection refused"))


class Session:
    """Stands in for `aiohttp.ClientSession` in one process."""

    def __init__(self, network: Network, process: Process) -> None:
        self._network = network
        self._process = process
        self.closed = False
        self.headers: dict[str, str] = {}

    def get(self, url: Any, **options: Any) -> _Call:
        """A request."""
        return _Call(self._network, self._process, "GET", url, options)

    def post(self, url: Any, **options: Any) -> _Call:
        """A request."""
        return _Call(self._network, self._process, "POST", url, options)

    def put(self, url: Any, **options: Any) -> _Call:
        """A request."""
        return _Call(self._network, self._process, "PUT", url, options)

    def delete(self, url: Any, **options: Any) -> _Call:
        """A request."""
        return _Call(self._network, self._process, "DELETE", url, options)

    async def close(self) -> None:
        """Nothing to release."""
        self.closed = True


class _Call:
    """One request as `async with session.get(...) as response`."""

    def __init__(self, network: Network, process: Process, method: str, url: Any, options: Mapping[str, Any]) -> None:
        self._network = network
        self._process = process
        body = (options.get("data") or b"").decode()
        self._request = Request(process.name, method, url.raw_path, url.raw_query_string, options["headers"], body)
        self._timeout_s: float = options["timeout"].total

    async def __aenter__(self) -> _Response:
        what = f"{self._request.method} {self._request.path}"
        self._process.touch(f"before {what}")
        answer = self._network.send(self._process, self._request)
        async with asyncio.timeout(self._timeout_s):
            reply = await answer
        self._process.touch(f"after {what}")
        return _Response(reply)

    async def __aexit__(self, *_: object) -> None:
        return None


class _Response:
    """What ccxt reads of an answer."""

    def __init__(self, reply: Reply) -> None:
        self.status = reply.status
        self.reason = "OK" if reply.status < 400 else "Error"
        self.headers = {"Content-Type": "application/json", **reply.headers}
        self._body = reply.body

    async def text(self, **_: Any) -> str:
        """The body."""
        return self._body
