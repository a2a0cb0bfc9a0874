"""What a simulated process does: the real session, step by step or as one request for each bar, or the real trader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudrun.simulation.ports import CLIENTS, MemoryBucket
from cloudrun.simulation.spec import Mode
from cloudrun.simulation.streams import MarketLink, UserLink
from shared.adapters.exchange import CcxtExchange, CcxtMarketData
from shared.domain.errors import NotEnoughData
from shared.domain.interval import Interval
from shared.trading.schedule import run_once, tend_once
from shared.trading.session import LivePorts, Session
from shared.trading.trader import Trader

if TYPE_CHECKING:
    from cloudrun.simulation.process import Process
    from cloudrun.simulation.world import World

REQUEST_DELAY_S = 0.3
"""a scheduler's distance from the bar close"""
LONGEST_PAUSE_S = 10.0
"""distance of the looks whether the world ends"""


async def program(world: World, process: Process) -> None:
    """What runs in every process of `world`."""
    mode = world.spec.mode
    await (trader if mode is Mode.STREAM else requests if mode is Mode.SCHEDULE else session_loop)(world, process)


def live_ports(world: World, process: Process) -> LivePorts:
    """The real adapters of one process, on the simulated network."""
    ledger = world.ledger_of(process)
    connection = CLIENTS.connection(world, process, ledger)
    links = (world.venue.streams, process, world.clock, world.loop, world.faults, world.spec.rotate_after_s)
    return LivePorts(
        exchange=CcxtExchange(connection),
        market=CcxtMarketData(connection),
        ledger=ledger,
        models=MemoryBucket(),
        clock=world.clock,
        lease_clock=world.clock,
        market_stream=MarketLink(*links),
        user_stream=UserLink(*links),
        bus=world.bus,
        exits=world.journal,
    )


async def trader(world: World, process: Process) -> None:
    """Stream mode: the real trader until it is told to end."""
    ports, spec = live_ports(world, process), world.spec.session(process.name)
    running = Trader(ports, spec, world.spec.trader, world.analyst, standby=process.standby)
    process.on_terminate = lambda: running.stop("the world ends")
    await running.run()


async def session_loop(world: World, process: Process) -> None:
    """Open a session and step it at each bar close, until the world ends. Who calls knows the time."""
    interval = world.spec.interval
    session = await Session.open(live_ports(world, process), world.spec.session(process.name), world.analyst)
    try:
        while not world.closing:
            process.serving = True
            close_ms = interval.floor(world.clock.true_ms)
            await session.step(close_ms)
            process.serving = False
            next_ms = close_ms + interval.ms
            await _pause(world, (next_ms - world.clock.true_ms) / 1000 + REQUEST_DELAY_S)
        await session.reconcile(full=True)  # as the next bar would: nobody has looked since the last one
    finally:
        await session.close()


async def requests(world: World, process: Process) -> None:
    """Schedule mode: one request for each bar, one each minute in between, until the world ends and once more afterwards.

    The scheduler's clock is right. A request that is refused ends the process; the next one comes soon, as a repetition does.
    """
    interval = world.spec.interval
    ports, spec, params = live_ports(world, process), world.spec.session(process.name), world.spec.trader
    close_ms = 0
    while True:
        last = world.closing
        process.serving = True
        try:
            if (newest_ms := interval.floor(world.clock.true_ms)) > close_ms:
                close_ms = newest_ms
                await run_once(ports, spec, params, close_ms, world.analyst)
            else:
                await tend_once(ports, spec, params, world.analyst)
            world.request_succeeded(process)
        except NotEnoughData as error:
            world.story.tell(f"{process.name}: refused: {error}")
        process.serving = False
        if last:
            return
        now_ms = world.clock.true_ms
        next_ms = min(close_ms + interval.ms, Interval.M1.floor(now_ms) + Interval.M1.ms)
        await _pause(world, (next_ms - now_ms) / 1000 + REQUEST_DELAY_S)


async def _pause(world: World, seconds: float) -> None:
    """Wait for the next bar, or for the end of the world."""
    while seconds > 0 and not world.closing:
        await world.clock.sleep(min(seconds, LONGEST_PAUSE_S))
        seconds -= LONGEST_PAUSE_S
