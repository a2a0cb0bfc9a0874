"""Who starts the processes: another one when one has died or ended, or while one is stopped for long; in the end SIGTERM."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from cloudrun.simulation.process import Process, ended
from cloudrun.simulation.spec import Mode
from shared.domain.errors import OstError

if TYPE_CHECKING:
    from cloudrun.simulation.world import World

Main = Callable[["World", Process], Coroutine[Any, Any, None]]

LOOK_S = 1.0
TERMINATION_S = 10.0
UNHEARD_S = 2.0
"""what the venue did a moment ago may not be known yet"""
REQUEST_TIMEOUT_S = 120.0
"""how long a request of schedule mode may take"""


class Supervisor:
    """Runs `main` in one process after the other."""

    def __init__(self, world: World, main: Main) -> None:
        self._world = world
        self._main = main
        self._judged: set[str] = set()
        self._hopeless = False

    async def keep_running(self, *, standby: bool) -> None:
        """Keep one process running until the end of the world, or until one has crashed."""
        world = self._world
        while not (world.closing or self._hopeless):
            process = world.new_process(standby=standby)
            main = process.start(self._main(world, process))
            world.story.tell(f"{process.name} starts")
            while not (main.done() or world.closing or self._is_replaced(process)):
                await asyncio.wait([main], timeout=LOOK_S)
            if main.done():
                await self._judge(process)
            if not world.closing:
                await asyncio.sleep(float(world.rng.uniform(0.2, 8.0)))

    async def terminate(self) -> None:
        """SIGTERM to every process that is left: each has ten seconds."""
        world = self._world
        for process in world.processes:
            process.resume()
            if process.alive:
                process.on_terminate()
        mains = [process.main for process in world.processes if process.main is not None and not process.main.done()]
        patience_s = TERMINATION_S if world.spec.mode is Mode.STREAM else REQUEST_TIMEOUT_S
        if mains:
            await asyncio.wait(mains, timeout=patience_s)
        for process in world.processes:
            if process.main is not None and not process.main.done():
                world.story.violate(f"{process.name} did not end within {patience_s:g} s")
                process.kill()
            await self._judge(process)
        await asyncio.sleep(0.1)

    def _look_at_what_it_left(self, process: Process) -> None:
        """Who ends in order has used all its time, or leaves nothing bare that it could know of."""
        world, now_s = self._world, self._world.loop.time()
        if process.told_s is None or now_s - process.told_s >= world.spec.trader.stop_grace_s or not world.outages.hears(now_s):
            return
        if any(0.0 <= now_s - at_s < UNHEARD_S for at_s in world.spec.plan.cancelled_stops):
            return
        for symbol in world.spec.symbols:
            if world.exposure.is_bare(symbol):
                world.story.violate(
                    f"{process.name} ended {now_s - process.told_s:.1f} s after SIGTERM, and {symbol} has no stop"
                )

    def _is_replaced(self, process: Process) -> bool:
        return process.stopped and self._world.loop.time() >= process.replaced_at_s

    async def _judge(self, process: Process) -> None:
        """A process has ended: was it allowed to end like that?"""
        if process.name in self._judged or process.main is None:
            return
        self._judged.add(process.name)
        how, story = await ended(process.main), self._world.story
        if not process.alive:
            story.tell(f"{process.name} was killed")
            self._world.disturbed()
        elif how is None:
            story.tell(f"{process.name} ended")
            self._look_at_what_it_left(process)
        elif isinstance(how, OstError):
            story.tell(f"{process.name} ended: {type(how).__name__}: {how}")
        else:
            self._hopeless = True
            story.violate(f"{process.name} crashed: {type(how).__name__}: {how}")
        process.forget()
