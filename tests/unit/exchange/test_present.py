"""A recording around the present: the same market from every start, without a jump and without an end."""

from __future__ import annotations

import numpy as np
import pytest

from cloudrun.exchange.present import AFTER_MS, BEFORE_MS, around_present
from shared.data.generated import generate_market
from shared.domain.candles import COLUMNS, Candles
from shared.domain.errors import UsageError
from shared.domain.interval import DAY_MS, HOUR_MS, WEEK_MS, Interval, parse_date_ms

START_MS = parse_date_ms("2025-07-02")  # a Wednesday
NOW_MS = parse_date_ms("2026-11-22T05:37:11")


def recording(bars: int = 40 * 24, interval: Interval = Interval.H1) -> tuple[Candles, tuple[np.ndarray, np.ndarray]]:
    made = generate_market(np.random.default_rng(3), ("BTCUSDT",), interval, START_MS, bars)
    stamps = START_MS + np.arange(0, bars * interval.ms // (8 * HOUR_MS) + 1, dtype=np.int64) * 8 * HOUR_MS
    return made.history["BTCUSDT"], (stamps, stamps % 97 / 1e6)


def test_there_is_a_history_before_now_and_a_market_after_it_without_a_gap():
    candles, _ = around_present(*recording(), NOW_MS)
    assert candles.open_time[0] <= NOW_MS - BEFORE_MS
    assert NOW_MS + AFTER_MS - HOUR_MS <= candles.open_time[-1] < NOW_MS + AFTER_MS
    assert set(np.diff(candles.open_time)) == {HOUR_MS}


def test_prices_go_on_without_a_jump_at_the_turns():
    recorded, funding = recording()
    candles, _ = around_present(recorded, funding, NOW_MS)
    steps = np.abs(np.log(candles.open[1:] / candles.close[:-1]))
    assert steps.max() <= np.abs(np.log(recorded.open[1:] / recorded.close[:-1])).max()


@pytest.mark.parametrize("later_ms", [HOUR_MS // 3, 9 * DAY_MS, 200 * DAY_MS])
def test_a_later_start_shows_the_same_market(later_ms: int):
    first, funding = around_present(*recording(), NOW_MS)
    second, paid = around_present(*recording(), NOW_MS + later_ms)
    begin, end = int(second.open_time[0]), int(first.open_time[-1])
    for name in COLUMNS:
        mine = getattr(first, name)[(first.open_time >= begin) & (first.open_time <= end)]
        np.testing.assert_array_equal(mine, getattr(second, name)[second.open_time <= end])
    shared = np.intersect1d(funding[0], paid[0])
    assert len(shared) > 500
    np.testing.assert_array_equal(funding[1][np.isin(funding[0], shared)], paid[1][np.isin(paid[0], shared)])


def test_it_begins_where_the_recording_does_whenever_that_is():
    recorded, funding = recording()
    monday = recorded.open[np.searchsorted(recorded.open_time, Interval.W1.ceil(START_MS))]
    assert {float(around_present(recorded, funding, NOW_MS + days * DAY_MS)[0].open[0]) for days in range(0, 120, 7)} == {
        monday
    }


def test_the_hours_of_a_week_are_those_of_the_recording():
    recorded, funding = recording()
    candles, _ = around_present(recorded, funding, NOW_MS)
    known = {(row[0] % WEEK_MS, *row[1:]) for row in zip(*(getattr(recorded, name) for name in COLUMNS), strict=True)}
    ahead = sum(
        (row[0] % WEEK_MS, *row[1:]) in known for row in zip(*(getattr(candles, name) for name in COLUMNS), strict=True)
    )
    assert 0.4 < ahead / len(candles) < 0.6  # forwards half of the time


def test_funding_is_paid_every_eight_hours_and_once():
    _, (stamps, rates) = around_present(*recording(), NOW_MS)
    assert set(np.diff(stamps)) == {8 * HOUR_MS}
    assert len(rates) == len(stamps)


def test_a_recording_without_a_whole_week_is_refused():
    with pytest.raises(UsageError, match="no whole week"):
        around_present(*recording(9 * 24), NOW_MS)
