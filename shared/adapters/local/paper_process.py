"""The paper exchange as a child process, and its clock.

In lockstep the exchange's time stands still until it is told to move; the trading loop advances it from bar close to bar
close, so that a run is as fast as the machine allows and two runs over the same candles are equal. The child ends when its
standard input closes, thus also when this process is killed; its journal brings the account back.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

from shared.adapters.local.paper_control import PaperControl
from shared.domain.errors import StorageError, VenueUnreachable
from shared.domain.interval import format_ms

START_TIMEOUT_S = 60.0
T = TypeVar("T")


class PaperExchangeProcess:
    """A running paper exchange; use `start`, then `close`."""

    def __init__(self, process: asyncio.subprocess.Process, base_url: str, key: str, secret: str, log: Path) -> None:
        self.base_url = base_url
        self._process = process
        self._log = log
        self._control = PaperControl(base_url, key, secret)

    @classmethod
    async def start(cls, arguments: list[str], *, key: str, secret: str, log: Path) -> Self:
        """Start `python -m cloudrun.exchange` with `arguments` and wait until it is ready.

        Its messages go to the file `log`, whose folder exists. Raises `StorageError` with the last of them where it ends early.
        """
        environment = {**os.environ, "OST_PAPER_KEY": key, "OST_PAPER_SECRET": secret}
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "cloudrun.exchange",
                "--exit-with-parent",
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the trading loop: it stops the exchange when its step is done
            )
        if process.stdout is None:
            raise StorageError("the paper exchange was started without an output to read")
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                async for line in process.stdout:
                    words = line.decode().split()
                    if words[:1] == ["ready"]:
                        return cls(process, words[1], key, secret, log)
        except TimeoutError:
            process.kill()
        await process.wait()
        raise StorageError(f"the paper exchange did not start: {_last_line(log)} (all of it in {log})")

    async def while_alive(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which is cut off where the exchange ends; raises `VenueUnreachable` then.

        Asking a dead process again and again would freeze symbols for a person to look at, where starting again settles all.
        """
        task = asyncio.ensure_future(work)
        death = asyncio.ensure_future(self._process.wait())
        try:
            await asyncio.wait({task, death}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
        finally:
            for unfinished in (task, death):
                unfinished.cancel()
            await asyncio.wait({task, death})
        raise VenueUnreachable(
            f"the paper exchange has ended ({_last_line(self._log)}); go on with the same command (its log: {self._log})"
        )

    async def advance(self, to_ms: int) -> None:
        """Move simulated time forward to `to_ms`, through every bar, funding stamp and stop on the way."""
        await self._control.advance(to_ms)

    async def state(self) -> dict[str, Any]:
        """The exchange's own account of itself, `now_ms` among it."""
        return await self._control.state()

    async def close(self) -> None:
        """End the process and wait for it."""
        await self._control.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("error: ") if lines else "no message"


class LockstepClock:
    """The clock of a run in lockstep: simulated time stands at `time_ms`, waiting takes real time."""

    def __init__(self, time_ms: int) -> None:
        self.time_ms = time_ms

    def __repr__(self) -> str:
        return f"LockstepClock({format_ms(self.time_ms)})"

    def now_ms(self) -> int:
        """Simulated time, ms UTC."""
        return self.time_ms

    async def sleep(self, seconds: float) -> None:
        """Wait in real time: what is waited for (a request under way, a limit) is real too."""
        await asyncio.sleep(seconds)
