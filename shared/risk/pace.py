"""How many orders went out lately: what a loop that has gone wild is stopped by."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from shared.domain.interval import DAY_MS, MINUTE_MS


class OrderPace:
    """Instants of the orders of the last 24 hours, oldest first."""

    def __init__(self, sent_ms: Iterable[int] = ()) -> None:
        """`sent_ms` are those of earlier processes."""
        self._sent_ms = deque(sorted(sent_ms))

    def sent(self, now_ms: int) -> None:
        """One more order."""
        self._sent_ms.append(now_ms)

    def not_sent(self, sent_ms: int) -> None:
        """The order of that instant never reached the venue: it is none, however often it is tried."""
        if sent_ms in self._sent_ms:
            self._sent_ms.remove(sent_ms)

    def recent(self, now_ms: int) -> tuple[int, int]:
        """Orders within the last minute and within the last 24 hours."""
        while self._sent_ms and self._sent_ms[0] <= now_ms - DAY_MS:
            self._sent_ms.popleft()
        within = 0
        for sent_ms in reversed(self._sent_ms):
            if sent_ms <= now_ms - MINUTE_MS:
                break
            within += 1
        return within, len(self._sent_ms)
