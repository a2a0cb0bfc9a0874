from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import UsageError
from shared.domain.interval import Interval, format_ms, parse_date_ms

instants = st.integers(min_value=0, max_value=4_102_444_800_000)


@given(st.sampled_from(Interval), instants)
def test_floor_and_ceil_enclose_the_instant_on_the_grid(interval: Interval, time_ms: int) -> None:
    floor, ceil = interval.floor(time_ms), interval.ceil(time_ms)
    assert floor <= time_ms <= ceil
    assert ceil - floor in (0, interval.ms)
    assert interval.is_open_time(floor)
    assert interval.is_open_time(ceil)


@given(instants)
def test_weekly_bars_open_on_monday_midnight(time_ms: int) -> None:
    opened = datetime.fromtimestamp(Interval.W1.floor(time_ms) / 1000, UTC)
    assert (opened.weekday(), opened.hour, opened.minute) == (0, 0, 0)


@given(st.sampled_from(Interval), instants)
def test_the_last_closed_bar_is_closed_and_the_next_one_is_not(interval: Interval, now_ms: int) -> None:
    opened = interval.last_closed_open_ms(now_ms)
    assert opened + interval.ms <= now_ms < opened + 2 * interval.ms


def test_dates_are_read_as_utc() -> None:
    assert parse_date_ms("2025-07-01") == 1_751_328_000_000
    assert parse_date_ms("2025-07-01T02:00+02:00") == 1_751_328_000_000
    assert format_ms(1_751_328_000_000) == "2025-07-01 00:00"


@pytest.mark.parametrize("text", ["yesterday", "2025-13-01", "01/07/2025", ""])
def test_a_date_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="YYYY-MM-DD"):
        parse_date_ms(text)


@pytest.mark.parametrize("text", ["0001-01-01", "1969-12-31", "2201-01-01", "9999-12-31T23:59-14:00"])
def test_a_year_that_no_market_has_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="1970 to 2200"):
        parse_date_ms(text)


def test_an_unknown_interval_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="15m 30m 1h 4h 1d 1w"):
        Interval.parse("7m")
