"""Which bar is to be stepped, and when: as soon as every symbol's bar is there, or when patience is over.

Bars are stepped in order and each is finished once. A bar of which nothing can be had yet is asked for again after a growing
pause; one that some symbols lacked is stepped again when theirs come, until the next one is stepped: what is too old to trade
by then is recorded. Times are ms UTC.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.interval import Interval

LONGEST_PAUSE_MS = 30_000


@dataclass(slots=True)
class BarQueue:
    """The progress through the bars of one interval."""

    interval: Interval
    patience_ms: int
    done_ms: int
    """close of the newest bar that was stepped"""
    undecided: frozenset[str] = frozenset()
    """symbols that the newest stepped bar has no decision for"""
    _retry_ms: int = 0
    _repeat_ms: int = 0
    _pause_ms: int = 0

    def next_due(self, now_ms: int) -> int | None:
        """Close of the next bar that should be stepped by now, whether or not its messages came; `None` where none is."""
        following = self.done_ms + self.interval.ms
        if following + self.patience_ms <= now_ms and not _is_pause(self._retry_ms, now_ms):
            return following
        return None

    def is_next(self, bar_close_ms: int) -> bool:
        """Whether `bar_close_ms` is the bar after the last one."""
        return bar_close_ms == self.done_ms + self.interval.ms

    @property
    def is_patient(self) -> bool:
        """Whether the pause between two questions still grows."""
        return self._pause_ms < LONGEST_PAUSE_MS

    def came_late(self, symbol: str, bar_close_ms: int) -> bool:
        """A bar of the stepped instant came after the step; whether it is one that was lacking."""
        return bar_close_ms == self.done_ms and symbol in self.undecided

    def to_repeat(self, now_ms: int) -> int | None:
        """The stepped bar again, while some symbols lack a decision and the pause is over; never in the way of the next bar."""
        paused = _is_pause(max(self._retry_ms, self._repeat_ms), now_ms)
        closing = now_ms + self.patience_ms > self.done_ms + self.interval.ms
        return None if paused or closing or not self.undecided else self.done_ms

    def finished(self, bar_close_ms: int, undecided: frozenset[str], now_ms: int) -> None:
        """A bar was stepped; `undecided` symbols are tried again after a growing pause."""
        if bar_close_ms != self.done_ms or not undecided:
            self._pause_ms = 0
        self.done_ms, self.undecided = max(self.done_ms, bar_close_ms), undecided
        self._retry_ms = 0
        self._repeat_ms = self._later_ms(now_ms) if undecided else 0

    def postpone(self, now_ms: int) -> None:
        """Nothing could be had: try again after a pause that doubles, up to half a minute."""
        self._retry_ms = self._later_ms(now_ms)

    def _later_ms(self, now_ms: int) -> int:
        self._pause_ms = min(LONGEST_PAUSE_MS, max(self.patience_ms, 2 * self._pause_ms))
        return now_ms + self._pause_ms


def _is_pause(until_ms: int, now_ms: int) -> bool:
    """Whether it lasts. One longer than any that is made was begun by a clock that has been set back since: it is over."""
    return now_ms < until_ms <= now_ms + LONGEST_PAUSE_MS
