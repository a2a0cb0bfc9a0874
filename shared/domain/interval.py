"""Candle intervals and the arithmetic of their UTC grid.

All instants in the core are integers: milliseconds since 1970-01-01 UTC (suffix `_ms`), as exchanges send them.
A bar covers [open, open + interval); it is *closed* at `open + interval`. Weekly bars open on Monday 00:00 UTC,
as on Binance; every other interval is aligned with the epoch.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

from shared.domain.errors import UsageError

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS
YEAR_MS = 365 * DAY_MS

FIRST_YEAR, LAST_YEAR = 1970, 2200
"""Years that a date may name."""
MAX_DAYS = 36_500
"""Days that a period may be long."""

# 1970-01-01 was a Thursday: the first Monday is four days later.
_MONDAY_OFFSET_MS = 4 * DAY_MS


class Interval(StrEnum):
    """A candle interval; its value is the spelling that exchanges use."""

    M1 = "1m"
    M15 = "15m"
    M30 = "30m"
    H1 = "1h"
    H4 = "4h"
    D1 = "1d"
    W1 = "1w"

    @classmethod
    def parse(cls, text: str) -> Interval:
        """The interval spelled `text`. Raises `UsageError` naming the known ones."""
        try:
            return cls(text)
        except ValueError:
            known = " ".join(interval.value for interval in cls)
            raise UsageError(f"unknown interval {text!r}; known intervals: {known}") from None

    @property
    def ms(self) -> int:
        """Length in milliseconds."""
        return _LENGTH_MS[self]

    @property
    def bars_per_day(self) -> float:
        """Bars in 24 hours (1/7 for weekly bars)."""
        return DAY_MS / self.ms

    @property
    def bars_per_year(self) -> float:
        """Bars in 365 days: crypto trades on every one of them."""
        return YEAR_MS / self.ms

    def floor(self, time_ms: int) -> int:
        """Open time of the bar that contains `time_ms`."""
        offset = _MONDAY_OFFSET_MS if self is Interval.W1 else 0
        return (time_ms - offset) // self.ms * self.ms + offset

    def ceil(self, time_ms: int) -> int:
        """First open time at or after `time_ms`."""
        floor = self.floor(time_ms)
        return floor if floor == time_ms else floor + self.ms

    def is_open_time(self, time_ms: int) -> bool:
        """Whether a bar of this interval opens at `time_ms`."""
        return self.floor(time_ms) == time_ms

    def last_closed_open_ms(self, now_ms: int) -> int:
        """Open time of the newest bar that is closed at `now_ms`."""
        return self.floor(now_ms) - self.ms


_LENGTH_MS = {
    Interval.M1: MINUTE_MS,
    Interval.M15: 15 * MINUTE_MS,
    Interval.M30: 30 * MINUTE_MS,
    Interval.H1: HOUR_MS,
    Interval.H4: 4 * HOUR_MS,
    Interval.D1: DAY_MS,
    Interval.W1: WEEK_MS,
}

STORED_INTERVALS = (Interval.M15, Interval.M30, Interval.H1, Interval.H4, Interval.D1, Interval.W1)
"""The intervals that the lake keeps; 1m exists for live charts and for tests."""


def parse_date_ms(text: str) -> int:
    """Midnight UTC of `YYYY-MM-DD`, or the instant of an ISO time (UTC where it names no zone).

    Raises `UsageError` for anything else, and for years before 1970 or after 2200: a mistyped year is no instant of a market.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"cannot read the date {text!r}; write YYYY-MM-DD, e.g. 2025-07-01") from None
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise UsageError(f"the date {text!r} lies outside the years {FIRST_YEAR} to {LAST_YEAR}; check the year")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def format_ms(time_ms: int) -> str:
    """`2025-07-01 14:00` in UTC; with seconds where they are not zero."""
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%d %H:%M" if moment.second == 0 else "%Y-%m-%d %H:%M:%S")
