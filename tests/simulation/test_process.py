"""Processes can be killed and stopped at any await, with all their tasks, and nothing of them goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from cloudrun.simulation.loop import VirtualLoop, run_virtual
from cloudrun.simulation.process import Killed, Process, ended, install

Program = Callable[[Process, list[float]], Coroutine[Any, Any, None]]


async def every_second(process: Process, times: list[float]) -> None:
    loop = asyncio.get_running_loop()

    async def count() -> None:
        while True:
            await asyncio.sleep(1.0)
            times.append(loop.time())

    async with asyncio.TaskGroup() as group:
        group.create_task(count())


def live(
    program: Program, *acts: tuple[float, Callable[[Process], None]], until_s: float = 10.0
) -> tuple[list[float], Process]:
    """Times that the program noted, with `acts` done to its process at their instants."""
    loop = VirtualLoop()
    install(loop)
    times: list[float] = []
    process = Process(loop, "p")

    async def main() -> None:
        task = process.start(program(process, times))
        for at_s, act in acts:
            loop.call_at(at_s, act, process)
        await asyncio.wait([task], timeout=until_s)
        if not task.done():
            task.cancel()
        await ended(task)

    run_virtual(main(), loop)
    return times, process


def test_a_killed_process_does_nothing_any_more():
    times, process = live(every_second, (3.5, Process.kill))
    assert times == pytest.approx([1.0, 2.0, 3.0])
    assert not process.tasks


def test_a_stopped_process_stands_still_and_is_late_afterwards():
    times, _ = live(every_second, (2.5, Process.stop), (6.2, Process.resume), until_s=8.5)
    assert times == pytest.approx([1.0, 2.0, 6.2, 7.2, 8.2])


def test_a_timeout_that_runs_out_while_it_is_stopped_is_noticed_afterwards():
    async def program(process: Process, times: list[float]) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3.0):
                await asyncio.sleep(100.0)
        times.append(asyncio.get_running_loop().time())

    times, _ = live(program, (1.0, Process.stop), (7.0, Process.resume))
    assert times == pytest.approx([7.0])


def test_cleaning_up_has_no_effect_in_a_killed_process():
    effects: list[str] = []

    async def program(process: Process, times: list[float]) -> None:
        try:
            await asyncio.sleep(100.0)
        finally:
            process.touch("release")
            effects.append("released")

    live(program, (1.0, Process.kill))
    assert effects == []


def test_a_process_dies_at_the_step_that_was_chosen():
    async def program(process: Process, times: list[float]) -> None:
        process.kill_at_step = process.steps + 3
        await every_second(process, times)

    times, process = live(program)
    assert len(times) < 3
    assert not process.alive


def test_a_port_call_kills_before_its_effect():
    async def program(process: Process, times: list[float]) -> None:
        process.touch("before the effect")
        times.append(1.0)

    loop = VirtualLoop()
    install(loop)
    process = Process(loop, "p", lambda process, what: process.kill())
    times: list[float] = []

    async def main() -> BaseException | None:
        return await ended(process.start(program(process, times)))

    assert isinstance(run_virtual(main(), loop), Killed | asyncio.CancelledError)
    assert times == []
