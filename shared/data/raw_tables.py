"""Foreign candle files (Parquet, the exchange's CSV archive, vendors' CSV) as raw columns in file order, nothing judged yet.

Column names are recognised by meaning (`unix`, `open_time`, `date`; `volume`, `Volume BTC`; `quote_volume`, `Volume USDT`).
Instants come in seconds, milliseconds, microseconds (spot archives since 2025) or nanoseconds, mixed within one file, or as
text; each is told by its size and becomes int64 ms. Whether the rows can be believed is decided in `shared/data/integrity.py`.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from shared.data.tables import Series, read_table
from shared.domain.candles import PRICE_COLUMNS, Candles, FloatArray, IntArray
from shared.domain.errors import MalformedData

NO_TIME = -(2**63)
"""Stands for an instant that is missing or cannot be read."""

# The archive's kline files up to 2021 (and all spot ones) have no header; these are their twelve fields.
ARCHIVE_COLUMNS = [
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
]
_TIME_NAMES = ("open_time", "opentime", "unix", "timestamp", "time", "datetime", "date")
_QUOTES = ("usdt", "usdc", "busd", "fdusd", "tusd", "usd", "eur", "quote")
_DATE_FORMATS = ("%Y-%m-%d %I-%p", "%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %H:%M")


@dataclass(frozen=True, eq=False)
class RawBars:
    """Rows as found: `open_time` int64 ms (`NO_TIME` where unreadable), the rest float64, all of shape (n,)."""

    open_time: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    quote_volume: FloatArray
    """turnover in quote currency; NaN where the source has none"""
    mixed_stamps: int = field(default=0, kw_only=True)
    """rows whose stamps were in another unit than most of the source's rows"""

    def __len__(self) -> int:
        return len(self.open_time)

    @classmethod
    def of(cls, candles: Candles) -> RawBars:
        """The rows of candles."""
        prices = (candles.open, candles.high, candles.low, candles.close)
        return cls(candles.open_time, *prices, candles.volume, np.full(len(candles), np.nan))

    @classmethod
    def joined(cls, parts: list[RawBars]) -> RawBars:
        """The rows of all `parts` (at least one), in order."""
        return cls(
            open_time=np.concatenate([part.open_time for part in parts]),
            open=np.concatenate([part.open for part in parts]),
            high=np.concatenate([part.high for part in parts]),
            low=np.concatenate([part.low for part in parts]),
            close=np.concatenate([part.close for part in parts]),
            volume=np.concatenate([part.volume for part in parts]),
            quote_volume=np.concatenate([part.quote_volume for part in parts]),
            mixed_stamps=sum(part.mixed_stamps for part in parts),
        )


def bars_from_parquet(content: bytes, name: str) -> RawBars:
    """Raw rows of a Parquet file. Raises `MalformedData` naming the file where columns are missing or not numbers."""
    return _bars(read_table(content, name), name)


def bars_from_csv(content: bytes, name: str) -> RawBars:
    """Raw rows of a CSV file, with or without a header. Raises `MalformedData` naming the file and what is wrong."""
    return _bars(_read_csv(content, name, ARCHIVE_COLUMNS), name)


def series_from_table(content: bytes, name: str, time_names: tuple[str, ...], value_names: tuple[str, ...]) -> Series:
    """A time series of a foreign Parquet or CSV file, sorted, without repeated instants.

    Raises `MalformedData` where none of the columns is there or a value is not finite.
    """
    table = read_table(content, name) if content[:4] == b"PAR1" else _read_csv(content, name, [time_names[0], value_names[0]])
    found = {_plain(column): column for column in table.column_names}
    time_name = next((found[key] for key in time_names if key in found), None)
    value_name = next((found[key] for key in value_names if key in found), None)
    if time_name is None or value_name is None:
        raise MalformedData(
            f"{name}: expected a column {' or '.join(time_names)} and {' or '.join(value_names)}; "
            f"found {', '.join(table.column_names)}"
        )
    times, _ = to_milliseconds(table.column(time_name))
    values = _numbers(table, value_name, name)
    if np.any(times == NO_TIME) or not np.isfinite(values).all():
        raise MalformedData(f"{name}: every row needs an instant and a finite {value_name}")
    instants, first = np.unique(times, return_index=True)
    return instants, values[first]


def to_milliseconds(column: pa.ChunkedArray) -> tuple[IntArray, int]:
    """Instants as int64 ms (`NO_TIME` where unreadable) and how many rows were in another unit than most."""
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        stamps = column.cast(pa.timestamp("ms")).cast(pa.int64()).fill_null(NO_TIME)
        return np.asarray(stamps.to_numpy(), dtype=np.int64), 0
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.array([_parse_date(text) for text in column.to_pylist()], dtype=np.int64), 0
    values = np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
    size = np.abs(values)
    # 1e11 s is the year 5138 and 1e11 ms is 1973: the ranges of the units do not meet in any year that has candles.
    scale = np.select([size < 1e11, size < 1e14, size < 1e17], [1e3, 1.0, 1e-3], 1e-6)
    readable = np.isfinite(values) & (size > 0)
    milliseconds = np.full(len(values), NO_TIME, dtype=np.int64)
    milliseconds[readable] = np.round(values[readable] * scale[readable]).astype(np.int64)
    _, counts = np.unique(scale[readable], return_counts=True)
    return milliseconds, int(counts.sum() - counts.max()) if len(counts) else 0


def _parse_date(text: str | None) -> int:
    """Milliseconds of a date in one of the forms that vendors use; UTC where it names no zone."""
    if text is None:
        return NO_TIME
    cleaned = text.strip()
    # "2020-11-20 00-AM" exists beside "12-AM": the 12-hour clock has no hour 0.
    cleaned = re.sub(r" 00-AM$", " 12-AM", cleaned)
    try:
        moment = datetime.fromisoformat(cleaned)
    except ValueError:
        for form in _DATE_FORMATS:
            try:
                moment = datetime.strptime(cleaned, form).replace(tzinfo=UTC)
                break
            except ValueError:
                continue
        else:
            return NO_TIME
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def _read_csv(content: bytes, name: str, columns_without_header: list[str]) -> pa.Table:
    lines = content.lstrip(b"\xef\xbb\xbf").split(b"\n", 2)
    if lines and lines[0].startswith(b"http"):  # some vendors sign their files above the header
        content = content.split(b"\n", 1)[1] if b"\n" in content else b""
        lines = lines[1:]
    if not content.strip():
        raise MalformedData(f"{name} is empty; expected a CSV file with candles")
    first = lines[0].split(b",")[0].strip().strip(b'"')
    headerless = re.fullmatch(rb"[0-9.]+", first) is not None
    fields = len(lines[0].split(b","))
    names = columns_without_header[:fields] + [f"field_{i}" for i in range(len(columns_without_header), fields)]
    try:
        return pacsv.read_csv(
            io.BytesIO(content),
            read_options=pacsv.ReadOptions(column_names=names if headerless else None),
            convert_options=pacsv.ConvertOptions(
                null_values=["", "NULL", "null", "NaN", "nan", "None"], strings_can_be_null=True
            ),
        )
    except (pa.ArrowException, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise MalformedData(f"{name} is not a readable CSV file ({reason[:120]})") from None


def _bars(table: pa.Table, name: str) -> RawBars:
    columns = _recognised(table.column_names, name)
    open_time, mixed = to_milliseconds(table.column(columns["open_time"]))
    unreadable = open_time == NO_TIME
    if unreadable.any():
        open_time = _second_clock(table, columns["open_time"], open_time)
    nothing = np.full(table.num_rows, np.nan)
    return RawBars(
        open_time=open_time,
        open=_numbers(table, columns["open"], name),
        high=_numbers(table, columns["high"], name),
        low=_numbers(table, columns["low"], name),
        close=_numbers(table, columns["close"], name),
        volume=_numbers(table, columns["volume"], name),
        quote_volume=_numbers(table, columns["quote_volume"], name) if "quote_volume" in columns else nothing,
        mixed_stamps=mixed,
    )


def _second_clock(table: pa.Table, used: str, open_time: IntArray) -> IntArray:
    """Fill instants that are missing in the first time column from another one (vendors keep `unix` and `date`)."""
    others = [column for column in table.column_names if _plain(column) in _TIME_NAMES and column != used]
    for column in others:
        second, _ = to_milliseconds(table.column(column))
        open_time = np.where(open_time == NO_TIME, second, open_time)
    return open_time


def _recognised(names: list[str], source: str) -> dict[str, str]:
    """Our name -> the file's name of the columns that candles need."""
    plain = {_plain(name): name for name in names}
    found = {key: plain[key] for key in (*PRICE_COLUMNS, "volume", "quote_volume") if key in plain}
    time_name = next((plain[key] for key in _TIME_NAMES if key in plain), None)
    if time_name is not None:
        found["open_time"] = time_name
    for key, name in plain.items():
        if key.startswith("volume_"):
            is_quote = key.removeprefix("volume_") in _QUOTES
            found.setdefault("quote_volume" if is_quote else "volume", name)
        if key in ("quote_asset_volume", "quotevolume"):
            found.setdefault("quote_volume", name)
    missing = [key for key in ("open_time", *PRICE_COLUMNS, "volume") if key not in found]
    if missing:
        raise MalformedData(f"{source} lacks {', '.join(missing)}; found the columns {', '.join(names)}")
    return found


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")


def _numbers(table: pa.Table, column: str, name: str) -> FloatArray:
    data = table.column(column)
    if pa.types.is_null(data.type):
        return np.full(len(data), np.nan)
    try:
        return np.array(data.cast(pa.float64()).to_numpy(), dtype=np.float64)
    except (pa.ArrowException, ValueError):
        raise MalformedData(f"{name}: the column {column!r} holds {data.type}, expected numbers") from None
