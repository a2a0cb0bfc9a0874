"""Foreign files: names of columns, units of stamps, forms of dates."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from shared.data.raw_tables import NO_TIME, bars_from_csv, series_from_table, to_milliseconds
from shared.domain.errors import MalformedData
from shared.domain.interval import parse_date_ms

AT = parse_date_ms("2025-07-01")


@pytest.mark.parametrize("factor", [1e-3, 1, 1e3, 1e6])
def test_seconds_milliseconds_microseconds_and_nanoseconds_are_told_by_their_size(factor: float) -> None:
    times, mixed = to_milliseconds(pa.chunked_array([[AT * factor, (AT + 60_000) * factor]]))
    assert times.tolist() == [AT, AT + 60_000]
    assert mixed == 0


def test_units_may_be_mixed_and_that_is_counted() -> None:
    times, mixed = to_milliseconds(pa.chunked_array([[float(AT), AT / 1000, float(AT)]]))
    assert times.tolist() == [AT] * 3
    assert mixed == 1


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2020-11-20 06:00:00", "2020-11-20T06:00"),
        ("2020-11-20 06-AM", "2020-11-20T06:00"),
        ("2020-11-20 12-AM", "2020-11-20T00:00"),
        ("2020-11-20 12-PM", "2020-11-20T12:00"),
        ("2020-11-20T06:00:00Z", "2020-11-20T06:00"),
        ("2020-11-20T07:00:00+01:00", "2020-11-20T06:00"),
        ("20.11.2020 06:00:00", "2020-11-20T06:00"),
    ],
)
def test_dates_of_vendors_are_read(text: str, wanted: str) -> None:
    times, _ = to_milliseconds(pa.chunked_array([[text]]))
    assert times.tolist() == [parse_date_ms(wanted)]


def test_an_unreadable_date_is_marked() -> None:
    times, _ = to_milliseconds(pa.chunked_array([["yesterday", None]]))
    assert times.tolist() == [NO_TIME, NO_TIME]


def test_the_archive_without_a_header_is_read_by_position() -> None:
    bars = bars_from_csv(f"{AT},1.5,2,1,1.75,10,{AT + 59_999},17,3,5,8,0\n".encode(), "x")
    assert (bars.open[0], bars.high[0], bars.low[0], bars.close[0], bars.volume[0], bars.quote_volume[0]) == (
        1.5,
        2,
        1,
        1.75,
        10,
        17,
    )


def test_a_vendor_file_with_a_signature_and_named_volumes_is_read() -> None:
    content = (
        "https://www.example.com\nunix,date,symbol,open,high,low,close,Volume USDT,Volume BTC,tradecount\n"
        f"{AT},2025-07-01 00:00:00,BTCUSDT,1,2,1,2,170,100,NULL\n"
    )
    bars = bars_from_csv(content.encode(), "x")
    assert (bars.volume[0], bars.quote_volume[0]) == (100, 170)


def test_a_missing_stamp_is_filled_from_the_second_clock() -> None:
    content = f"unix,date,open,high,low,close,volume\n{AT},x,1,1,1,1,1\n,2025-07-01 01:00:00,1,1,1,1,1\n"
    assert bars_from_csv(content.encode(), "x").open_time.tolist() == [AT, AT + 3_600_000]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x is empty"),
        (b"\n\n", "x is empty"),
        (b"unix,open,high,low\n1,2,3,4\n", "x lacks close, volume; found the columns unix, open, high, low"),
        (b"unix,open,high,low,close,volume\n1751328000,1,2,1,dear,1\n", "the column 'close' holds string, expected numbers"),
        (b"unix,open,high,low,close,volume\n1751328000,1\n", "x is not a readable CSV file"),
        (b"\x00\x01\x02\xff\xfe", "x "),
    ],
)
def test_a_bad_file_is_one_clear_line(content: bytes, message: str) -> None:
    with pytest.raises(MalformedData) as error:
        bars_from_csv(content, "x")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_series_is_sorted_and_unique() -> None:
    content = f"calc_time,funding_interval_hours,last_funding_rate\n{AT + 8},8,0.2\n{AT},8,0.1\n{AT},8,0.1\n".encode()
    times, values = series_from_table(content, "x", ("funding_time", "calc_time"), ("funding_rate", "last_funding_rate"))
    assert times.tolist() == [AT, AT + 8]
    assert np.array_equal(values, [0.1, 0.2])


def test_a_series_without_its_columns_is_refused() -> None:
    with pytest.raises(MalformedData, match="x: expected a column time and rate; found time, price"):
        series_from_table(b"time,price\n1,2\n", "x", ("time",), ("rate",))
