"""The stored form: what was written comes back bit for bit, anything else is refused with its name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.data.tables import (
    candles_from_bytes,
    candles_to_bytes,
    frame_from_bytes,
    frame_to_bytes,
    series_from_bytes,
    series_to_bytes,
)
from shared.domain.candles import COLUMNS, Candles
from shared.domain.errors import MalformedData
from shared.domain.frame import Frame
from shared.domain.interval import Interval

MakeCandles = Callable[..., Candles]


def parquet(columns: dict[str, pa.Array]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue())


def columns_of(candles: Candles) -> dict[str, pa.Array]:
    times = pa.array(candles.open_time).cast(pa.timestamp("ms", tz="UTC"))
    return {"open_time": times, **{name: pa.array(getattr(candles, name)) for name in COLUMNS[1:]}}


@pytest.mark.parametrize("interval", list(Interval))
def test_candles_come_back_bit_for_bit(make_candles: MakeCandles, interval: Interval) -> None:
    candles = make_candles(40, interval, without=(5, 6))
    back = candles_from_bytes(candles_to_bytes(candles), interval, "x")
    for name in COLUMNS:
        assert np.array_equal(getattr(back, name), getattr(candles, name))


def test_no_candles_come_back_as_none() -> None:
    assert len(candles_from_bytes(candles_to_bytes(Candles.empty(Interval.H1)), Interval.H1, "x")) == 0


def test_the_stored_form_is_the_one_that_other_tools_expect(make_candles: MakeCandles) -> None:
    table = pq.read_table(pa.BufferReader(candles_to_bytes(make_candles(5))))
    assert table.schema.field("open_time").type == pa.timestamp("ms", tz="UTC")
    assert table.column_names == list(COLUMNS)


def test_a_frame_keeps_its_missing_values(make_candles: MakeCandles) -> None:
    candles = make_candles(5)
    frame = Frame(Interval.H1, candles.open_time, {"close": candles.close, "rsi": np.array([np.nan, np.nan, 1.0, 2.0, 3.0])})
    back = frame_from_bytes(frame_to_bytes(frame), Interval.H1, "x")
    assert list(back.columns) == ["close", "rsi"]
    assert np.array_equal(back["rsi"], frame["rsi"], equal_nan=True)


def test_a_series_comes_back(make_candles: MakeCandles) -> None:
    series = (make_candles(5).open_time, np.arange(5.0))
    back = series_from_bytes(series_to_bytes(series, "funding_rate"), "funding_rate", "x")
    assert np.array_equal(back[0], series[0])
    assert np.array_equal(back[1], series[1])


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_an_unreadable_object_is_named(content: bytes) -> None:
    with pytest.raises(MalformedData, match=r"raw/a/data\.parquet is not a readable Parquet file") as error:
        candles_from_bytes(content, Interval.H1, "raw/a/data.parquet")
    assert "\n" not in str(error.value)


def test_a_missing_column_is_named(make_candles: MakeCandles) -> None:
    columns = columns_of(make_candles(5))
    del columns["volume"], columns["low"]
    with pytest.raises(MalformedData, match="x lacks low, volume; found open_time, open, high, close"):
        candles_from_bytes(parquet(columns), Interval.H1, "x")


def test_a_wrong_type_is_named(make_candles: MakeCandles) -> None:
    columns = columns_of(make_candles(5))
    with pytest.raises(MalformedData, match="x: close is string, expected double"):
        candles_from_bytes(parquet({**columns, "close": columns["close"].cast(pa.string())}), Interval.H1, "x")
    with pytest.raises(MalformedData, match="x: open_time is int64"):
        candles_from_bytes(parquet({**columns, "open_time": columns["open_time"].cast(pa.int64())}), Interval.H1, "x")


def test_another_interval_is_refused(make_candles: MakeCandles) -> None:
    with pytest.raises(MalformedData, match="x holds 4h bars, expected 1h"):
        candles_from_bytes(candles_to_bytes(make_candles(5, Interval.H4)), Interval.H1, "x")


@pytest.mark.parametrize(("column", "value"), [("close", np.nan), ("volume", -1.0), ("high", 0.001)])
def test_an_impossible_bar_is_refused_by_the_strict_reader(make_candles: MakeCandles, column: str, value: float) -> None:
    candles = make_candles(5)
    values = getattr(candles, column).copy()
    values[2] = value
    with pytest.raises(MalformedData, match="x: impossible candle at 2025-07-01 02:00"):
        candles_from_bytes(parquet({**columns_of(candles), column: pa.array(values)}), Interval.H1, "x")


def test_unsorted_bars_are_refused_by_the_strict_reader(make_candles: MakeCandles) -> None:
    columns = {name: column[::-1] for name, column in columns_of(make_candles(5)).items()}
    with pytest.raises(MalformedData, match="x: candle times must increase"):
        candles_from_bytes(parquet(columns), Interval.H1, "x")
