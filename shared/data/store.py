"""Where the lake keeps things, and reading them: `raw/…`, `curated/…`, quality reports, funding and open interest.

Writing goes through `update`, the one compare-and-swap loop of the data room: read, compute, write if nobody was faster, else
again from the start. Two writers can therefore never lose each other's bars.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shared.data.quality import QualityReport
from shared.data.tables import Series, candles_from_bytes, frame_from_bytes, series_from_bytes
from shared.domain.asset import Asset
from shared.domain.candles import Candles
from shared.domain.errors import Conflict, DataNotFound
from shared.domain.frame import Frame
from shared.domain.interval import Interval
from shared.ports import Bucket

RAW = "raw"
CURATED = "curated"
FUNDING = ("funding", "funding_rate")
OPEN_INTEREST = ("open_interest", "open_interest")
"""Folder and value column of a stored series."""

MAX_ATTEMPTS = 20


def series_path(asset: Asset, folder: str) -> str:
    """Object name of a series: `raw/{venue}/{symbol}/{funding|open_interest}/data.parquet`."""
    return f"{RAW}/{asset.venue}/{asset.symbol}/{folder}/data.parquet"


def quality_path(asset: Asset, interval: Interval) -> str:
    """Object name of the quality report, beside the raw bars."""
    return asset.path(RAW, interval).replace("data.parquet", "quality.json")


def load_candles(bucket: Bucket, asset: Asset, interval: Interval) -> Candles | None:
    """The stored raw bars; `None` where there are none. Raises `MalformedData` where they cannot be read."""
    name = asset.path(RAW, interval)
    stored = bucket.read(name)
    return None if stored is None else candles_from_bytes(stored.content, interval, name)


def require_candles(bucket: Bucket, asset: Asset, interval: Interval) -> Candles:
    """The stored raw bars. Raises `DataNotFound` where there are none."""
    candles = load_candles(bucket, asset, interval)
    if candles is None:
        raise DataNotFound(f"no {interval} bars of {asset} are stored; fetch them with: ost backfill --interval {interval}")
    return candles


def load_frame(bucket: Bucket, asset: Asset, interval: Interval) -> Frame | None:
    """The stored curated frame; `None` where there is none."""
    name = asset.path(CURATED, interval)
    stored = bucket.read(name)
    return None if stored is None else frame_from_bytes(stored.content, interval, name)


def load_series(bucket: Bucket, asset: Asset, kind: tuple[str, str]) -> Series:
    """The stored series of a `kind` (`FUNDING`, `OPEN_INTEREST`); empty where there is none."""
    folder, value = kind
    name = series_path(asset, folder)
    stored = bucket.read(name)
    if stored is None:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64)
    return series_from_bytes(stored.content, value, name)


def load_quality(bucket: Bucket, asset: Asset, interval: Interval) -> QualityReport | None:
    """The stored quality report; `None` where there is none."""
    name = quality_path(asset, interval)
    stored = bucket.read(name)
    return None if stored is None else QualityReport.from_json(stored.content, name)


def update(bucket: Bucket, name: str, change: Callable[[bytes | None], bytes | None]) -> None:
    """Replace an object by `change(stored content or None)`; `None` from it leaves the object alone.

    `change` is called again with the newer content each time that another writer was faster. Raises `Conflict` after
    `MAX_ATTEMPTS` lost races, and whatever `change` raises.
    """
    for _ in range(MAX_ATTEMPTS):
        stored = bucket.read(name)
        content = change(None if stored is None else stored.content)
        if content is None or (stored is not None and content == stored.content):
            return
        try:
            bucket.write(name, content, if_generation=stored.generation if stored else 0)
        except Conflict:
            continue
        return
    raise Conflict(f"{name}: {MAX_ATTEMPTS} writers in a row were faster; run it again when fewer of them are active")
