"""When a schedule of `functions/schedules.yaml` is due: five fields of cron, in UTC, as Cloud Scheduler reads them.

A field is `*`, a number, `a-b`, a list of these with commas, each with a step `/n`. Where both the day of the month and the day
of the week are restricted, either one counts, as in every cron.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from shared.domain.errors import UsageError

MINUTE_MS = 60_000
_LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


@dataclass(frozen=True)
class Cron:
    """The values of each field: minutes, hours, days, months, weekdays (0 is Sunday)."""

    fields: tuple[frozenset[int], ...]
    by_day: bool
    by_weekday: bool

    @classmethod
    def read(cls, text: str) -> Cron:
        """The schedule of five fields. Raises `UsageError`."""
        parts = text.split()
        if len(parts) != len(_LIMITS):
            raise UsageError(f"{text!r} is no schedule; expected minute hour day month weekday, e.g. 2 * * * *")
        fields = [_values(part, *limits) for part, limits in zip(parts, _LIMITS, strict=True)]
        fields[4] = frozenset(day % 7 for day in fields[4])
        return cls(tuple(fields), parts[2] != "*", parts[4] != "*")

    def newest(self, after_ms: int, until_ms: int) -> int | None:
        """The newest instant that is due in (`after_ms`, `until_ms`], ms; `None` where there is none."""
        instant = until_ms // MINUTE_MS * MINUTE_MS
        while instant > after_ms:
            if self._is_due(datetime.fromtimestamp(instant / 1000, UTC)):
                return instant
            instant -= MINUTE_MS
        return None

    def _is_due(self, time: datetime) -> bool:
        minutes, hours, days, months, weekdays = self.fields
        day, weekday = time.day in days, time.isoweekday() % 7 in weekdays
        is_day = day or weekday if self.by_day and self.by_weekday else day and weekday
        return time.minute in minutes and time.hour in hours and time.month in months and is_day


def _values(text: str, least: int, most: int) -> frozenset[int]:
    values: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = (f"{least}-{most}" if span == "*" else span).partition("-")
        if not (first.isdecimal() and (last or first).isdecimal() and (step or "1").isdecimal()):
            raise UsageError(f"{text!r} is no field of a schedule; expected numbers, a-b, lists or *, each with /n or without")
        end = int(last) if last else most if step else int(first)
        if not least <= int(first) <= end <= most or step == "0":
            raise UsageError(f"{text!r} is outside of {least} to {most}")
        values |= set(range(int(first), end + 1, int(step or 1)))
    return frozenset(values)
