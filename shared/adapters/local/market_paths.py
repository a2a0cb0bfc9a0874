"""Which files below a folder hold candles, and of what: read from their names alone.

Parquet: `SYMBOL/INTERVAL.parquet`, `SYMBOL/INTERVAL/data.parquet`, `SYMBOL-INTERVAL.parquet`. CSV, anywhere below:
`SYMBOL/INTERVAL.csv`, the exchange's public archive (`BTCUSDT-1h-2025-07.zip`, `.csv`, `.csv.gz`), vendors
(`Binance_BTCUSDT_1h.csv`).
A name that is not exactly an interval (`1m_2023`, `mark_1h`) is something else and is ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from shared.domain.errors import DataNotFound, StorageError
from shared.domain.interval import Interval

_SUFFIX = r"\.(?:csv|csv\.gz|zip)"
_DATED_CSV = re.compile(
    r"(?:[A-Za-z0-9]+_)*(?P<symbol>[A-Z0-9]{5,30}(?:_[0-9]{6})?)[-_](?P<interval>[0-9]+[mhdw]|d)"
    r"(?:[-_]\d{4}-\d{2}(?:-\d{2})?)?" + _SUFFIX
)
_INTERVALS = frozenset(interval.value for interval in Interval)
_PLAIN_CSV = re.compile(r"(?P<interval>[0-9]+[mhdw])" + _SUFFIX)
_SYMBOL = re.compile(r"[A-Z0-9]{3,30}(_[0-9]{6})?")
# The archive keeps other kinds of candles under the same file names.
_NOT_TRADES = frozenset({"markPriceKlines", "indexPriceKlines", "premiumIndexKlines"})
_ARCHIVE_SECTIONS = {"spot": "spot", "um": "um", "cm": "cm"}


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """Files by (symbol, interval), in name order, which is time order in the archive."""

    candles: dict[tuple[str, Interval], tuple[Path, ...]]
    funding: dict[str, tuple[Path, ...]]
    open_interest: dict[str, tuple[Path, ...]]

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols that have candles, sorted."""
        return tuple(sorted({symbol for symbol, _ in self.candles}))


def find_files(directory: Path, venue: str) -> FoundFiles:
    """Everything below `directory` that the names give away.

    Raises `DataNotFound` where there is no folder or no candle file in it, `StorageError` where it cannot be listed.
    """
    if not directory.is_dir():
        raise DataNotFound(
            f"there is no folder {directory}; expected one with SYMBOL/INTERVAL.parquet or the exchange's CSV files"
        )
    try:
        files = sorted(path for path in directory.rglob("*") if path.is_file())
    except OSError as error:
        raise StorageError(f"cannot list {directory}: {error.strerror}") from error
    candles: dict[tuple[str, Interval], list[Path]] = {}
    for path in files:
        key = _candle_key(path.relative_to(directory), venue)
        if key is not None:
            candles.setdefault(key, []).append(path)
    if not candles:
        raise DataNotFound(f"no candle files in {directory}; {_hint(directory)}")
    symbols = {symbol for symbol, _ in candles}
    return FoundFiles(
        candles={key: tuple(paths) for key, paths in candles.items()},
        funding={symbol: _series_files(directory, files, symbol, "funding", "fundingRate") for symbol in symbols},
        open_interest={symbol: _series_files(directory, files, symbol, "open_interest", "openInterest") for symbol in symbols},
    )


def _candle_key(relative: Path, venue: str) -> tuple[str, Interval] | None:
    if relative.suffix == ".parquet":
        return _parquet_key(relative)
    folders = relative.parts[:-1]
    if _NOT_TRADES.intersection(folders) or any(
        section != _section_of(venue) for folder, section in _ARCHIVE_SECTIONS.items() if folder in folders
    ):
        return None
    dated = _DATED_CSV.fullmatch(relative.name)
    if dated:
        return _key(dated["symbol"], "1d" if dated["interval"] == "d" else dated["interval"])
    plain = _PLAIN_CSV.fullmatch(relative.name)
    return _key(folders[-1], plain["interval"]) if plain and folders else None


def _parquet_key(relative: Path) -> tuple[str, Interval] | None:
    parts = relative.with_suffix("").parts
    if len(parts) == 1:
        symbol, _, interval = parts[0].rpartition("-")
        return _key(symbol, interval)
    if len(parts) == 3 and parts[2] == "data":
        return _key(parts[0], parts[1])
    return _key(parts[0], parts[1]) if len(parts) == 2 else None


def _key(symbol: str, interval: str) -> tuple[str, Interval] | None:
    if not _SYMBOL.fullmatch(symbol) or interval not in _INTERVALS:
        return None
    return symbol, Interval(interval)


def _section_of(venue: str) -> str:
    return {"binance": "spot", "binance_spot": "spot", "binancecoinm": "cm"}.get(venue, "um")


def _series_files(directory: Path, files: list[Path], symbol: str, folder: str, archive: str) -> tuple[Path, ...]:
    """Files of a time series of `symbol`: beside its candles, in a folder of its own, or in the archive's form."""
    beside = (
        directory / symbol / f"{folder}.parquet",
        directory / symbol / folder / "data.parquet",  # the lake's own form
        directory / folder / f"{symbol}.parquet",
        # data/ohlcv/<venue> beside data/funding/<venue>
        directory.resolve().parent.parent / folder / directory.resolve().name / f"{symbol}.parquet",
    )
    found = next((path for path in beside if path.is_file()), None)
    if found is not None:
        return (found,)
    pattern = re.compile(re.escape(symbol) + "-" + archive + r"-\d{4}-\d{2}(-\d{2})?" + _SUFFIX)
    return tuple(path for path in files if pattern.fullmatch(path.name))


def _hint(directory: Path) -> str:
    inner = sorted(path.name for path in directory.iterdir() if path.is_dir() and any(path.glob("*/*.parquet")))
    if inner:
        return f"name one of its folders: {' '.join(inner[:5])}"
    return "expected SYMBOL/INTERVAL.parquet, SYMBOL-INTERVAL.parquet or the exchange's SYMBOL-INTERVAL-YYYY-MM.csv|.zip"
