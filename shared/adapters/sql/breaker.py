"""A ledger that does not answer is asked by one thread, and not by those that have something better to do.

The trader's loop waits for the ledger in its own thread: each question to a server that is silent costs it a time-out, in which
nothing is protected. So the first failure opens the breaker: from then on every call raises `LedgerUnavailable` at once, while
a thread beside it asks the server, at once and then with growing pauses. Its first answer closes the breaker.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.domain.errors import LedgerUnavailable

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0


class Breaker:
    """Between one process and one ledger. `probe` asks the ledger once and raises `LedgerUnavailable`; safe for threads."""

    def __init__(self, probe: Callable[[], None], is_away: Callable[[LedgerUnavailable], bool]) -> None:
        self._probe = probe
        self._is_away = is_away
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._closed = threading.Event()

    @contextmanager
    def passing(self) -> Iterator[None]:
        """A call through the breaker. Raises `LedgerUnavailable` at once while the ledger is away."""
        reason = self._reason
        if reason is not None:
            raise LedgerUnavailable(f"{reason} (it is asked again in the background)")
        try:
            yield
        except LedgerUnavailable as error:
            if self._is_away(error):
                self._open(str(error))
            raise

    def close(self) -> None:
        """End the thread, if there is one."""
        self._closed.set()

    def _open(self, reason: str) -> None:
        with self._lock:
            if self._reason is not None or self._closed.is_set():
                return
            self._reason = reason
        threading.Thread(target=self._ask, name="ledger-probe", daemon=True).start()

    def _ask(self) -> None:
        pause_s = FIRST_PAUSE_S
        try:
            while not self._answers() and not self._closed.wait(pause_s):
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        finally:  # whatever else it is that the probe meets: the next call meets it too, and tells it
            with self._lock:
                self._reason = None

    def _answers(self) -> bool:
        try:
            self._probe()
        except LedgerUnavailable as error:
            return not self._is_away(error)  # an answer, if not a kind one: the next call tells it
        return True
