"""Which bar is to be stepped, and when: as soon as every symbol's bar is there, or when patience is over.

Bars are stepped in order and each is finished once. A bar of which nothing can be had yet is asked for again after a growing
pause; one that some symbols lacked is stepped again when theirs come, as long as it is fresh. Times are ms UTC.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.interval import Interval


@dataclass(slots=True)
class BarQueue:
    """The progress through the bars of one interval."""

    interval: Interval
    patience_ms: int
    max_age_ms: int
    """age beyond which a bar is not stepped again for late symbols"""
    done_ms: int
    """close of the newest bar that was stepped"""
    undecided: frozenset[str] = frozenset()
    """symbols that the newest stepped bar has no decision for"""
    _retry_ms: int = 0
    _pause_ms: int = 0

    def next_due(self, now_ms: int) -> int | None:
        """Close of the next bar that should be stepped by now, whether or not its messages came; `None` where none is."""
        following = self.done_ms + self.interval.ms
        if following + self.patience_ms <= now_ms and now_ms >= self._retry_ms:
            return following
        return None

    def is_next(self, bar_close_ms: int) -> bool:
        """Whether `bar_close_ms` is the bar after the last one."""
        return bar_close_ms == self.done_ms + self.interval.ms

    def came_late(self, symbol: str, bar_close_ms: int, now_ms: int) -> bool:
        """A bar of the stepped instant came after the step; whether it is worth stepping again."""
        fresh = now_ms - bar_close_ms <= self.max_age_ms
        return bar_close_ms == self.done_ms and symbol in self.undecided and fresh

    def to_repeat(self, now_ms: int) -> int | None:
        """The stepped bar again, while some symbols lack a decision, it is fresh and the pause is over."""
        if not self.undecided or now_ms - self.done_ms > self.max_age_ms or now_ms < self._retry_ms:
            return None
        return self.done_ms

    def finished(self, bar_close_ms: int, undecided: frozenset[str], now_ms: int) -> None:
        """A bar was stepped; `undecided` symbols are tried again after a growing pause."""
        if bar_close_ms != self.done_ms or not undecided:
            self._pause_ms = 0
        self.done_ms, self.undecided = max(self.done_ms, bar_close_ms), undecided
        self._retry_ms = 0
        if undecided:
            self.postpone(now_ms)

    def postpone(self, now_ms: int) -> None:
        """Nothing could be had: try again after a pause that doubles, up to half a minute."""
        self._pause_ms = min(30_000, max(self.patience_ms, 2 * self._pause_ms))
        self._retry_ms = now_ms + self._pause_ms
