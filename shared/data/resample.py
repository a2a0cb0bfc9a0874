"""Coarser candles from finer ones, as the exchange builds them.

A coarse bar is made of the fine bars that exist inside it (an outage inside a bar is a fact and leaves a bar), but the first
and the last one must be covered to their edges: half a bar at the end of the data is an open bar, and there are none here.
"""

from __future__ import annotations

import numpy as np

from shared.domain.candles import Candles
from shared.domain.errors import UsageError
from shared.domain.interval import Interval


def divides(finer: Interval, coarser: Interval) -> bool:
    """Whether bars of `coarser` are made of whole bars of `finer`, and more than one of them."""
    return finer.ms < coarser.ms and coarser.ms % finer.ms == 0


def resample(candles: Candles, interval: Interval) -> Candles:
    """`candles` at the coarser `interval`. Raises `UsageError` where the candles' interval does not divide it."""
    if interval is candles.interval:
        return candles
    if not divides(candles.interval, interval):
        raise UsageError(f"{candles.interval} bars cannot be joined to {interval} bars")
    if len(candles) == 0:
        return Candles.empty(interval)
    start = interval.ceil(int(candles.open_time[0]))
    end = interval.floor(int(candles.close_time[-1]))
    inside = candles.between(start, end)
    if len(inside) == 0:
        return Candles.empty(interval)
    offset = interval.floor(0)
    buckets = (inside.open_time - offset) // interval.ms
    first = np.flatnonzero(np.diff(buckets, prepend=buckets[0] - 1))
    last = np.append(first[1:], len(inside)) - 1
    return Candles(
        interval,
        buckets[first] * interval.ms + offset,
        inside.open[first],
        np.maximum.reduceat(inside.high, first),
        np.minimum.reduceat(inside.low, first),
        inside.close[last],
        np.add.reduceat(inside.volume, first),
    )
