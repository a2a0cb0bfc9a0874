"""Candles, curated frames and time series as Parquet bytes, and back: the one module that knows the stored form.

Form: zstd; the first column is a `timestamp[ms, UTC]` (`open_time`, or `time` for series), the others are float64. Reading is
strict: what this module wrote comes back bit for bit, anything else is a `MalformedData` that names the object and the fault.
Foreign files (archives, vendors) are read by `shared/data/raw_tables.py` instead.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shared.domain.candles import COLUMNS, Candles, FloatArray, IntArray
from shared.domain.errors import MalformedData
from shared.domain.frame import Frame
from shared.domain.interval import Interval

_TIME = pa.timestamp("ms", tz="UTC")
Series = tuple[IntArray, FloatArray]
"""Instants (int64 ms) and values (float64), both of shape (n,), oldest first."""


def candles_to_bytes(candles: Candles) -> bytes:
    """Parquet bytes of candles."""
    return _to_bytes("open_time", candles.open_time, {name: getattr(candles, name) for name in COLUMNS[1:]}, candles.interval)


def candles_from_bytes(content: bytes, interval: Interval, name: str) -> Candles:
    """Candles from Parquet bytes. Raises `MalformedData` that names the object `name` and what is wrong with it."""
    table = read_table(content, name)
    _expect_interval(table, interval, name)
    _expect_columns(table, COLUMNS, name)
    times = _times(table, "open_time", name)
    values = [_floats(table, column, name) for column in COLUMNS[1:]]
    try:
        return Candles(interval, times, *values)
    except MalformedData as error:
        raise MalformedData(f"{name}: {error}") from None


def frame_to_bytes(frame: Frame) -> bytes:
    """Parquet bytes of a curated frame; missing values stay NaN."""
    return _to_bytes("open_time", frame.open_time, frame.columns, frame.interval)


def frame_from_bytes(content: bytes, interval: Interval, name: str) -> Frame:
    """A curated frame from Parquet bytes. Raises `MalformedData` that names the object and the fault."""
    table = read_table(content, name)
    _expect_interval(table, interval, name)
    times = _times(table, "open_time", name)
    if np.any(np.diff(times) <= 0):
        raise MalformedData(f"{name}: times must increase; curate the asset again")
    columns = {column: _floats(table, column, name) for column in table.column_names if column != "open_time"}
    return Frame(interval, times, columns)


def series_to_bytes(series: Series, value: str) -> bytes:
    """Parquet bytes of a time series whose value column is named `value` (`funding_rate`, `open_interest`)."""
    return _to_bytes("time", series[0], {value: series[1]}, None)


def series_from_bytes(content: bytes, value: str, name: str) -> Series:
    """A time series from Parquet bytes. Raises `MalformedData` that names the object and the fault."""
    table = read_table(content, name)
    _expect_columns(table, ("time", value), name)
    times, values = _times(table, "time", name), _floats(table, value, name)
    if np.any(np.diff(times) <= 0) or not np.isfinite(values).all():
        raise MalformedData(f"{name}: times must increase and every {value} must be finite")
    return times, values


def read_table(content: bytes, name: str) -> pa.Table:
    """The Arrow table in Parquet bytes. Raises `MalformedData` where they are no Parquet file."""
    try:
        return pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MalformedData(f"{name} is not a readable Parquet file ({reason[:120]})") from None


def row_instants(table: pa.Table) -> IntArray:
    """Instants of the first column, whatever unit of time it has, as int64 ms, shape (n,)."""
    return np.asarray(table.column(0).cast(pa.timestamp("ms")).cast(pa.int64()).to_numpy(), dtype=np.int64)


def _to_bytes(time_name: str, times: IntArray, columns: Mapping[str, FloatArray], interval: Interval | None) -> bytes:
    arrays = [pa.array(np.asarray(times, dtype=np.int64)).cast(_TIME)]
    arrays += [pa.array(np.asarray(values, dtype=np.float64)) for values in columns.values()]
    table = pa.table(arrays, names=[time_name, *columns])
    if interval is not None:
        table = table.replace_schema_metadata({"interval": interval.value})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def _expect_interval(table: pa.Table, interval: Interval, name: str) -> None:
    stored = (table.schema.metadata or {}).get(b"interval", interval.value.encode()).decode()
    if stored != interval.value:
        raise MalformedData(f"{name} holds {stored} bars, expected {interval}")


def _expect_columns(table: pa.Table, expected: tuple[str, ...], name: str) -> None:
    missing = [column for column in expected if column not in table.column_names]
    if missing:
        raise MalformedData(f"{name} lacks {', '.join(missing)}; found {', '.join(table.column_names)}")


def _times(table: pa.Table, column: str, name: str) -> IntArray:
    if column not in table.column_names:
        raise MalformedData(f"{name} lacks {column}; found {', '.join(table.column_names)}")
    data = table.column(column)
    if data.type != _TIME or data.null_count:
        raise MalformedData(f"{name}: {column} is {data.type} with {data.null_count} missing, expected {_TIME} and none")
    return np.asarray(data.cast(pa.int64()).to_numpy(), dtype=np.int64)


def _floats(table: pa.Table, column: str, name: str) -> FloatArray:
    data = table.column(column)
    if data.type != pa.float64():
        raise MalformedData(f"{name}: {column} is {data.type}, expected double")
    return np.array(data.to_numpy(), dtype=np.float64)
