"""HTTP between a process and the venue, without sockets: the part of an aiohttp session that ccxt uses, with faults.

A request that is on its way arrives whether or not its sender still lives: executing and answering are the network's own
timers. Between the program's decision to send and the wire lies an await, at which a process can be frozen or killed.
Everything above this line is the product's real code: ccxt's request building, signing, error classes, our adapter.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
from aiohttp.client_reqrep import ConnectionKey

from cloudrun.simulation.bans import Bans
from cloudrun.simulation.faults import SLOW_S, Effect, Faults, Part
from cloudrun.simulation.loop import VirtualLoop
from cloudrun.simulation.process import Process

CONNECT_TIMEOUT_S = 1.0
DEFAULT_WINDOW_MS = 5_000
LATEST = 1.3
"""A late execution comes up to this multiple of the request's window after it was sent: the venue refuses the latest ones."""
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

    @property
    def name(self) -> str:
        """`METHOD path`."""
        return f"{self.method} {self.path}"

    @property
    def parameters(self) -> dict[str, str]:
        """What it says, but for empty values."""
        return dict(parse_qsl(self.body or self.query))

    @property
    def changes_order(self) -> bool:
        """Whether it is about one order or stop."""
        return self.path in ORDER_PATHS


@dataclass(frozen=True, slots=True)
class Reply:
    """What the venue answers."""

    status: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that a process put on the wire, and what became of it there. `client_id` is an order's, else empty."""

    at_s: float
    sender: str
    method: str
    path: str
    client_id: str
    effect: Effect

    @property
    def name(self) -> str:
        """`METHOD path`."""
        return f"{self.method} {self.path}"


Handler = Callable[[Request], Reply]

_ID_KEYS = ("newClientOrderId", "clientAlgoId", "origClientOrderId")
EXECUTED = frozenset(
    {Effect.DUPLICATE, Effect.NONE, Effect.NO_ANSWER, Effect.CUT, Effect.UNKNOWN, Effect.TIMED_OUT, Effect.SLOW}
    | {Effect.UNREADABLE}
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
        self.bans = Bans()
        self.on_request: Callable[[Process, str, dict[str, str]], None] = lambda *_: None
        """told (process, `METHOD path`, parameters) that a process has decided to send a request"""
        self.on_order: Callable[[Process, dict[str, str]], None] = lambda *_: None
        """told that a process has decided to send an order"""
        self.on_fault: Callable[[str], None] = lambda _: None
        """told which request a fault has struck"""
        self.sent: list[Sent] = []
        """every change of orders that was put on the wire"""
        self.asked: list[Sent] = []
        """every request, changes of orders included"""
        self._loop = loop
        self._handler = handler
        self._tell = tell

    def decided(self, process: Process, request: Request) -> None:
        """`process` is going to send `request`: what it knows now is what it is judged by."""
        self.on_request(process, request.name, request.parameters)
        if request.method == "POST" and request.changes_order:
            self.on_order(process, request.parameters)

    def send(self, process: Process, request: Request) -> asyncio.Future[Reply]:
        """Hand a request over; the answer, or what became of the connection."""
        answer: asyncio.Future[Reply] = self._loop.create_future()
        now_s, params = self._loop.time(), request.parameters if request.changes_order else {}
        effect = self.faults.of_request(request.name, now_s)
        client_id = next((params[key] for key in _ID_KEYS if key in params), "")
        self.asked.append(Sent(now_s, process.name, request.method, request.path, client_id, effect))
        if request.method != "GET" and params:
            self.sent.append(self.asked[-1])
        if effect is not Effect.NONE:
            self._tell(f"{request.sender}: {request.name}: {effect}")
            self.on_fault(request.name)
        there_s = self.faults.latency_s()
        if request.method != "GET" and request.changes_order and self.faults.down(Part.SLOW_ORDERS, now_s):
            self.faults.struck += 1
            there_s += SLOW_S
        if effect is Effect.REFUSED:
            self._loop.call_later(min(there_s, CONNECT_TIMEOUT_S), _fail, answer, _refused())
        elif effect is Effect.LATE:
            self._loop.call_later(there_s, _fail, answer, aiohttp.ServerDisconnectedError())
            self._loop.call_later(there_s + self._lateness_s(request), self._handler, request)
        elif effect is not Effect.LOST:
            self._loop.call_later(there_s, self._arrive, request, effect, answer)
        return answer

    def answered(self, process: Process, reply: Reply) -> None:
        """`process` has read an answer; one that says how long to wait binds it from now on."""
        wait_s = float(reply.headers.get("Retry-After", 0.0))
        if wait_s:
            self.bans.tell(process, self._loop.time() + wait_s)

    def _lateness_s(self, request: Request) -> float:
        """How late the venue comes to `request`: mostly within the window for which it was signed."""
        window_ms = int(request.parameters.get("recvWindow", DEFAULT_WINDOW_MS))
        return self.faults.between(0.0, LATEST * window_ms / 1000)

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
        if effect is Effect.UNREADABLE and reply is not None:
            reply = _emptied(reply)
        self._loop.call_later(back_s, _answer, answer, _INSTEAD.get(effect, reply))


def _emptied(reply: Reply) -> Reply:
    """An answer of the same form that says nothing: of a list each row, else all of it."""
    said = json.loads(reply.body)
    return replace(reply, body=json.dumps([{} for _ in said] if isinstance(said, list) else {}))


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
        self._process.touch(f"before {self._request.name}")
        self._network.decided(self._process, self._request)
        await asyncio.sleep(0)  # what was stopped at the touch stays here, signed and not sent
        answer = self._network.send(self._process, self._request)
        async with asyncio.timeout(self._timeout_s):
            reply = await answer
        self._network.answered(self._process, reply)
        self._process.touch(f"after {self._request.name}")
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
