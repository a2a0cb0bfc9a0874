"""The wiring of `ost run`: the paper exchange as a process, real ccxt in front of it, the ledger, and the session.

Lockstep: the exchange's time is moved from bar close to bar close, and each close is one session step. The run ends cleanly
after any step, and is continued from the ledger and the exchange's journal after any kind of end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shared.adapters.exchange import PAPER_CONNECTION, CcxtExchange, CcxtMarketData, connect
from shared.adapters.local.bucket import FolderBucket
from shared.adapters.local.bus import LocalBus
from shared.adapters.local.clock import SystemClock
from shared.adapters.local.paper_process import LockstepClock, PaperExchangeProcess
from shared.cli import wiring
from shared.data.ingestion import ingest_universe
from shared.data.refresh import refresh_curated
from shared.domain.errors import DataError, LeaseLost, StorageError
from shared.domain.interval import format_ms
from shared.trading.outbox import relay
from shared.trading.session import Ports, Session, SessionSpec, StepReport
from shared.version import code_version

if TYPE_CHECKING:
    from shared.config.settings import Settings
    from shared.ports import Ledger
    from shared.trading.run_plan import RunPlan

LEASE_TTL_MS = 3_000
"""Short: a run that was killed is continued seconds later."""

OnStep = Callable[[StepReport], None]


@dataclass(frozen=True, slots=True)
class PaperRun:
    """One run and where its files are."""

    plan: RunPlan
    book: str
    settings: Settings
    ledger: Ledger
    folder: Path
    """journal, log, models and frozen candles of this book"""
    problems: tuple[str, ...] = ()
    """assets that were left out before the run began, one line each"""

    @property
    def market_folder(self) -> Path:
        """The candles that the exchange replays."""
        return self.folder / "market"


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended."""

    interrupted: bool
    problems: tuple[str, ...]
    """assets that could not be ingested, curated or decided, one line each"""


async def trade(run: PaperRun, on_step: OnStep, say: Callable[[str], None]) -> RunEnd:
    """Trade the plan from where it stands to its end, or to the first Ctrl-C. Raises the `OstError` tree."""
    secrets = wiring.secrets()
    key, secret = secrets.paper_key.get_secret_value(), secrets.paper_secret.get_secret_value()
    try:
        exchange = await PaperExchangeProcess.start(
            exchange_arguments(run), key=key, secret=secret, log=run.folder / "exchange.log"
        )
    except StorageError as error:
        hint = f"if another process trades the run {run.book} now, wait for it, or start another run with --fresh"
        raise StorageError(f"{error}; {hint}") from None
    try:
        return await exchange.while_alive(_traded(run, exchange, key, secret, on_step, say))
    finally:
        await exchange.close()


async def _traded(
    run: PaperRun, exchange: PaperExchangeProcess, key: str, secret: str, on_step: OnStep, say: Callable[[str], None]
) -> RunEnd:
    """`trade` on a running exchange."""
    settings = run.settings
    clock = LockstepClock(int((await exchange.state())["now_ms"]))
    connection = connect(
        settings.universe.venue,
        clock,
        np.random.default_rng(settings.run.seed),
        PAPER_CONNECTION,
        base_url=exchange.base_url,
        api_key=key,
        secret=secret,
    )
    try:
        market = CcxtMarketData(connection)
        ports = Ports(
            exchange=CcxtExchange(connection),
            market=market,
            ledger=run.ledger,
            models=FolderBucket(run.folder),
            clock=clock,
            lease_clock=SystemClock(),
        )
        await _take_lease(run, say)
        problems = dict.fromkeys(run.problems)
        interrupted = await _stepped(run, ports, clock, exchange, on_step, problems)
        bus = LocalBus(wiring.events_file(settings))
        while await relay(run.ledger, bus, SystemClock()):
            continue
        problems |= dict.fromkeys(await _kept(run, market, clock))
        return RunEnd(interrupted, tuple(problems))
    finally:
        await connection.close()


async def _stepped(
    run: PaperRun,
    ports: Ports,
    clock: LockstepClock,
    exchange: PaperExchangeProcess,
    on_step: OnStep,
    problems: dict[str, None],
) -> bool:
    """Step to the end of the plan; whether it was cut off after a whole step. `problems` gets those of the steps."""
    session = await Session.open(ports, _spec(run))
    bar_ms = clock.time_ms  # the step at which the exchange stands may have been cut off: doing it again is safe
    try:
        with _first_interrupt() as stop:
            while bar_ms <= run.plan.end_ms:
                if stop.is_set():
                    return True
                if bar_ms > clock.time_ms:
                    await exchange.advance(bar_ms)
                    clock.time_ms = bar_ms
                report = await session.step(bar_ms)
                problems |= dict.fromkeys(report.problems)
                on_step(report)
                bar_ms += run.plan.interval.ms
    finally:
        await session.close()
    return False


async def _kept(run: PaperRun, market: CcxtMarketData, clock: LockstepClock) -> list[str]:
    """Put the candles of the run into the lake and curate them; what could not be, one line each."""
    settings, plan, lake = run.settings, run.plan, FolderBucket(run.settings.lake)
    since_ms = plan.start_ms - settings.system.window_bars(plan.interval) * plan.interval.ms
    ingested = await ingest_universe(market, lake, clock, plan.universe, [plan.interval], since_ms=since_ms)
    problems = [f"{failed.asset.symbol}: {failed.error}" for failed in ingested.failed]
    for asset in plan.universe:
        try:
            refresh_curated(lake, asset, plan.interval, settings.curation)
        except DataError as error:
            problems.append(f"{asset.symbol}: {error}")
    return problems


def _spec(run: PaperRun) -> SessionSpec:
    return SessionSpec(
        book=run.book,
        holder=f"{socket.gethostname()}:{os.getpid()}",
        universe=run.plan.universe,
        interval=run.plan.interval,
        params=run.settings.system.in_lockstep(),
        leverage=run.settings.run.leverage,
        code_version=code_version(),
        lease_ttl_ms=LEASE_TTL_MS,
    )


async def _take_lease(run: PaperRun, say: Callable[[str], None]) -> None:
    """The lease of the book, after that of a process that was killed has run out.

    Raises `LeaseLost` where the other process is alive: it goes on renewing.
    """
    clock, spec = SystemClock(), _spec(run)
    for attempt in range(2 * LEASE_TTL_MS // 500):
        if run.ledger.acquire_lease(spec.book, spec.holder, spec.lease_ttl_ms, clock.now_ms()) is not None:
            return
        if attempt == 0:
            say("waiting for the lease of the process that was interrupted")
        await asyncio.sleep(0.5)
    raise LeaseLost(f"the run {run.book} is being traded by another process; wait for it, or start another one with --fresh")


def exchange_arguments(run: PaperRun) -> list[str]:
    """Command line of the exchange process."""
    plan, costs = run.plan, run.settings.costs
    arguments = ["--market", str(run.market_folder), "--symbols", *(asset.symbol for asset in plan.universe)]
    arguments += ["--interval", plan.interval.value, "--start", format_ms(plan.start_ms), "--capital", plan.capital]
    arguments += ["--journal", str(run.folder / "journal.jsonl"), "--port", "0"]
    for field in fields(costs):
        arguments += [f"--{field.name.replace('_', '-')}", repr(getattr(costs, field.name))]
    return arguments


@contextmanager
def _first_interrupt() -> Iterator[asyncio.Event]:
    """An event that the first Ctrl-C (or SIGTERM) sets; the second one ends the process in the usual way."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def told() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
