"""A live session as a process runs it: the book, the venue, the trader, and an orderly end. No terminal in here.

`ost live` and `cloudrun.bot` run the same; what a person sees is theirs. Ctrl-C and SIGTERM end the trader in order (no new
risk, positions and their stops stay); what refuses a start is raised before anything is traded.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from shared.adapters.local.paper_clock import in_real_seconds, patience_in_real_seconds
from shared.adapters.local.paper_process import LockstepClock
from shared.cli import wiring
from shared.cli.books import is_registered, register
from shared.cli.live_venue import LiveVenue, own_exchange, running_exchange
from shared.domain.asset import Universe
from shared.domain.errors import OstError
from shared.trading.preflight import check_start
from shared.trading.rehearsal import rehearse
from shared.trading.schedule import run_once
from shared.trading.session_types import LivePorts, SessionSpec, StepReport
from shared.trading.trader import Trader
from shared.trading.trader_params import TraderParams
from shared.version import code_version

if TYPE_CHECKING:
    from shared.cli.account_keys import AccountKeys
    from shared.cli.paper_run import PaperRun
    from shared.config.settings import Settings
    from shared.ports import Bucket, Ledger

OWN_LEASE_S = 5.0
"""Of a book on an exchange of its own: that one ends with the process, so nobody else can be trading on it"""


@dataclass(frozen=True)
class LiveBook:
    """What is traded, and what remembers it."""

    name: str
    settings: Settings
    universe: Universe
    ledger: Ledger
    folder: Path
    """models and logs of the book"""
    models: Bucket
    own: PaperRun | None = None
    """the paper exchange that is started for this book; `None`: there is one, or it is the real venue"""
    keys: AccountKeys | None = None
    """of the account, where they are renewed while it is traded"""


@dataclass(frozen=True)
class Live:
    """A session that can be started: its ports, and what it is told to do."""

    book: LiveBook
    venue: LiveVenue
    ports: LivePorts
    spec: SessionSpec
    params: TraderParams


def get_ready(book: LiveBook) -> None:
    """Load, and on a new machine compile, what bars will ask for: before anything waits for this process."""
    rehearse(book.settings.system, book.settings.interval)


@asynccontextmanager
async def opened(book: LiveBook, *, lockstep: bool = False) -> AsyncIterator[Live]:
    """The venue of a book and the ports to it. Raises the `OstError` tree where there is no way to it."""
    async with _venue(book, lockstep=lockstep) as venue:
        settings = book.settings
        if book.keys is not None:
            await book.keys.ready()
        ports = wiring.live_ports(
            settings, book.ledger, book.name, base_url=venue.base_url, paper=venue.clock, models=book.models, keys=book.keys
        )
        try:
            yield Live(book, venue, ports, _spec(book, venue), _params(settings, venue))
        finally:
            await ports.exchange.close()


async def trade(live: Live, *, standby: bool, on_start: Callable[[Trader], None], on_step: Callable[[StepReport], None]) -> str:
    """Trade until told to end; why it ended. Raises `LeaseLost`, what a start is refused with, or the error that ended it."""
    await _check(live)
    await _begin(live)
    trader = Trader(live.ports, live.spec, live.params, standby=standby, on_step=tidied(on_step))
    reasons: list[str] = []

    def stop(reason: str) -> None:
        reasons.append(reason)
        trader.stop(reason)

    on_start(trader)
    settle_memory()
    following = [asyncio.create_task(live.venue.follow(stop))]
    if live.book.keys is not None:
        following.append(asyncio.create_task(live.book.keys.follow()))
    try:
        with told_to_stop(stop):
            await live.venue.while_alive(trader.run())
    finally:
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
    return reasons[0] if reasons else "the trader has ended"


async def step_once(live: Live, bar_close_ms: int | None = None) -> StepReport:
    """One whole step and the lease given back (schedule mode); a paper exchange in lockstep moves on by one bar before it.

    Raises `LeaseLost` where a trader is at work on the book, `NotEnoughData` where the venue shows nothing of the bar yet.
    """
    await _check(live)
    await _begin(live)
    clock, interval = live.venue.clock, live.spec.interval
    if isinstance(clock, LockstepClock) and live.venue.process is not None:
        last, bar_ms = live.book.ledger.last_equity(live.book.name), interval.floor(clock.time_ms)
        if last is not None and last.time_ms >= bar_ms:
            await live.venue.process.advance(bar_ms + interval.ms)
            clock.time_ms = bar_ms + interval.ms
    return await run_once(live.ports, live.spec, live.params, bar_close_ms)


async def _check(live: Live) -> None:
    """What refuses a start. A book that holds something is not left alone for it: its session says what is wrong."""
    try:
        await check_start(live.ports, live.spec)
    except OstError:
        ledger, book = live.book.ledger, live.book.name
        holds = any(position.quantity for position in ledger.positions(book).values())
        if not (holds or ledger.orders(book, unfinished=True)):
            raise


async def _begin(live: Live) -> None:
    """Make the book known, where it is not. It begins at the venue's time: by a clock ahead, first fills would be too old."""
    if not is_registered(live.book):
        register(live.book, min(live.ports.clock.now_ms(), await live.ports.exchange.server_time_ms()))


def settle_memory() -> None:
    """Take what there is out of garbage collection: looking through it costs many milliseconds amid a bar."""
    gc.collect()
    gc.freeze()


def tidied(on_step: Callable[[StepReport], None]) -> Callable[[StepReport], None]:
    """`on_step`, and memory tidied after it: garbage is looked for between bars instead of amid one.

    After the first step everything that a trader lives with is there and leaves the collection; what is left is short work.
    """
    steps = count()

    def stepped(report: StepReport) -> None:
        on_step(report)
        if next(steps):
            gc.collect()
        else:
            settle_memory()

    return stepped


@contextmanager
def told_to_stop(stop: Callable[[str], None]) -> Iterator[None]:
    """Call `stop` at the first Ctrl-C or SIGTERM; a second one ends the process in the usual way."""
    loop = asyncio.get_running_loop()
    names = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}

    def told(number: signal.Signals) -> None:
        for each in names:
            loop.remove_signal_handler(each)
        stop(names[number])

    for number in names:
        loop.add_signal_handler(number, told, number)
    try:
        yield
    finally:
        for number in names:
            loop.remove_signal_handler(number)


@asynccontextmanager
async def _venue(book: LiveBook, *, lockstep: bool) -> AsyncIterator[LiveVenue]:
    settings = book.settings
    if settings.mode != "paper":
        yield LiveVenue(settings.venue.base_url)
    elif book.own is not None:
        async with own_exchange(book.own, None if lockstep else settings.bot.speed) as venue:
            yield venue
    else:
        async with running_exchange(settings, str(settings.venue.base_url)) as venue:
            yield venue


def _spec(book: LiveBook, venue: LiveVenue) -> SessionSpec:
    settings, system = book.settings, book.settings.system
    return SessionSpec(
        book=book.name,
        # Another text for every process that ever starts: in a container each of them is pid 1.
        holder=f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}",
        universe=book.universe,
        interval=settings.interval,
        params=replace(system, execution=patience_in_real_seconds(system.execution, venue.speed)),
        leverage=settings.run.leverage,
        code_version=code_version(),
        lease_ttl_ms=round(1000 * (settings.bot.lease_s if book.own is None else min(OWN_LEASE_S, settings.bot.lease_s))),
    )


def _params(settings: Settings, venue: LiveVenue) -> TraderParams:
    return in_real_seconds(settings.trader, settings.interval, venue.speed) if venue.speed != 1 else settings.trader
