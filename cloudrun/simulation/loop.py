"""An event loop whose time is simulated: it jumps to the next timer as soon as nothing is ready to run.

Nothing outside takes part (no sockets, threads or signals), so that a run depends on its inputs alone: callbacks run in the
order in which they were scheduled, timers in the order of their instants. What would be waited for forever is an error at
once, and so is a program that runs without ever waiting.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

Result = TypeVar("Result")

RESOLUTION_S = 1e-6
"""Timers that are closer together than this fire together."""
MAX_IDLE_TURNS = 200_000
"""Turns of the loop in which time may stand still."""


class SimulationStuckError(RuntimeError):
    """Everybody waits for something that can never come, or somebody never waits."""


class _TimeJumper(selectors.BaseSelector):
    """Instead of waiting for files, moves the simulated time on."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._idle_turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Nothing is ever ready; a wait of `timeout` seconds is over at once. Raises `SimulationStuckError`."""
        if timeout is None:
            raise SimulationStuckError("nothing is scheduled any more, and somebody still waits")
        if timeout > 0:
            self.now_s += timeout
            self._idle_turns = 0
            return []
        self._idle_turns += 1
        if self._idle_turns > MAX_IDLE_TURNS:
            raise SimulationStuckError(f"{MAX_IDLE_TURNS} turns without a wait at {self.now_s:.3f} s: somebody polls")
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """The loop's own wake-up pipe; it is never used."""
        key = selectors.SelectorKey(fileobj, _descriptor(fileobj), events, data)
        self._keys[key.fd] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Forget it."""
        return self._keys.pop(_descriptor(fileobj))

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """What is registered."""
        return self._keys


def _descriptor(file: Any) -> int:
    return file if isinstance(file, int) else int(file.fileno())


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop in simulated time, which starts at 0."""

    def __init__(self) -> None:
        self._jumper = _TimeJumper()
        super().__init__(self._jumper)
        self._clock_resolution = RESOLUTION_S

    def time(self) -> float:
        """Simulated seconds since the start."""
        return self._jumper.now_s

    def block(self, seconds: float) -> None:
        """Time passes while nobody runs: a call that does not return at once."""
        self._jumper.now_s += seconds


def run_virtual(main: Coroutine[Any, Any, Result], loop: VirtualLoop) -> Result:
    """Run `main` to its end on `loop` and close it. What `main` left behind is cancelled."""
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()
