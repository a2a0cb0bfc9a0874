"""A paper exchange that admits only callers with an identity, as Cloud Run guards it: REST, control and WebSocket show one.

Before the real paper exchange stands a server that refuses what carries no token of the metadata server for its own address.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from shared.adapters.gcp.caller_identity import HEADER, CallerIdentity
from shared.adapters.sql.ledger import open_ledger
from shared.cli import wiring
from shared.cli.live_venue import running_exchange
from shared.config.load import load
from shared.config.settings import Settings
from shared.domain.errors import ConfigError, VenueRejected, VenueUnreachable
from shared.domain.interval import Interval
from shared.domain.stream import StreamNotice, StreamState


def _part(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


@dataclass
class Metadata:
    """The metadata server of Google Cloud: tokens for whatever audience, each with a number."""

    life_s: float = 3600.0
    tokens: dict[str, str] = field(default_factory=dict)
    """token -> audience"""
    is_away: bool = False
    url: str = ""
    given: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.Response:
        flavor = {"Metadata-Flavor": "Google"}
        if self.is_away or (request.path != "/" and request.headers.get("Metadata-Flavor") != "Google"):
            return web.Response(status=404 if self.is_away else 403)
        if request.path.endswith("/identity"):
            claims = {"aud": request.query["audience"], "exp": int(time.time() + self.life_s), "n": len(self.tokens)}
            token = f"{_part({'alg': 'RS256'})}.{_part(claims)}.{_part({})}"
            self.tokens[token] = request.query["audience"]
            self.given.set()
            return web.Response(text=token, headers=flavor)
        if request.path.endswith("/service-accounts/default/"):
            return web.json_response({"email": "run-bot@demo.iam.gserviceaccount.com"}, headers=flavor)
        return web.Response(headers=flavor)


@dataclass
class Guard:
    """Lets through to `target` whoever carries a token for `url`."""

    target: str
    metadata: Metadata
    url: str = ""
    shown: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    sockets: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get(HEADER, "").removeprefix("Bearer ")
        if self.metadata.tokens.get(token) != self.url:
            self.refused.append(request.path)
            return web.Response(status=401, text="<html>Your client does not have permission</html>", content_type="text/html")
        self.shown.append(token)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._bridge(request)
        kept = {name: value for name, value in request.headers.items() if name.lower() not in ("host", HEADER.lower())}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method, f"{self.target}{request.raw_path}", headers=kept, data=await request.read()
            ) as reply,
        ):
            return web.Response(status=reply.status, body=await reply.read(), content_type=reply.content_type)

    async def _bridge(self, request: web.Request) -> web.WebSocketResponse:
        self.sockets += 1
        near = web.WebSocketResponse()
        await near.prepare(request)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"ws{self.target.removeprefix('http')}{request.raw_path}") as far,
        ):

            async def upwards() -> None:
                async for message in near:
                    await far.send_str(message.data)

            up = asyncio.create_task(upwards())
            async for message in far:
                await near.send_str(message.data)
            up.cancel()
        return near


async def _serve(handle: Any) -> tuple[web.AppRunner, str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"127.0.0.1:{runner.addresses[0][1]}"


@pytest.fixture
async def metadata(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Metadata]:
    from google.auth.compute_engine import _metadata

    served = Metadata()
    runner, served.url = await _serve(served.handle)
    monkeypatch.setenv("GCE_METADATA_IP", served.url)
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", served.url)  # GCE_METADATA_HOST, which is read at its import
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    yield served
    await runner.cleanup()


@pytest.fixture
async def guard(start: Callable[..., Any], metadata: Metadata) -> AsyncIterator[Guard]:
    exchange = await start("--speed", "60")
    guarded = Guard(exchange.url, metadata)
    runner, address = await _serve(guarded.handle)
    guarded.url = f"http://{address}"
    yield guarded
    await runner.cleanup()


@pytest.fixture
def settings(guard: Guard, tmp_path: Any) -> Settings:
    environment = {
        "OST_STORAGE__ROOT": str(tmp_path),
        "OST_VENUE__BASE_URL": guard.url,
        "OST_VENUE__PRIVATE": "true",
        "OST_UNIVERSE__SYMBOLS": "BTCUSDT",
    }
    return load(environment=environment, folder=tmp_path).settings


async def test_control_rest_and_streams_of_a_bot_are_admitted(guard: Guard, metadata: Metadata, settings: Settings) -> None:
    ledger = open_ledger(settings.ledger_url)
    async with running_exchange(settings, guard.url) as venue:
        ports = wiring.live_ports(settings, ledger, "b", base_url=venue.base_url, paper=venue.clock)  # type: ignore[arg-type]
        try:
            assert (await ports.exchange.account()).equity > 0
            await ports.user_stream.open()
            await ports.market_stream.open(["BTCUSDT"], Interval.H1)
            async with asyncio.timeout(20):
                while not isinstance(message := await ports.market_stream.next(), StreamNotice):
                    pass
            assert message.state is StreamState.CONNECTED
        finally:
            await ports.market_stream.close()
            await ports.user_stream.close()
            await ports.exchange.close()
            ledger.close()
    assert guard.refused == []
    assert guard.sockets >= 2
    assert len(metadata.tokens) == 1  # one for all of them


async def test_without_an_identity_nothing_is_let_through(guard: Guard, settings: Settings) -> None:
    open_to_all = settings.model_copy(update={"venue": settings.venue.model_copy(update={"private": False})})
    market = wiring.market(open_to_all)
    with pytest.raises((VenueRejected, VenueUnreachable)):
        await market.candles("BTCUSDT", Interval.H1, 0, 3_600_000)
    await market.close()
    assert guard.refused


async def test_a_token_is_renewed_before_it_ends_and_kept_while_it_is_good(guard: Guard, metadata: Metadata) -> None:
    metadata.life_s = 120.0  # less than what is left when the next one is asked for
    identity = CallerIdentity(guard.url)
    first = await identity.headers()
    metadata.is_away = True
    assert await identity.headers() == first
    metadata.is_away, metadata.life_s = False, 3600.0
    metadata.given.clear()
    async with asyncio.timeout(10):
        while (second := await identity.headers()) == first:
            await metadata.given.wait()
    metadata.is_away = True
    assert await identity.headers() == second
    assert len(metadata.tokens) == 2

    metadata.is_away, metadata.life_s = False, -1.0  # over before it is used: every request waits for another one
    ended = CallerIdentity(guard.url)
    assert await ended.headers() != await ended.headers()


async def test_where_nobody_gives_a_token_it_is_said_and_nothing_is_sent(
    guard: Guard, metadata: Metadata, settings: Settings
) -> None:
    metadata.is_away = True
    wiring._identity_for.cache_clear()
    with pytest.raises(VenueUnreachable, match=r"admits only callers with an identity \(venue.private\)"):
        async with running_exchange(settings, guard.url):
            pass
    assert (guard.shown, guard.refused) == ([], [])


def test_the_identity_goes_to_the_configured_paper_exchange_alone(tmp_path: Any) -> None:
    ours = {"OST_VENUE__BASE_URL": "https://exchange-x.run.app", "OST_VENUE__PRIVATE": "true"}
    settings = load(environment=ours, folder=tmp_path).settings
    assert wiring.admission(settings, "https://exchange-x.run.app") is not None
    for other in (None, "https://fapi.binance.com", "http://127.0.0.1:8900"):
        assert wiring.admission(settings, other) is None
    for wrong in (
        {**ours, "OST_MODE": "testnet"},
        {**ours, "OST_VENUE__BASE_URL": "http://exchange.example"},
        {"OST_VENUE__PRIVATE": "true"},
    ):
        with pytest.raises(ConfigError, match="expected mode paper and the https:// address"):
            load(environment=wrong, folder=tmp_path)
