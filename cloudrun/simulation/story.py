"""What happened in a run, line by line, and its fingerprint: the same seed tells the same story."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable

KEPT_LINES = 60


class Story:
    """Lines with their simulated time. All of them enter the fingerprint; the newest ones are kept."""

    def __init__(self, now_s: Callable[[], float], show: Callable[[str], None] | None = None) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.violations: list[str] = []
        self._now_s = now_s
        self._show = show
        self._digest = hashlib.sha256()

    def tell(self, text: str) -> None:
        """One more line."""
        line = f"{self._now_s():10.3f}  {text}"
        self._digest.update(line.encode())
        self.lines.append(line)
        if self._show is not None:
            self._show(line)

    def violate(self, text: str) -> None:
        """An invariant does not hold. The same words are told once."""
        if text not in self.violations:
            self.violations.append(text)
            self.tell(f"VIOLATION: {text}")

    @property
    def fingerprint(self) -> str:
        """Of everything that was told so far."""
        return self._digest.hexdigest()[:16]
