"""The command journal: what makes a kill at any moment harmless.

One JSON line per state-changing command, handed to the operating system *before* the command is applied and answered. On
start the lines are executed again; as the engine is deterministic, the account is the one that was answered for. A last
line that was cut off in the middle belongs to a command that nobody got an answer for, and is removed. The first line is a
header with the market's and the configuration's fingerprint: another market would replay into another account and is refused.
The journal survives the death of the process, not of the machine (no fsync; a paper account does not need one).
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from cloudrun.exchange.engine import Engine
from cloudrun.exchange.refusal import Refusal
from shared.domain.errors import ConfigError, MalformedData, StorageError

FORMAT = 1
LOCK_ATTEMPTS = 100
LOCK_PAUSE_S = 0.1


class Journal:
    """An open journal. Use `open_journal`."""

    def __init__(self, file: BinaryIO, path: Path, note: str | None, replayed: int) -> None:
        self._file = file
        self._path = path
        self.note = note
        """what was found wrong and repaired, for a person"""
        self.replayed = replayed
        """commands that were executed again"""

    def append(self, command: str, params: dict[str, str]) -> None:
        """Write a command down. Raises `StorageError` where the disk refuses; the command must then not be applied."""
        try:
            self._file.write(json.dumps([command, params], separators=(",", ":")).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise StorageError(f"cannot write the journal {self._path}: {error.strerror}; free space and restart") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def open_journal(path: Path, engine: Engine) -> Journal:
    """Open or create the journal at `path` and bring `engine` to where it ended.

    Raises `ConfigError` where it belongs to another market or configuration, `MalformedData` where a line in the middle
    cannot be read, and `StorageError` where the disk refuses.
    """
    header = {"format": FORMAT, "market": engine.core.market.fingerprint, "config": engine.config.as_json()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
        _lock(file, path)
        file.seek(0)
        content = file.read()
        whole = content.rfind(b"\n") + 1
        note = None
        if whole < len(content):
            file.truncate(whole)
            note = f"{path}: cut off an incomplete last line of {len(content) - whole} bytes; nobody got an answer for it"
        if whole == 0:
            file.write(json.dumps(header, separators=(",", ":")).encode() + b"\n")
            file.flush()
    except OSError as error:
        raise StorageError(f"cannot open the journal {path}: {error.strerror}; check the path and the disk") from error
    replayed = 0
    if whole:
        lines = content[:whole].splitlines()
        _check_header(path, lines[0], json.loads(json.dumps(header)))
        replayed = _replay(path, engine, lines)
    return Journal(file, path, note, replayed)


def _check_header(path: Path, line: bytes, expected: dict[str, Any]) -> None:
    try:
        found = json.loads(line)
    except ValueError:
        raise MalformedData(f"{path} is no journal of the paper exchange; give another file with --journal") from None
    if found == expected:
        return
    wrong = [name for name in expected if not isinstance(found, dict) or found.get(name) != expected[name]]
    raise ConfigError(
        f"the journal {path} belongs to another account (different {' and '.join(wrong)}); "
        "start with the same candles and settings, or give another file with --journal"
    )


def _replay(path: Path, engine: Engine, lines: list[bytes]) -> int:
    for number, command, params in _commands(path, lines):
        if not engine.knows(command):
            raise MalformedData(f"{path}, line {number}: unknown command {command!r}; it was written by another version")
        # A refusal is repeated as it happened: it was answered and changed nothing.
        with suppress(Refusal):
            engine.execute(command, params)
        engine.core.events.clear()
    return len(lines) - 1


def _lock(file: BinaryIO, path: Path) -> None:
    """Take the journal for this process alone; a predecessor that is just ending gets a moment to do so."""
    for _ in range(LOCK_ATTEMPTS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_S)
        else:
            return
    raise StorageError(f"the journal {path} is in use by another paper exchange; end that one or give another --journal")


def _commands(path: Path, lines: list[bytes]) -> Iterator[tuple[int, str, dict[str, str]]]:
    for number, line in enumerate(lines[1:], start=2):
        try:
            command, params = json.loads(line)
        except (ValueError, TypeError):
            raise MalformedData(f"{path}, line {number} cannot be read; restore the file or start a new account") from None
        yield number, command, params
