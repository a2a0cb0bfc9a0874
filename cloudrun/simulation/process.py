"""A process of the simulation: an incarnation of the program that can be killed or stopped at any await and at any port call.

All tasks that descend from its main task belong to it, because they inherit its context. Between two steps of a task stands a
gate: in a process that is stopped (SIGSTOP) the step waits until it is continued; in one that was killed it never happens. A
killed process has no effect any more: its ports raise `Killed`, and its coroutines are unwound at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from typing import Any

from cloudrun.simulation.loop import VirtualLoop

UNWIND_LIMIT = 1000
"""Awaits that a dying coroutine may try in its `finally` blocks."""


class Killed(BaseException):
    """The process does not exist any more. No handler of the program may catch it."""


class Process:
    """One incarnation. `on_touch` is told every port call before and after its effect; it may call `kill`."""

    def __init__(self, loop: VirtualLoop, name: str, on_touch: Callable[[Process, str], None] | None = None) -> None:
        self.name = name
        self.born_s = loop.time()
        self.alive = True
        self.main: asyncio.Task[Any] | None = None
        self.calls = 0
        """port calls so far, twice each: before and after"""
        self.steps = 0
        """steps of its tasks so far"""
        self.standby = False
        """whether it waits for the lease of another one"""
        self.on_terminate: Callable[[], None] = lambda: None
        """what SIGTERM does"""
        self.told_s: float | None = None
        """when SIGTERM has reached it"""
        self.serving = True
        """whether it works: a request is being served, or it never rests"""
        self.kill_at_step: int | None = None
        """the step of any of its tasks at which it dies"""
        self.mortal_until_s = float("inf")
        """after this instant it does not die at that step any more"""
        self.replaced_at_s = 0.0
        """when another process is started beside this one, which is stopped"""
        self.tasks: set[asyncio.Task[Any]] = set()
        self._frozen = False
        self._loop = loop
        self._on_touch = on_touch
        self._endings: list[Callable[[], None]] = []
        self._held: list[asyncio.Future[None]] = []
        """what its tasks wait for while it is stopped"""

    @property
    def stopped(self) -> bool:
        """Whether it is stopped and may be continued."""
        return self._frozen

    def start(self, main: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run `main` as the process's main task."""
        context = copy_context()
        context.run(_CURRENT.set, self)
        self.main = self._loop.create_task(main, context=context)
        return self.main

    @property
    def told_to_end(self) -> bool:
        """Whether SIGTERM has reached it."""
        return self.told_s is not None

    def touch(self, what: str) -> None:
        """A port call reaches the point `what`. Raises `Killed` in a process that is dead, or that dies here."""
        self.calls += 1
        if self.alive and self._on_touch is not None:
            self._on_touch(self, what)
        if not self.alive:
            raise Killed(self.name)

    def kill(self) -> None:
        """End it without a word, as SIGKILL does."""
        self.alive = False
        self.resume()
        for task in list(self.tasks):
            task.cancel()

    def terminate(self) -> None:
        """SIGTERM: what it does about it is its own matter."""
        if self.told_s is None:
            self.told_s = self._loop.time()
        self.on_terminate()

    def at_end(self, ending: Callable[[], None]) -> None:
        """Call `ending` when the process and all its tasks are gone."""
        self._endings.append(ending)

    def forget(self) -> None:
        """It has ended and was judged: nothing of what its frames held is kept."""
        self.main, self.on_terminate = None, lambda: None

    def bury(self) -> None:
        """What it held belongs to the world again."""
        self.alive = False
        while self._endings:
            self._endings.pop()()

    def stop(self) -> None:
        """Freeze it, as SIGSTOP does: it takes no step until `resume`."""
        self._frozen = self.alive

    def resume(self) -> None:
        """Continue it; timers that have run out meanwhile are late."""
        self._frozen = False
        held, self._held = self._held, []
        for waiting in held:
            if not waiting.done():
                waiting.set_result(None)

    def freeze_point(self) -> asyncio.Future[None] | None:
        """What a step has to wait for; `None` where it may happen. Raises `Killed`."""
        if not self.alive:
            raise Killed(self.name)
        self.steps += 1
        if self.kill_at_step is not None and self.steps >= self.kill_at_step and self._loop.time() < self.mortal_until_s:
            self.kill()
            raise Killed(self.name)
        if not self._frozen:
            return None
        # One for each wait: what cancels the waiting task cancels what it waits for.
        self._held.append(self._loop.create_future())
        return self._held[-1]


_CURRENT: ContextVar[Process | None] = ContextVar("_CURRENT", default=None)


class _Gate(Coroutine[Any, Any, Any]):
    """A coroutine whose steps ask its process first."""

    def __init__(self, inner: Coroutine[Any, Any, Any], process: Process) -> None:
        self._inner = inner
        self._process = process
        self._thrown: BaseException | None = None

    def send(self, _: Any) -> Any:
        """One step."""
        held = self._held()
        if held is not None:
            return held
        thrown, self._thrown = self._thrown, None
        return self._inner.send(None) if thrown is None else self._inner.throw(thrown)

    def throw(self, error: Any, *_: Any) -> Any:
        """One step that begins with an exception."""
        held = self._held()
        if held is not None:
            self._thrown = error
            return held
        return self._inner.throw(error)

    def close(self) -> None:
        """End without running on."""
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()

    def _held(self) -> Any:
        try:
            waiting = self._process.freeze_point()
        except Killed:
            self._unwind()
            raise
        if waiting is not None:
            waiting._asyncio_future_blocking = True
        return waiting

    def _unwind(self) -> None:
        for _ in range(UNWIND_LIMIT):
            try:
                self._inner.throw(Killed())
            except BaseException:  # noqa: BLE001 - whatever a dead process still wanted to say
                return


def install(loop: VirtualLoop) -> None:
    """Make every new task of `loop` a task of the process that creates it."""

    def factory(
        loop: asyncio.AbstractEventLoop, inner: Any, *, context: Context | None = None, **options: Any
    ) -> asyncio.Future[Any]:
        process = _CURRENT.get() if context is None else context.get(_CURRENT)
        if process is None:
            return asyncio.Task(inner, loop=loop, context=context, **options)
        task: asyncio.Task[Any] = asyncio.Task(_Gate(inner, process), loop=loop, context=context, **options)
        process.tasks.add(task)
        task.add_done_callback(process.tasks.discard)
        return task

    loop.set_task_factory(factory)


class ProcessClock:
    """The clock of a process's machine: simulated time plus what is wrong with it."""

    def __init__(self, loop: VirtualLoop, start_ms: int) -> None:
        self._loop = loop
        self._start_ms = start_ms
        self.error_ms = 0
        """added to the true time; changed by a clock jump"""

    @property
    def true_ms(self) -> int:
        """True time, ms UTC."""
        return self._start_ms + round(self._loop.time() * 1000)

    def now_ms(self) -> int:
        """Time as this machine sees it, ms UTC."""
        return self.true_ms + self.error_ms

    async def sleep(self, seconds: float) -> None:
        """Wait; zero or less yields to other tasks."""
        await asyncio.sleep(max(seconds, 0.0))


async def ended(task: Awaitable[Any]) -> BaseException | None:
    """Wait for the main task of a process; how it ended, `None` where it returned."""
    try:
        await task
    except (Killed, asyncio.CancelledError) as error:
        return error
    except Exception as error:  # noqa: BLE001 - the world judges it
        return error
    return None
