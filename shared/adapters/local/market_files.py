"""`MarketData` from files: a folder of Parquet files, of the exchange's public CSV archive, or of a vendor's CSV.

Every file passes through `shared/data/integrity.py`; what was noticed is kept as findings. An interval that is not there is
made from the one that divides it and reaches back furthest (the finest, where several do). Parsed files stay in memory:
a replay reads each of them once.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from shared.adapters.local.market_paths import FoundFiles, find_files
from shared.data.findings import Finding, FindingKind
from shared.data.integrity import clean
from shared.data.raw_tables import RawBars, bars_from_csv, bars_from_parquet, series_from_table
from shared.data.resample import divides, resample
from shared.data.tables import Series
from shared.domain.candles import Candles, FloatArray, IntArray
from shared.domain.errors import DataError, DataNotFound, MalformedData
from shared.domain.interval import Interval

NEVER_MS = 2**62
_T = TypeVar("_T")
_FUNDING_COLUMNS = (("funding_time", "calc_time", "fundingtime", "time"), ("funding_rate", "last_funding_rate", "fundingrate"))
_INTEREST_COLUMNS = (("time", "create_time", "timestamp"), ("open_interest", "sum_open_interest", "sumopeninterest"))


class FileMarket:
    """Market data of one `venue` below `directory`. Nothing that closes after `end_ms` is visible."""

    def __init__(self, directory: str | Path, venue: str = "binanceusdm", end_ms: int | None = None) -> None:
        self.directory = Path(directory)
        self.venue = venue
        self.end_ms = end_ms
        self._files: FoundFiles | None = None
        self._candles: dict[tuple[str, Interval], Candles] = {}
        self._findings: dict[tuple[str, Interval], tuple[Finding, ...]] = {}
        self._series: dict[tuple[str, str], Series] = {}

    def __repr__(self) -> str:
        return f"FileMarket({str(self.directory)!r}, {self.venue!r})"

    @property
    def files(self) -> FoundFiles:
        """The files, listed at first use. Raises `DataNotFound` where there are none."""
        if self._files is None:
            self._files = find_files(self.directory, self.venue)
        return self._files

    def symbols(self) -> tuple[str, ...]:
        """Symbols with candles, sorted."""
        return self.files.symbols

    def intervals(self, symbol: str) -> tuple[Interval, ...]:
        """Intervals that files hold for `symbol`, finest first. Raises `DataNotFound` naming the known symbols."""
        found = [interval for interval in Interval if (symbol, interval) in self.files.candles]
        if not found:
            known = " ".join(self.files.symbols[:20])
            raise DataNotFound(f"no candles of {symbol} in {self.directory}; it has {known}")
        return tuple(found)

    def span(self, symbol: str, interval: Interval) -> tuple[int, int]:
        """Open time of the first bar and close time of the last one (ms). Raises `DataNotFound` where there are no bars."""
        candles = self.history(symbol, interval)
        if len(candles) == 0:
            raise DataNotFound(f"{self.directory} has no {interval} bar of {symbol}")
        return int(candles.open_time[0]), int(candles.close_time[-1])

    def findings(self, symbol: str, interval: Interval) -> tuple[Finding, ...]:
        """What was noticed in the files of `symbol` while they became candles of `interval`."""
        self.history(symbol, interval)
        return self._findings[symbol, interval]

    def history(self, symbol: str, interval: Interval) -> Candles:
        """All bars, read once. Raises `DataError` naming the file that cannot be used."""
        key = (symbol, interval)
        if key not in self._candles:
            candles, findings = self._stored(key) if key in self.files.candles else self._resampled(symbol, interval)
            if self.end_ms is not None:
                candles = candles.between(None, self.end_ms - interval.ms + 1)
            self._candles[key], self._findings[key] = candles, findings
        return self._candles[key]

    async def candles(self, symbol: str, interval: Interval, start_ms: int, end_ms: int) -> Candles:
        """Closed bars that open in [start_ms, end_ms)."""
        return self.history(symbol, interval).between(start_ms, end_ms)

    async def funding_rates(self, symbol: str, start_ms: int, end_ms: int) -> tuple[IntArray, FloatArray]:
        """Settled funding in [start_ms, end_ms); empty where there is no file."""
        paths = self.files.funding.get(symbol, ())
        return self._between(self._read_series("funding", symbol, paths, *_FUNDING_COLUMNS), start_ms, end_ms)

    async def open_interest(self, symbol: str, start_ms: int, end_ms: int) -> tuple[IntArray, FloatArray]:
        """Open interest in [start_ms, end_ms); empty where there is no file."""
        paths = self.files.open_interest.get(symbol, ())
        return self._between(self._read_series("open_interest", symbol, paths, *_INTEREST_COLUMNS), start_ms, end_ms)

    async def close(self) -> None:
        """Nothing to release: files are closed as soon as they are read."""

    def _stored(self, key: tuple[str, Interval]) -> tuple[Candles, tuple[Finding, ...]]:
        paths = self.files.candles[key]
        raw = RawBars.joined([_read_bars(path) for path in paths])
        source = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
        cleaned = clean(raw, key[1], source)
        return cleaned.candles, cleaned.findings

    def _resampled(self, symbol: str, interval: Interval) -> tuple[Candles, tuple[Finding, ...]]:
        finer = [known for known in self.intervals(symbol) if divides(known, interval)]
        if not finer:
            have = " ".join(self.intervals(symbol))
            raise DataNotFound(f"no {interval} bars of {symbol} in {self.directory}, nor finer ones; it has {have}")
        candles = min((self.history(symbol, known) for known in finer), key=_reach)
        findings = self._findings[symbol, candles.interval]
        coarse = resample(candles, interval)
        if len(coarse):
            detail = f"{interval} bars made from {candles.interval}"
            made = Finding(FindingKind.RESAMPLED, int(coarse.open_time[0]), int(coarse.open_time[-1]), len(coarse), detail)
            findings = (*findings, made)
        return coarse, findings

    def _read_series(
        self, kind: str, symbol: str, paths: tuple[Path, ...], times: tuple[str, ...], values: tuple[str, ...]
    ) -> Series:
        if (kind, symbol) not in self._series:
            parts = [_parsed(path, lambda content, name: series_from_table(content, name, times, values)) for path in paths]
            stamps = np.concatenate([np.empty(0, dtype=np.int64), *(part[0] for part in parts)])
            numbers = np.concatenate([np.empty(0), *(part[1] for part in parts)])
            instants, first = np.unique(stamps, return_index=True)
            self._series[kind, symbol] = (instants, numbers[first])
        return self._series[kind, symbol]

    def _between(self, series: Series, start_ms: int, end_ms: int) -> Series:
        times, values = series
        last_ms = end_ms if self.end_ms is None else min(end_ms, self.end_ms + 1)
        rows = slice(int(np.searchsorted(times, start_ms)), int(np.searchsorted(times, last_ms)))
        return times[rows], values[rows]


def _reach(candles: Candles) -> tuple[int, int]:
    """Sorts by the first bar, then from fine to coarse."""
    return (int(candles.open_time[0]) if len(candles) else NEVER_MS, candles.interval.ms)


def _read_bars(path: Path) -> RawBars:
    return _parsed(path, bars_from_parquet if path.suffix == ".parquet" else bars_from_csv)


def _parsed(path: Path, parse: Callable[[bytes, str], _T]) -> _T:
    """What `parse(content, name)` makes of a file. Raises one `DataError` that names the file."""
    try:
        return parse(_content(path), str(path))
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or "it ends too early"
        raise DataError(f"cannot read {path}: {reason}") from error


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(content)
    if path.suffix != ".zip":
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [name for name in archive.namelist() if name.endswith(".csv")]
        if len(members) != 1:
            raise MalformedData(f"{path} holds {len(members)} CSV files, expected one")
        return archive.read(members[0])
