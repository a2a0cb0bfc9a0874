"""A recording laid around the present: a market that has a history, is open now, and never ends.

The whole weeks of a recording are played forwards, then backwards, and so on from 1970 into the future: prices go on without a
jump, weekdays and funding stamps stay where they are. Which bar belongs to which instant depends on the recording of its symbol
alone, not on when somebody started, so every start shows the same market, and so does a lake that was filled from it.
"""

from __future__ import annotations

import numpy as np

from cloudrun.exchange.market import FundingHistory
from shared.domain.candles import Candles, FloatArray, IntArray
from shared.domain.errors import UsageError
from shared.domain.interval import DAY_MS, WEEK_MS, Interval, format_ms

BEFORE_MS, AFTER_MS = 400 * DAY_MS, 400 * DAY_MS
"""History that is there at least, and how long a process may run."""

LENGTH_MS = 104 * WEEK_MS
"""Of a longer recording its last weeks are played: five symbols of 15m bars then fit into 1 GiB."""

_WEEK = Interval.W1


def around_present(candles: Candles, funding: FundingHistory, now_ms: int) -> tuple[Candles, FundingHistory]:
    """Candles and funding from before `now_ms - BEFORE_MS` to `now_ms + AFTER_MS`, out of those of one symbol.

    They begin where the recording does, so that what depends on the first price does not change from start to start.
    Raises `UsageError` where the recording holds no whole week.
    """
    if len(candles) == 0:
        return candles, funding
    begin = _WEEK.ceil(int(candles.open_time[0]))
    end = _WEEK.floor(int(candles.open_time[-1]) + candles.interval.ms)
    begin = max(begin, end - LENGTH_MS)
    length = end - begin
    if length <= 0:
        span = f"{format_ms(int(candles.open_time[0]))} to {format_ms(int(candles.open_time[-1]))}"
        raise UsageError(f"the recording {span} holds no whole week from Monday to Monday; give a longer one")
    bars = candles[slice(*np.searchsorted(candles.open_time, [begin, begin + length]))]
    starts = _starts(length, now_ms)
    offsets = bars.open_time - begin
    back = length - offsets[::-1] - candles.interval.ms
    columns = [
        _both_ways(offsets, back, starts, length),
        *(np.tile(np.concatenate([ahead, behind[::-1]]), len(starts)) for ahead, behind in _sides(bars)),
    ]
    made = Candles(candles.interval, *columns)
    return made[: int(np.searchsorted(made.open_time, now_ms + AFTER_MS))], _funding(funding, begin, length, starts)


def _starts(length: int, now_ms: int) -> IntArray:
    """Where the recording begins forwards, for each of its runs there and back that are needed."""
    monday, both = _WEEK.ceil(0), 2 * length
    first, last = (now_ms - BEFORE_MS - monday) // both, (now_ms + AFTER_MS - monday) // both
    return monday + np.arange(first, last + 1, dtype=np.int64) * both


def _both_ways(ahead: IntArray, back: IntArray, starts: IntArray, length: int) -> IntArray:
    """Times of offsets that are run through there and back from each start."""
    once = np.concatenate([ahead, length + back])
    times: IntArray = (starts[:, None] + once[None, :]).ravel()
    return times


def _sides(bars: Candles) -> tuple[tuple[FloatArray, FloatArray], ...]:
    """Each column as it is forwards, and what takes its place backwards: a bar then opens where it had closed."""
    same = (bars.high, bars.high), (bars.low, bars.low)
    return (bars.open, bars.close), *same, (bars.close, bars.open), (bars.volume, bars.volume)


def _funding(funding: FundingHistory, begin: int, length: int, starts: IntArray) -> FundingHistory:
    offsets, rates = funding[0] - begin, funding[1]
    there = (offsets >= 0) & (offsets < length)
    back = (offsets > 0) & (offsets <= length)  # what is paid at the turn is paid once
    times = _both_ways(offsets[there], length - offsets[back][::-1], starts, length)
    return times, np.tile(np.concatenate([rates[there], rates[back][::-1]]), len(starts))
