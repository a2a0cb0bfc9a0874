"""Several processes that live and end together.

The first one that ends, ends all; its exit code is the service's. SIGTERM and Ctrl-C are passed on, and whoever has not ended
after the grace is killed: what a killed trader leaves behind, the next one settles. A child sees its standard input close when
this process dies, whatever killed it, and ends by itself (`end_with_parent`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence

GRACE_S = 10.0
"""What Cloud Run grants after SIGTERM"""
_PARENT_PIPE = "OST_BOT_PARENT_PIPE"


async def supervise(commands: Mapping[str, Sequence[str]], say: Callable[[str], None], grace_s: float = GRACE_S) -> int:
    """Run `commands` (arguments of this Python, by name) until the first one ends; its exit code, 128 + n for signal n."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    children = {name: await _start(arguments) for name, arguments in commands.items()}
    waiting = {asyncio.create_task(child.wait(), name=name): child for name, child in children.items()}
    stop = asyncio.create_task(told.wait(), name="stop")
    done, _ = await asyncio.wait({stop, *waiting}, return_when=asyncio.FIRST_COMPLETED)
    first = next((task for task in waiting if task in done), None)
    if first is not None:
        say(f"{first.get_name()} has ended with {_code(waiting[first])}; the others are ended too")
    for child in children.values():
        _signal(child, signal.SIGTERM)
    _, late = await asyncio.wait(waiting, timeout=grace_s)
    for task in late:
        say(f"{task.get_name()} did not end within {grace_s:g} s and is killed")
        _signal(waiting[task], signal.SIGKILL)
    await asyncio.wait(waiting)
    stop.cancel()
    codes = [_code(waiting[first])] if first is not None else [_code(child) for child in children.values()]
    return next((code for code in codes if code), 0)


def end_with_parent(end: Callable[[], None] | None = None) -> None:
    """In a child: call `end` (default: SIGTERM to this process) once the process that started it is gone."""
    if os.environ.pop(_PARENT_PIPE, "") != "1":
        return

    def watch() -> None:
        while os.read(0, 4096):
            continue
        (end or _terminate)()

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


async def _start(arguments: Sequence[str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        env={**os.environ, _PARENT_PIPE: "1"},
        start_new_session=True,  # Ctrl-C reaches this process, which passes it on as an orderly end
    )


def _signal(child: asyncio.subprocess.Process, number: int) -> None:
    if child.returncode is None:
        child.send_signal(number)


def _code(child: asyncio.subprocess.Process) -> int:
    code = child.returncode or 0
    return 128 - code if code < 0 else code
