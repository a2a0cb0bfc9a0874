"""Clocks: the virtual one wakes sleepers in order and moves only when told."""

from __future__ import annotations

import asyncio
import time

from shared.adapters.local.clock import SystemClock, VirtualClock


def test_the_system_clock_is_the_machines() -> None:
    before = time.time() * 1000
    assert before - 1 <= SystemClock().now_ms() <= time.time() * 1000 + 1


async def test_the_system_clock_does_not_wait_for_nothing() -> None:
    await asyncio.wait_for(SystemClock().sleep(-1), timeout=1)


async def test_sleepers_wake_in_order_each_at_its_own_instant() -> None:
    clock = VirtualClock(1_000)
    woken: list[tuple[str, int]] = []

    async def sleeper(name: str, *naps: float) -> None:
        for nap in naps:
            await clock.sleep(nap)
            woken.append((name, clock.now_ms()))

    tasks = [
        asyncio.create_task(sleeper("a", 3, 3)),
        asyncio.create_task(sleeper("b", 1, 1, 1)),
        asyncio.create_task(sleeper("c", 3)),
    ]
    await clock.advance(2.5)
    assert woken == [("b", 2_000), ("b", 3_000)]
    assert clock.now_ms() == 3_500
    await clock.advance(10)
    assert woken[2:] == [("a", 4_000), ("c", 4_000), ("b", 4_000), ("a", 7_000)]
    assert clock.now_ms() == 13_500
    await asyncio.gather(*tasks)


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = VirtualClock()
    task = asyncio.create_task(clock.sleep(5))
    await asyncio.sleep(0)
    assert clock.next_wake_ms == 5_000
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert clock.next_wake_ms is None
    await clock.advance(10)
    assert clock.now_ms() == 10_000


async def test_time_never_goes_back() -> None:
    clock = VirtualClock(10_000)
    await clock.advance_to(5_000)
    clock.set(3_000)
    assert clock.now_ms() == 10_000
