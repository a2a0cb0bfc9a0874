"""Processes that live and end together: the first end ends all, signals are passed on, late ones are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudrun.bot.supervisor import supervise

REPOSITORY = Path(__file__).resolve().parents[3]
SLEEPER = "import time; time.sleep(60)"
OBSTINATE = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
ORDERLY = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); time.sleep(60)"


def program(code: str) -> list[str]:
    return ["-c", code]


@pytest.mark.parametrize(("code", "expected"), [("import sys; sys.exit(3)", 3), ("pass", 0)])
async def test_the_first_that_ends_ends_all_with_its_code(code: str, expected: int) -> None:
    said: list[str] = []
    assert await supervise({"short": program(code), "long": program(SLEEPER)}, said.append) == expected
    assert said == [f"short has ended with {expected}; the others are ended too"]


async def test_one_that_is_killed_is_told_by_its_code() -> None:
    said: list[str] = []
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert await supervise({"killed": program(killed), "long": program(SLEEPER)}, said.append) == 128 + signal.SIGKILL


async def test_sigterm_is_passed_on() -> None:
    asyncio.get_running_loop().call_later(1.5, os.kill, os.getpid(), signal.SIGTERM)
    assert await supervise({"one": program(ORDERLY), "two": program(ORDERLY)}, print) == 0


async def test_one_that_does_not_end_is_killed() -> None:
    said: list[str] = []
    began_s = time.monotonic()
    await supervise({"short": program("import time; time.sleep(1)"), "long": program(OBSTINATE)}, said.append, grace_s=0.5)
    assert time.monotonic() - began_s < 10
    assert "long did not end within 0.5 s and is killed" in said


def test_children_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    child = (
        "import os, time; from cloudrun.bot.supervisor import end_with_parent; end_with_parent(); "
        f"open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    )
    call = f"asyncio.run(supervise({{'c': ['-c', {child!r}]}}, print))"
    parent = f"import asyncio; from cloudrun.bot.supervisor import supervise; {call}"
    process = subprocess.Popen([sys.executable, "-c", parent], cwd=REPOSITORY)
    _until(lambda: note.exists() and note.read_text() != "")
    process.kill()
    process.wait()
    number = int(note.read_text())
    _until(lambda: not _lives(number))


def _until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False
