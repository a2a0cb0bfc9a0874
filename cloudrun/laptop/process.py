"""A part of the cloud as a process of this computer: started, ready or not, with a log of its own, and ended.

A part runs in a session of its own, so that Ctrl-C reaches this program alone, which ends all parts in order.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from shared.domain.errors import OstError, StorageError

ROOT = Path(__file__).parents[2]
READY_S = 90.0
GRACE_S = 10.0
_LAST_CHARS = 1500


class Interrupted(OstError):
    """It was over before everything was ready."""


@dataclass
class Part:
    """One process, beside its log if no `cwd` is given. `is_ready` is asked until it says yes."""

    name: str
    command: Sequence[str]
    log: Path
    is_ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    is_told: bool = False
    """whether it was told to end"""

    def start(self) -> None:
        """Start it; it is not ready yet."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own parts
                self.command,
                env={**_inherited(), **self.environment},
                cwd=self.cwd or self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, over: threading.Event) -> float:
        """Wait until it is ready; the seconds that it took.

        Raises `StorageError` with the end of its log where it never is, `Interrupted` once `over` is set.
        """
        begin = time.monotonic()
        while not self.is_ready():
            code = self.ended()
            if code is not None or time.monotonic() - begin > READY_S:
                what = f"has ended with {code}" if code is not None else f"was not ready within {READY_S:g} s"
                raise StorageError(f"{self.name} {what}; its log {self.log} ends with:\n{self.log.read_text()[-_LAST_CHARS:]}")
            if over.wait(0.1):
                raise Interrupted(f"{self.name} was not ready yet")
        return time.monotonic() - begin

    def ended(self) -> int | None:
        """Its exit code, or `None` while it runs."""
        return None if self.process is None else self.process.poll()

    def tell(self) -> None:
        """Tell it to end, once; it is not waited for."""
        if self.process is not None and not self.is_told:
            self.is_told = True
            self._signal(self.process, signal.SIGTERM)

    def stop(self) -> None:
        """Tell it to end; after the grace it is killed, with what it has started."""
        if self.process is None:
            return
        self.tell()
        try:
            self.process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._signal(self.process, signal.SIGKILL)
            self.process.wait(GRACE_S)

    @staticmethod
    def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def _inherited() -> dict[str, str]:
    """The environment without settings: those of whoever calls, his buckets and his bus, are none of a laptop's parts."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("OST_")}
    return {**found, "PYTHONPATH": str(ROOT)}


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str, status: int = 200) -> bool:
    """Whether a GET of `url` is answered with `status`."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - loopback
            return int(answer.status) == status
    except urllib.error.HTTPError as error:
        return error.code == status
    except OSError:
        return False
