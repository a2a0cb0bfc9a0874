"""The trading loop over real HTTP, beside the bare round trips of exactly the same requests to the same kind of exchange."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.adapters.exchange import PAPER_CONNECTION, CcxtExchange, CcxtMarketData, Connection, connect
from shared.adapters.local.bucket import FolderBucket
from shared.adapters.local.clock import SystemClock
from shared.adapters.local.paper_process import LockstepClock, PaperExchangeProcess
from shared.adapters.sql import open_ledger
from shared.data.generated import generate_market, write_market
from shared.domain.asset import Universe
from shared.domain.errors import VenueError
from shared.domain.interval import HOUR_MS, Interval, parse_date_ms
from shared.regime.params import RegimeParams
from shared.trading.params import SystemParams
from shared.trading.session import Ports, Session, SessionSpec

SYMBOLS = ("BTCUSDT", "ETHUSDT")
STEPS = 96
END_MS = parse_date_ms("2025-01-01")
START_MS = END_MS - STEPS * HOUR_MS
PARAMS = SystemParams(regime=RegimeParams(train_bars=500, restarts=1))
KEY = "paper"

Request = Callable[[PaperExchangeProcess, Connection], Any]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("market")
    bars = STEPS + PARAMS.window_bars(Interval.H1)
    generated = generate_market(np.random.default_rng(3), SYMBOLS, Interval.H1, END_MS - bars * HOUR_MS, bars)
    write_market(generated, FolderBucket(folder))
    return folder


async def started(market: Path, log: Path, clock: LockstepClock) -> tuple[PaperExchangeProcess, Connection]:
    arguments = ["--market", str(market), "--symbols", *SYMBOLS, "--start", "2024-12-28", "--port", "0"]
    arguments += ["--journal", str(log.with_suffix(".jsonl"))]
    exchange = await PaperExchangeProcess.start(arguments, key=KEY, secret=KEY, log=log)
    rng = np.random.default_rng(1)
    connection = connect("binanceusdm", clock, rng, PAPER_CONNECTION, base_url=exchange.base_url, api_key=KEY, secret=KEY)
    return exchange, connection


def recording(connection: Connection, requests: list[Request]) -> None:
    """Note every request of `connection`, to be sent again by another one."""
    read, change = connection.read, connection.change

    async def noted_read(endpoint: Any, parameters: Any = None) -> Any:
        requests.append(lambda _, other: other.read(endpoint, parameters))
        return await read(endpoint, parameters)

    async def noted_change(endpoint: Any, parameters: Any, **options: Any) -> Any:
        requests.append(lambda _, other: other.change(endpoint, parameters, **options))
        return await change(endpoint, parameters, **options)

    connection.read, connection.change = noted_read, noted_change  # type: ignore[method-assign]


@pytest.mark.slow
def test_loop_against_the_bare_round_trips_of_its_requests(benchmark, market: Path, tmp_path: Path) -> None:
    requests: list[Request] = []
    with asyncio.Runner() as runner:
        clock = LockstepClock(START_MS)
        exchange, connection = runner.run(started(market, tmp_path / "loop.log", clock))
        recording(connection, requests)
        ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
        ledger.register_book("bench", START_MS, {})
        ports = Ports(
            CcxtExchange(connection),
            CcxtMarketData(connection),
            ledger,
            FolderBucket(tmp_path / "models"),
            clock,
            SystemClock(),
        )
        spec = SessionSpec("bench", "bench", Universe.of("binanceusdm", SYMBOLS), Interval.H1, PARAMS, 3, "bench")

        async def opened() -> Session:
            session = await Session.open(ports, spec)
            await session.step(START_MS)  # fetches the windows and fits the first models
            return session

        async def traded(session: Session) -> None:
            for bar_ms in range(START_MS + HOUR_MS, END_MS + 1, HOUR_MS):
                requests.append(lambda other, _, to_ms=bar_ms: other.advance(to_ms))
                await exchange.advance(bar_ms)
                clock.time_ms = bar_ms
                await session.step(bar_ms)

        async def repeated(other: PaperExchangeProcess, bare: Connection, sent: list[Request]) -> None:
            for request in sent:
                with suppress(VenueError):  # refused then, refused now
                    await request(other, bare)

        session = runner.run(opened())
        before = len(requests)
        benchmark.pedantic(lambda: runner.run(traded(session)), rounds=1)
        ours = benchmark.stats.stats.median if benchmark.stats else None
        decisions = len(ledger.decisions("bench"))
        other, bare = runner.run(started(market, tmp_path / "bare.log", LockstepClock(START_MS)))
        runner.run(repeated(other, bare, requests[:before]))
        start = time.perf_counter()
        runner.run(repeated(other, bare, requests[before:]))
        theirs = time.perf_counter() - start
        for process, client in ((exchange, connection), (other, bare)):
            runner.run(client.close())
            runner.run(process.close())
        ledger.close()

    assert decisions == (STEPS + 1) * len(SYMBOLS)
    if ours is not None:  # with --benchmark-disable there is no figure, only a loop that works
        bars = STEPS * len(SYMBOLS)
        print(
            f"\nloop, {bars} bars, {len(requests) - before} requests: {bars / ours:.0f} bars/s; bare round trips "
            f"{bars / theirs:.0f} bars/s; ratio {theirs / ours:.2f}"
        )
