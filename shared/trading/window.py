"""The trailing window of one asset: the closed bars, funding rates and open interest that a decision is made from.

It grows by closed bars only and forgets the oldest ones beyond `max_bars`. A bar that arrives twice changes nothing; a gap
stays a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import numpy as np

from shared.domain.asset import Asset
from shared.domain.candles import Candles, FloatArray, IntArray
from shared.domain.interval import HOUR_MS, Interval
from shared.ports import MarketData

Series = tuple[IntArray, FloatArray]


def empty_series() -> Series:
    """A series without values."""
    return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class MarketWindow:
    """Closed bars of one asset and the series that go with them (instants in ms UTC)."""

    asset: Asset
    candles: Candles
    funding: Series
    open_interest: Series
    max_bars: int

    @classmethod
    def empty(cls, asset: Asset, interval: Interval, max_bars: int) -> Self:
        """Nothing yet."""
        return cls(asset, Candles.empty(interval), empty_series(), empty_series(), max_bars)

    @property
    def close_ms(self) -> int | None:
        """Close of the newest bar; `None` where there is none."""
        return int(self.candles.open_time[-1]) + self.candles.interval.ms if len(self.candles) else None

    def extended(self, candles: Candles, funding: Series, open_interest: Series) -> Self:
        """This window and what is newer."""
        return self._with(self.candles.followed_by(candles), funding, open_interest)

    def with_bars(self, rows: Sequence[Sequence[float]]) -> Self:
        """This window and newer bars, as `Candles.followed_by_rows` takes them."""
        return self._with(self.candles.followed_by_rows(rows), empty_series(), empty_series())

    def _with(self, candles: Candles, funding: Series, open_interest: Series) -> Self:
        joined = candles[-self.max_bars :]
        oldest = int(joined.open_time[0]) if len(joined) else 0
        return replace(
            self,
            candles=joined,
            funding=_joined(self.funding, funding, oldest),
            open_interest=_joined(self.open_interest, open_interest, oldest),
        )


async def refreshed(window: MarketWindow, market: MarketData, now_ms: int) -> MarketWindow:
    """The window with everything that is known at `now_ms`. Raises the `VenueError` tree."""
    interval = window.candles.interval
    end_ms = interval.floor(now_ms)
    start_ms = window.close_ms if window.close_ms is not None else end_ms - window.max_bars * interval.ms
    symbol = window.asset.symbol
    candles = await market.candles(symbol, interval, start_ms, end_ms)
    funding = open_interest = empty_series()
    if series_due(window, window.funding, now_ms):
        funding = await market.funding_rates(symbol, _since(window.funding, start_ms), now_ms + 1)
    if series_due(window, window.open_interest, now_ms):
        open_interest = await market.open_interest(symbol, _since(window.open_interest, start_ms), now_ms + 1)
    return window.extended(candles, funding, open_interest)


async def with_open_interest(window: MarketWindow, market: MarketData, now_ms: int) -> MarketWindow:
    """The window with the open interest that is known at `now_ms`; its bars stay as they are. Raises the `VenueError` tree."""
    since_ms = _since(window.open_interest, window.close_ms or now_ms)
    newer = await market.open_interest(window.asset.symbol, since_ms, now_ms + 1)
    return window.extended(Candles.empty(window.candles.interval), empty_series(), newer)


def series_due(window: MarketWindow, series: Series, now_ms: int) -> bool:
    """Whether a new value can be there: one spacing after the last one; where no spacing is known yet, past each full hour."""
    times: list[int] = series[0][-4:].tolist()
    if window.close_ms is None:
        return True
    if len(times) < 2:
        return now_ms % HOUR_MS == 0 or now_ms // HOUR_MS > window.close_ms // HOUR_MS
    return now_ms >= times[-1] + min(after - before for before, after in pairwise(times))


def _since(series: Series, otherwise: int) -> int:
    return int(series[0][-1]) + 1 if len(series[0]) else otherwise


def _joined(old: Series, new: Series, oldest_ms: int) -> Series:
    times, values = old
    if len(new[0]):
        fresh = new[0] > times[-1] if len(times) else np.ones(len(new[0]), dtype=np.bool_)
        times, values = np.concatenate([times, new[0][fresh]]), np.concatenate([values, new[1][fresh]])
    # One value older than the window is kept: it is the one in force at the window's first bar.
    first = max(0, int(np.searchsorted(times, oldest_ms)) - 1)
    return times[first:], values[first:]
