"""A ledger that does not answer is asked by one thread, and not by those that have something better to do.

The trader's loop waits for the ledger in its own thread: each question to a server that is silent costs it a time-out, in which
nothing is protected. So the first failure opens the breaker: from then on every call raises `LedgerUnavailable` at once, while
a thread beside it asks the server, at once and then with growing pauses. Its first answer closes the breaker. A ledger whose
answers take up most of the trader's time is as good as away: it is left alone for so long that what is bare is closed without
it, and then until it is quick again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.domain.errors import LedgerUnavailable

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0
SLOW_CALL_S = 0.25
"""A call that takes longer is slow. A quick one is none of it: many of them are no trouble"""
WINDOW_S = 5.0
MOST_S = 2.5
"""of a window that slow calls may take"""
QUICK_PROBE_S = 1.0
"""What a probe may take, with its new connection, that ends the absence"""
REST_S = 15.0
"""How long a slow ledger is left alone at least: longer than a position may be without its stop (`stop_deadline_s`)"""


class Slowness:
    """How much of the last seconds slow calls have taken."""

    def __init__(self) -> None:
        self._calls: deque[tuple[float, float]] = deque()
        """(end, duration) of each slow one, seconds"""

    def is_too_much(self, began_s: float, ended_s: float) -> bool:
        """Count a call; whether too much of the time has gone into slow ones. The count then starts again."""
        if ended_s - began_s <= SLOW_CALL_S:
            return False
        self._calls.append((ended_s, ended_s - began_s))
        while self._calls[0][0] < ended_s - WINDOW_S:
            self._calls.popleft()
        if sum(duration_s for _, duration_s in self._calls) <= MOST_S:
            return False
        self._calls.clear()
        return True


class Breaker:
    """Between one process and one ledger. `probe` asks the ledger once and raises `LedgerUnavailable`; safe for threads."""

    def __init__(
        self,
        probe: Callable[[], None],
        is_away: Callable[[LedgerUnavailable], bool],
        now_s: Callable[[], float] = time.monotonic,
        rest_s: float = REST_S,
    ) -> None:
        self._probe = probe
        self._is_away = is_away
        self._now_s = now_s
        self._rest_s = rest_s
        self._slowness = Slowness()
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._closed = threading.Event()

    @contextmanager
    def passing(self) -> Iterator[None]:
        """A call through the breaker. Raises `LedgerUnavailable` at once while the ledger is away."""
        reason = self._reason
        if reason is not None:
            raise LedgerUnavailable(f"{reason} (it is asked again in the background)")
        began_s = self._now_s()
        try:
            yield
        except LedgerUnavailable as error:
            if self._is_away(error):
                self._open(str(error))
            raise
        finally:
            self._count(began_s)

    def _count(self, began_s: float) -> None:
        with self._lock:
            is_too_slow = self._slowness.is_too_much(began_s, self._now_s())
        if is_too_slow:
            self._open(f"the ledger is too slow: its answers took more than {MOST_S:g} of {WINDOW_S:g} s", self._rest_s)

    def close(self) -> None:
        """End the thread, if there is one."""
        self._closed.set()

    def _open(self, reason: str, rest_s: float = 0.0) -> None:
        with self._lock:
            if self._reason is not None or self._closed.is_set():
                return
            self._reason = reason
        threading.Thread(target=self._ask, args=(rest_s,), name="ledger-probe", daemon=True).start()

    def _ask(self, rest_s: float) -> None:
        pause_s = FIRST_PAUSE_S
        try:
            if rest_s:
                self._closed.wait(rest_s)
            while not self._answers() and not self._closed.wait(pause_s):
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        finally:  # whatever else it is that the probe meets: the next call meets it too, and tells it
            with self._lock:
                self._reason = None

    def _answers(self) -> bool:
        began_s = self._now_s()
        try:
            self._probe()
        except LedgerUnavailable as error:
            return not self._is_away(error)  # an answer, if not a kind one: the next call tells it
        return self._now_s() - began_s <= QUICK_PROBE_S
