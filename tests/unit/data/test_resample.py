"""Coarser candles from finer ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.local.market_files import FileMarket
from shared.data.resample import resample
from shared.domain.candles import Candles
from shared.domain.errors import UsageError
from shared.domain.interval import HOUR_MS, Interval, parse_date_ms

MakeCandles = Callable[..., Candles]


def test_a_bar_is_first_highest_lowest_last_and_sum(make_candles: MakeCandles) -> None:
    hourly = make_candles(24)
    daily = resample(hourly, Interval.D1)
    assert (daily.open[0], daily.close[0]) == (hourly.open[0], hourly.close[-1])
    assert (daily.high[0], daily.low[0]) == (hourly.high.max(), hourly.low.min())
    assert daily.volume[0] == pytest.approx(hourly.volume.sum())


@given(skip=st.integers(0, 30), length=st.integers(0, 60))
@settings(max_examples=40, deadline=None)
def test_bars_that_are_not_covered_to_their_edges_are_left_out(skip: int, length: int) -> None:
    start = parse_date_ms("2025-07-01") + skip * HOUR_MS
    times = start + np.arange(length, dtype=np.int64) * HOUR_MS
    ones = np.ones(length)
    four_hourly = resample(Candles(Interval.H1, times, ones, ones, ones, ones, ones), Interval.H4)
    end = start + length * HOUR_MS
    assert np.all(four_hourly.open_time >= start)
    assert np.all(four_hourly.close_time <= end)
    assert np.all(four_hourly.volume == 4)
    assert len(four_hourly) == max(0, (Interval.H4.floor(end) - Interval.H4.ceil(start)) // Interval.H4.ms)


def test_an_outage_inside_a_bar_leaves_a_bar(make_candles: MakeCandles) -> None:
    assert len(resample(make_candles(48, without=tuple(range(3, 40))), Interval.D1)) == 2


def test_weeks_begin_on_monday(make_candles: MakeCandles) -> None:
    weekly = resample(make_candles(21, Interval.D1), Interval.W1)  # from Tuesday 2025-07-01 on
    assert weekly.open_time.tolist() == [parse_date_ms("2025-07-07"), parse_date_ms("2025-07-14")]


def test_finer_bars_cannot_be_made(make_candles: MakeCandles) -> None:
    with pytest.raises(UsageError, match="4h bars cannot be joined to 1h bars"):
        resample(make_candles(5, Interval.H4), Interval.H1)


def test_real_hours_give_the_exchanges_four_hour_bars_but_for_the_known_three(real_data: Path) -> None:
    market = FileMarket(real_data / "ohlcv" / "binance_usdm")
    stored = market.history("BTCUSDT", Interval.H4)
    made = resample(market.history("BTCUSDT", Interval.H1), Interval.H4).between(int(stored.open_time[0]))
    assert np.array_equal(made.open_time, stored.open_time)
    differs = (made.close != stored.close) | (made.high != stored.high) | (np.abs(made.volume / stored.volume - 1) > 1e-6)
    known = {parse_date_ms(text) for text in ("2022-07-16T04:00", "2023-11-10T12:00", "2024-10-28T20:00")}
    assert set(made.open_time[differs].tolist()) <= known
