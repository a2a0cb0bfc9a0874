"""Simulated time: it jumps, it is ordered, and what would last for ever is found out."""

from __future__ import annotations

import asyncio
import time

import pytest

from cloudrun.simulation.loop import SimulationStuckError, VirtualLoop, run_virtual


def test_a_day_passes_at_once():
    loop = VirtualLoop()
    began_s = time.monotonic()
    run_virtual(asyncio.sleep(86_400.0), loop)
    assert loop.time() == pytest.approx(86_400.0)
    assert time.monotonic() - began_s < 1.0


def test_timers_fire_in_the_order_of_their_instants():
    order: list[str] = []

    async def wait(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        order.append(name)

    async def main() -> None:
        await asyncio.gather(wait("c", 3.0), wait("a", 1.0), wait("b", 2.0), wait("a too", 1.0))

    run_virtual(main(), VirtualLoop())
    assert order == ["a", "a too", "b", "c"]


def test_timeouts_are_simulated_too():
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30.0):
                await asyncio.get_running_loop().create_future()
        return asyncio.get_running_loop().time()

    assert run_virtual(main(), VirtualLoop()) == pytest.approx(30.0)


def test_waiting_for_what_never_comes_is_an_error():
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(SimulationStuckError, match="nothing is scheduled"):
        run_virtual(main(), VirtualLoop())


def test_polling_without_a_pause_is_an_error():
    async def main() -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(0)

    with pytest.raises(SimulationStuckError, match="somebody polls"):
        run_virtual(main(), VirtualLoop())
