"""What happens in a world besides its processes: the market moves, clocks jump, keys expire, the venue acts, SIGTERM comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cloudrun.simulation.invariants import THE_VENUE
from cloudrun.simulation.spec import Mode

if TYPE_CHECKING:
    from cloudrun.simulation.world import World

AFTER_BAR_S = 3.0
"""how long after a decision would be too old a bar is asked for: everything that it leads to has happened then"""


async def market(world: World) -> None:
    """The market moves."""
    while True:
        await asyncio.sleep(world.spec.tick_s)
        world.venue.broadcast()
        world.look()


async def bars(world: World) -> None:
    """Every bar for which the analyst has an opinion is to be decided, where nothing hinders."""
    spec = world.spec
    bar_s = spec.interval.ms / 1000
    late_s = spec.params.max_decision_age * bar_s + AFTER_BAR_S
    for number in range(1, spec.bars + spec.quiet_bars - RESTING_BARS + 1):
        await _until(world, number * bar_s + late_s)
        world.liveness.closed(spec.start_ms + number * spec.interval.ms)


async def clock_jumps(world: World) -> None:
    """The clock of the bot's machine jumps."""
    for at_s, by_ms in sorted(world.spec.plan.jumps):
        await _until(world, at_s)
        world.clock.error_ms += by_ms
        world.story.tell(f"the bot's clock jumps by {by_ms} ms")
        world.disturbed()


async def key_expiries(world: World) -> None:
    """The venue forgets the listen key."""
    for at_s in sorted(world.spec.plan.key_expiries):
        await _until(world, at_s)
        world.story.tell("the listen key expires")
        world.outages.unheard(world.loop.time(), user=True)
        world.venue.streams.forget_key()


async def terminations(world: World) -> None:
    """SIGTERM to the process that trades."""
    if world.spec.mode is not Mode.STREAM:  # only a trader lasts longer than what it does
        return
    for at_s in sorted(world.spec.plan.terminations):
        await _until(world, at_s)
        for process in world.processes:
            if process.alive and process.name == world.watch.holder and not process.told_to_end:
                world.story.tell(f"{process.name}: SIGTERM")
                world.faults.struck += 1
                world.disturbed()
                process.terminate()


async def cancelled_stops(world: World) -> None:
    """The venue cancels every stop, and says so once."""
    for at_s in sorted(world.spec.plan.cancelled_stops):
        await _until(world, at_s)
        now_s = world.loop.time()
        cancel_stops(world)
        if world.spec.plan.loses_messages:  # it may be heard of only at the next reconciliation
            world.outages.excuse_ordering(now_s + world.spec.trader.reconcile_s)


def cancel_stops(world: World) -> None:
    """The venue cancels every stop that rests there now."""
    world.venue.tick()
    for stop in list(world.venue.desk.engine.core.account.open_algos.values()):
        world.faults.struck += 1
        world.venue.desk.sender = THE_VENUE
        world.venue.desk.execute("cancel_algo", {"symbol": stop.symbol, "clientAlgoId": stop.client_id})


async def foreign_fees(world: World) -> None:
    """Somebody switches on at the venue that fees are paid in another currency, or off."""
    for at_s, on in sorted(world.spec.plan.foreign_fees):
        await _until(world, at_s)
        world.story.tell(f"fees in another currency are switched {'on' if on else 'off'}")
        world.faults.struck += 1
        world.venue.take_foreign_fees(on=on)


async def _until(world: World, at_s: float) -> None:
    await asyncio.sleep(max(0.0, at_s - world.loop.time()))


RESTING_BARS = 2
"""bars at the end on which no order may be placed: what follows shows whether everything comes to rest"""
ALWAYS = (market, bars, clock_jumps, key_expiries, terminations, cancelled_stops, foreign_fees)
