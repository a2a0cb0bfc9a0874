"""The paper exchange in the same process: its desk and its table of endpoints, asked by `Request` instead of over a socket.

The venue's clock is the simulation's true time; it moves whenever somebody asks and on every tick of the market. Signatures,
keys, timestamps and request weight are checked as the server does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from cloudrun.exchange.auth import Credentials, check_timestamp
from cloudrun.exchange.desk import Desk
from cloudrun.exchange.engine import Engine, EngineConfig
from cloudrun.exchange.market import Market
from cloudrun.exchange.refusal import Refusal
from cloudrun.exchange.routes import Security, routes
from cloudrun.exchange.server import WeightCounter
from cloudrun.simulation.network import Reply, Request
from cloudrun.simulation.streams import StreamHub

WEIGHT_LIMIT = 2400
CREDENTIALS = Credentials("simulated", "simulated")

OnCommand = Callable[[str, str, dict[str, str], Any], None]
"""Told (sender, command, parameters, reply) after each command that changed the account."""


class ObservedDesk(Desk):
    """A desk that tells who has changed what."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, None)
        self.sender = ""
        self.on_command: OnCommand | None = None

    def execute(self, command: str, params: dict[str, str]) -> Any:
        """Apply a command and tell of it."""
        self._forget_ended(params)
        reply = super().execute(command, params)
        if self.on_command is not None and command != "advance":
            self.on_command(self.sender, command, params, reply)
        return reply

    def _forget_ended(self, params: dict[str, str]) -> None:
        """A client id is taken only while its order is open, as at the real venue: what is sent twice is executed twice."""
        account = self.engine.core.account
        order_id, algo_id = params.get("newClientOrderId", ""), params.get("clientAlgoId", "")
        if account.by_client.get(order_id) not in (None, *account.open_orders):
            del account.by_client[order_id]
        if "side" in params and account.algo_by_client.get(algo_id) not in (None, *account.open_algos):
            del account.algo_by_client[algo_id]


class Venue:
    """One account on one market, asked over a simulated network."""

    def __init__(self, market: Market, config: EngineConfig, now_s: Callable[[], float]) -> None:
        self.desk = ObservedDesk(Engine(market, config))
        self.start_ms = config.start_ms
        self.streams = StreamHub(self.desk, now_s)
        self._now_s = now_s
        self._delisted: dict[str, int] = {}
        self.altered: dict[str, Callable[[Any], Any]] = {}
        """by path: what a scenario makes of an answer, e.g. settings that are not as configured"""
        self._weights = WeightCounter(WEIGHT_LIMIT)
        self._table = routes(self.desk, self.streams, WEIGHT_LIMIT, self.desk.engine.state)

    @property
    def now_ms(self) -> int:
        """The venue's clock."""
        return self.start_ms + round(self._now_s() * 1000)

    def tick(self) -> None:
        """Let the market move to the present."""
        self.desk.sender = "the market"
        self.desk.advance(self.now_ms)
        self.streams.expire()

    def delist(self, symbol: str, at_ms: int) -> None:
        """Announce in the trading rules that `symbol` is delivered at `at_ms`."""
        self._delisted[symbol] = at_ms

    def take_foreign_fees(self, *, on: bool) -> None:
        """Take fees in another currency from now on, as the account's owner can choose."""
        self._table["POST", "/fapi/v1/feeBurn"].answer({"feeBurn": str(on).lower()})

    def broadcast(self) -> None:
        """Send what the market streams have to tell."""
        self.tick()
        self.streams.tick(self.desk.now_ms)

    def handle(self, request: Request) -> Reply:
        """Answer one request."""
        self.tick()
        self.desk.sender = request.sender
        route = self._table.get((request.method, request.path))
        if route is None:
            return _reply({"code": -5000, "msg": f"Path {request.path} is invalid"}, 404)
        params = dict(parse_qsl(request.query, keep_blank_values=True)) | dict(parse_qsl(request.body, keep_blank_values=True))
        wait_s = self._weights.add(route.weight(params), self._now_s())
        used = {"X-MBX-USED-WEIGHT-1M": str(self._weights.used)}
        if wait_s is not None:
            return _reply({"code": -1003, "msg": "Too many requests."}, 429, {**used, "Retry-After": str(wait_s)})
        try:
            if route.security is not Security.NONE:
                CREDENTIALS.check_key(request.headers)
            if route.security is Security.SIGNED:
                check_timestamp(params, self.now_ms, self.now_ms, strict=True)
                CREDENTIALS.check_signature(request.query, request.body)
            answer = route.answer(params)
            if request.path in self.altered:
                answer = self.altered[request.path](answer)
            if self._delisted and request.path.endswith("/exchangeInfo"):
                answer = self._with_delistings(answer)
            return _reply(answer, 200, used)
        except Refusal as error:
            return _reply({"code": error.answer.code, "msg": error.answer.message}, error.answer.status, used)

    def _with_delistings(self, info: dict[str, Any]) -> dict[str, Any]:
        rows = []
        for row in info["symbols"]:
            at_ms = self._delisted.get(row["symbol"])
            if at_ms is not None:
                status = "TRADING" if self.now_ms < at_ms else "SETTLING"
                row = {**row, "deliveryDate": at_ms, "status": status}
            rows.append(row)
        return {**info, "symbols": rows}


def _reply(body: Any, status: int, headers: dict[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps(body, separators=(",", ":")), headers or {})
