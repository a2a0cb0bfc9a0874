"""Clocks: the machine's own, and one that moves only when it is told to.

With `VirtualClock` a simulation runs as fast as it computes and the same way each time: sleepers wake in the order of their
instants (of their calls, where instants are equal), and each runs until it waits again before the next one wakes.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time


class SystemClock:
    """The machine's time."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        """Wait; zero or less yields to other tasks."""
        await asyncio.sleep(max(seconds, 0.0))


class VirtualClock:
    """Simulated time that starts at `start_ms` and is advanced by hand."""

    # Event-loop turns granted to a woken task, enough for chains of awaits that need no real waiting.
    SETTLE_TURNS = 20

    def __init__(self, start_ms: int = 0) -> None:
        self._now_ms = start_ms
        self._order = itertools.count()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    def now_ms(self) -> int:
        """Simulated milliseconds since 1970-01-01 UTC."""
        return self._now_ms

    @property
    def next_wake_ms(self) -> int | None:
        """When the first sleeper wakes; `None` where nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been advanced by `seconds`; zero or less yields to other tasks."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        wake_ms = self._now_ms + max(1, round(seconds * 1000))
        heapq.heappush(self._sleepers, (wake_ms, next(self._order), waiting))
        await waiting

    async def advance(self, seconds: float) -> None:
        """Move on by `seconds`, waking sleepers in order, each at its own instant."""
        await self.advance_to(self._now_ms + round(seconds * 1000))

    async def advance_to(self, time_ms: int) -> None:
        """Move to `time_ms`, waking sleepers in order. An instant that has passed already changes nothing."""
        await self._settle()
        while (wake_ms := self.next_wake_ms) is not None and wake_ms <= time_ms:
            self._now_ms = max(self._now_ms, wake_ms)
            _, _, waiting = heapq.heappop(self._sleepers)
            waiting.set_result(None)
            await self._settle()
        self._now_ms = max(self._now_ms, time_ms)

    def set(self, time_ms: int) -> None:
        """Jump forward without an event loop (for synchronous simulations in which nobody sleeps)."""
        self._now_ms = max(self._now_ms, time_ms)

    async def _settle(self) -> None:
        for _ in range(self.SETTLE_TURNS):
            await asyncio.sleep(0)
