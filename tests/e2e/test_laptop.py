"""`make up`: the cloud as processes of this computer, from the scheduler to the bot, and an orderly end by Ctrl-C."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST_S = 150.0


@pytest.mark.slow
def test_the_chain_turns_to_a_fill_and_ctrl_c_ends_every_part(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cloudrun.laptop", "--symbols", "BTCUSDT", "--folder", str(tmp_path)]
    up = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watchdog = threading.Timer(LONGEST_S, up.send_signal, [signal.SIGINT])
    watchdog.start()
    wanted = {"ready: bot", "ingest-1h: 204", "regime.classified", r"bot-step-1h: 200 equity \S+, [1-9]\d* fills"}
    seen: list[str] = []
    assert up.stdout is not None
    try:
        for line in up.stdout:
            seen.append(line)
            wanted = {words for words in wanted if not re.search(words, line)}
            if not wanted:
                up.send_signal(signal.SIGINT)
                break
        rest, _ = up.communicate(timeout=60)
    finally:
        watchdog.cancel()
        up.kill()
    assert wanted == set(), "".join(seen)
    assert up.returncode == 0, rest
    (folder,) = tmp_path.glob("up-*")
    assert {path.stem for path in folder.glob("*.log")} >= {"exchange", "ingest", "curate", "classify", "bot"}


@pytest.mark.slow
def test_ctrl_c_while_the_parts_begin_is_heard_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cloudrun.laptop", "--symbols", "BTCUSDT", "--folder", str(tmp_path)]
    up = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watchdog = threading.Timer(LONGEST_S, up.kill)
    watchdog.start()
    seen = ""
    assert up.stdout is not None
    try:
        for line in up.stdout:
            seen += line
            if "ready: exchange" in line:  # the functions and the bot begin now
                break
        up.send_signal(signal.SIGINT)
        rest, _ = up.communicate(timeout=60)
    finally:
        watchdog.cancel()
        up.kill()
    assert up.returncode == 0, seen + rest
    assert "ready: exchange" in seen
    assert "all parts have ended" in rest
    assert "ready: bot" not in rest
    assert [name for name in _command_lines() if str(tmp_path) in name] == []


def _command_lines() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has ended, or is somebody else's
            found.append((path.parent / "cmdline").read_text() + path.read_text())
    return found
