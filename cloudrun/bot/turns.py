"""Who trades the book in this process: one request at a time, and nobody twice for the same bar.

In schedule mode a bar is announced more than once: by the scheduler, and by an event for each asset. Who asks for a bar that is
done or at work has nothing to do and no reason to come again; who asks for something else waits a moment for its turn.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

WAIT_S = 20.0
"""A look between bars is over by then, and most steps; shorter than any caller's patience"""


class Busy(Exception):
    """Another request has the turn, and not for what was asked for."""


@dataclass
class Turn:
    """What a request may do. `done` is the report of the bar that was asked for, where it is there already."""

    is_mine: bool
    done: dict[str, Any] | None = None
    report: dict[str, Any] | None = None
    """to be set by whoever has done a whole step"""


class Turns:
    """The turns of one book."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_taken = False
        self._stepping_ms: int | None = None
        """the bar that is known to be at work: the one at work is this or a newer one"""
        self._report: dict[str, Any] | None = None

    @contextmanager
    def step(self, announced_ms: int | None) -> Iterator[Turn]:
        """The turn for the newest bar. `announced_ms` is the close of a bar that an event tells of, `None` where none does.

        It is not ours where that bar is at work or done. Raises `Busy` after `WAIT_S`.
        """
        until_s = time.monotonic() + WAIT_S
        with self._changed:
            while True:
                if announced_ms is not None and self._report is not None and self._report["bar_close_ms"] >= announced_ms:
                    turn = Turn(False, self._report)
                elif announced_ms is not None and self._stepping_ms is not None and self._stepping_ms >= announced_ms:
                    turn = Turn(False)
                elif not self._is_taken:
                    turn = Turn(True)
                    self._is_taken, self._stepping_ms = True, announced_ms
                elif self._changed.wait(until_s - time.monotonic()):
                    continue
                else:
                    raise Busy
                break
        try:
            yield turn
        finally:
            if turn.is_mine:
                self._end(turn.report)

    @contextmanager
    def tend(self) -> Iterator[bool]:
        """The turn between bars; `False` where a request is at work, which leaves everything at rest itself."""
        with self._changed:
            is_mine = not self._is_taken
            self._is_taken = True
        try:
            yield is_mine
        finally:
            if is_mine:
                self._end(None)

    def _end(self, report: dict[str, Any] | None) -> None:
        with self._changed:
            self._is_taken, self._stepping_ms = False, None
            self._report = report or self._report
            self._changed.notify_all()
