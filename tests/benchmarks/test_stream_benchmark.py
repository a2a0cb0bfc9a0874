"""From a message that a venue in another process sends to the value that `next` returns, beside a bare aiohttp socket.

The clock starts before the venue has written the message: sending, loopback and waking up are in both figures.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection as Pipe

import aiohttp
import numpy as np
import pytest
from aiohttp import web
from pytest_benchmark.fixture import BenchmarkFixture

from shared.adapters.exchange import CcxtMarketStream
from shared.adapters.local.clock import SystemClock
from shared.domain.interval import Interval
from shared.domain.stream import BarMessage

PAUSE_S = 0.003
BAR = {"t": 60_000, "T": 119_999, "s": "BTCUSDT", "i": "1m", "o": "85885.40", "c": "85893.90", "h": "85900.00"}
BAR |= {"l": "85885.40", "v": "30.033", "n": 856, "x": True, "q": "2579673.59", "V": "8.679", "Q": "745444.22", "B": "0"}


def venue(pipe: Pipe) -> None:
    """Serve bars for ever, each stamped with the machine's monotonic clock in nanoseconds."""

    async def bars(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        asked = json.loads((await socket.receive()).data)
        await socket.send_str(json.dumps({"result": None, "id": asked["id"]}))
        goodbye = asyncio.ensure_future(socket.receive())
        while not goodbye.done():
            await asyncio.sleep(PAUSE_S)
            event = {"e": "kline", "E": time.monotonic_ns(), "s": "BTCUSDT", "k": BAR}
            with suppress(ConnectionError):  # the client has gone
                await socket.send_str(json.dumps(event))
        return socket

    async def serve() -> None:
        app = web.Application()
        app.router.add_get("/{category}/ws", bars)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(serve())


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=venue, args=(theirs,), daemon=True)
    process.start()
    yield f"http://127.0.0.1:{ours.recv()}"
    process.kill()
    process.join()


async def through_the_stream(base_url: str, count: int) -> list[float]:
    stream = CcxtMarketStream("binanceusdm", SystemClock(), np.random.default_rng(1), base_url=base_url)
    await stream.open(["BTCUSDT"], Interval.M1)
    waits: list[float] = []
    while len(waits) < count:
        message = await stream.next()
        if isinstance(message, BarMessage):
            waits.append((time.monotonic_ns() - message.time_ms) / 1e6)
    await stream.close()
    return waits


async def through_a_bare_socket(base_url: str, count: int) -> list[float]:
    async with (
        aiohttp.ClientSession(base_url) as session,
        session.ws_connect("/market/ws") as market,
        session.ws_connect("/public/ws") as public,  # the stream has two sockets, too
    ):
        draining = asyncio.create_task(_drain(public))
        await market.send_json({"id": 1})
        await market.receive()
        waits: list[float] = []
        while len(waits) < count:
            event = json.loads((await market.receive()).data)
            waits.append((time.monotonic_ns() - event["E"]) / 1e6)
        draining.cancel()
        await asyncio.gather(draining, return_exceptions=True)
        return waits


async def _drain(socket: aiohttp.ClientWebSocketResponse) -> None:
    await socket.send_json({"id": 1})
    async for _ in socket:
        pass


def test_a_message_reaches_the_consumer_as_fast_as_a_bare_socket_gives_it(benchmark: BenchmarkFixture, base_url: str) -> None:
    count = 1_000 if benchmark.enabled else 20
    peer = np.array(asyncio.run(through_a_bare_socket(base_url, count)))
    ours = np.array(benchmark.pedantic(lambda: asyncio.run(through_the_stream(base_url, 2 * count)), rounds=1))
    p50, p99 = np.quantile(ours, [0.5, 0.99])
    peer_p50, peer_p99 = np.quantile(peer, [0.5, 0.99])
    print(f"\nmessage to consumer: p50 {p50:.3f} ms, p99 {p99:.3f} ms; a bare socket: {peer_p50:.3f} ms, {peer_p99:.3f} ms")
    assert len(ours) == 2 * count
