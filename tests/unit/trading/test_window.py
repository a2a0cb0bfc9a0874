"""The trailing window grows by closed bars only, forgets the oldest, and keeps gaps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from shared.data.generated import generate_market
from shared.domain.asset import Asset
from shared.domain.candles import Candles, FloatArray, IntArray
from shared.domain.errors import MalformedData, VenueUnreachable
from shared.domain.ids import candles_hash
from shared.domain.interval import HOUR_MS, Interval, parse_date_ms
from shared.trading.window import MarketWindow, empty_series, refreshed

START_MS = parse_date_ms("2025-07-01")
ASSET = Asset("binanceusdm", "BTCUSDT")
NOTHING = MarketWindow.empty(ASSET, Interval.H1, 50)
Walk = Callable[..., Candles]


class CountingMarket:
    """A generated market that remembers what it was asked for."""

    def __init__(self) -> None:
        self.market = generate_market(np.random.default_rng(1), ["BTCUSDT"], Interval.H1, START_MS, 200)
        self.asked: list[tuple[str, int, int]] = []
        self.interest: tuple[IntArray, FloatArray] = empty_series()

    async def candles(self, symbol: str, interval: Interval, start_ms: int, end_ms: int) -> Candles:
        self.asked.append(("candles", start_ms, end_ms))
        return await self.market.candles(symbol, interval, start_ms, end_ms)

    async def funding_rates(self, symbol: str, start_ms: int, end_ms: int) -> tuple[IntArray, FloatArray]:
        self.asked.append(("funding", start_ms, end_ms))
        return await self.market.funding_rates(symbol, start_ms, end_ms)

    async def open_interest(self, symbol: str, start_ms: int, end_ms: int) -> tuple[IntArray, FloatArray]:
        self.asked.append(("interest", start_ms, end_ms))
        return self.interest

    async def close(self) -> None:
        return None


def test_an_empty_window_has_no_close() -> None:
    assert NOTHING.close_ms is None
    assert len(NOTHING.extended(Candles.empty(Interval.H1), empty_series(), empty_series()).candles) == 0


def test_it_keeps_the_newest_bars_and_no_bar_twice(walk: Walk) -> None:
    candles = walk(1, 80)
    window = NOTHING.extended(candles[:60], empty_series(), empty_series())
    again = window.extended(candles[40:80], empty_series(), empty_series())
    assert candles_hash(window.candles) == candles_hash(candles[10:60])
    assert candles_hash(again.candles) == candles_hash(candles[30:80])
    same = again.extended(candles[40:80], empty_series(), empty_series())
    assert candles_hash(same.candles) == candles_hash(again.candles)


def test_a_gap_stays_a_gap(walk: Walk) -> None:
    candles = walk(1, 40, missing=slice(10, 15))
    window = NOTHING.extended(candles, empty_series(), empty_series())
    assert len(window.candles) == 35
    assert window.close_ms == int(candles.close_time[-1])


def test_one_value_older_than_the_window_is_kept_for_it_is_in_force_at_the_first_bar(walk: Walk) -> None:
    candles = walk(1, 80)
    times = candles.open_time[::8].astype(np.int64)
    window = NOTHING.extended(candles, (times, np.arange(10.0)), empty_series())
    oldest = int(window.candles.open_time[0])
    assert window.funding[0][0] < oldest <= window.funding[0][1]
    assert window.funding[1].tolist() == [float(value) for value in range(3, 10)]


def test_another_interval_is_refused(walk: Walk) -> None:
    window = NOTHING.extended(walk(1, 5), empty_series(), empty_series())
    with pytest.raises(MalformedData, match="cannot join 1h and 4h"):
        window.extended(Candles.empty(Interval.H4), empty_series(), empty_series())


async def test_bar_by_bar_ends_where_one_fetch_ends() -> None:
    market = CountingMarket()
    grown = NOTHING
    for bar in range(60, 100):
        grown = await refreshed(grown, market, START_MS + bar * HOUR_MS + 1000)
    fresh = await refreshed(NOTHING, CountingMarket(), START_MS + 99 * HOUR_MS + 1000)
    assert grown.close_ms == fresh.close_ms == START_MS + 99 * HOUR_MS
    assert candles_hash(grown.candles) == candles_hash(fresh.candles)
    assert grown.funding[0][-1] == fresh.funding[0][-1]
    assert grown.funding[1][-6:].tolist() == fresh.funding[1][-6:].tolist()


async def test_a_bar_that_is_still_open_is_not_asked_for() -> None:
    market = CountingMarket()
    await refreshed(NOTHING, market, START_MS + 60 * HOUR_MS + HOUR_MS // 2)
    assert market.asked[0] == ("candles", START_MS + 10 * HOUR_MS, START_MS + 60 * HOUR_MS)


async def test_funding_is_only_asked_for_when_it_is_due() -> None:
    market = CountingMarket()
    window = await refreshed(NOTHING, market, START_MS + 48 * HOUR_MS)
    market.asked.clear()
    for bar in range(49, 57):
        window = await refreshed(window, market, START_MS + bar * HOUR_MS)
    assert [bar for name, _, bar in market.asked if name == "funding"] == [START_MS + 56 * HOUR_MS + 1]
    assert window.funding[0][-1] == START_MS + 56 * HOUR_MS


async def test_what_the_venue_raises_passes_through() -> None:
    class Down(CountingMarket):
        async def candles(self, symbol: str, interval: Interval, start_ms: int, end_ms: int) -> Candles:
            raise VenueUnreachable("refused")

    with pytest.raises(VenueUnreachable):
        await refreshed(NOTHING, Down(), START_MS + 48 * HOUR_MS)
