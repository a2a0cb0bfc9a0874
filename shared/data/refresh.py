"""From raw to curated for one asset, inside the lake. A failure leaves the raw bars and the last good frame as they were.

A frame is a function of what is stored, so that curating again changes nothing, and whoever curates after a later ingestion has
covered every earlier one.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.data.curation import curate
from shared.data.params import CurationParams
from shared.data.store import CURATED, FUNDING, OPEN_INTEREST, load_series, require_candles, update
from shared.data.tables import frame_to_bytes
from shared.domain.asset import Asset
from shared.domain.candles import Candles
from shared.domain.data_events import CandlesCurated, CandlesIngested
from shared.domain.frame import Frame
from shared.domain.ids import frame_hash
from shared.domain.interval import Interval
from shared.ports import Bucket


@dataclass(frozen=True, eq=False)
class Refreshed:
    """The new frame, and whether it differs from what was stored."""

    frame: Frame
    changed: bool


def curate_ingested(bucket: Bucket, news: CandlesIngested, params: CurationParams) -> CandlesCurated | None:
    """`refresh_curated` for bars that were ingested, and what is to be told of it; `None` where newer ones are stored already.

    Those have, or will have, news of their own. Errors: as `refresh_curated`.
    """
    candles = require_candles(bucket, news.asset, news.interval)
    if len(candles) and int(candles.close_time[-1]) > news.last_close_ms:
        return None
    frame = _refreshed(bucket, news.asset, candles, params).frame
    return CandlesCurated(news.asset, news.interval, int(frame.close_time[-1]), frame_hash(frame)) if len(frame) else None


def refresh_curated(bucket: Bucket, asset: Asset, interval: Interval, params: CurationParams | None = None) -> Refreshed:
    """Curate the stored raw bars of `asset` and store the frame.

    Raises `DataNotFound` where nothing is stored, other `DataError`s where it cannot be used, `StorageError`, `Conflict`.
    """
    return _refreshed(bucket, asset, require_candles(bucket, asset, interval), params or CurationParams())


def _refreshed(bucket: Bucket, asset: Asset, candles: Candles, params: CurationParams) -> Refreshed:
    funding = load_series(bucket, asset, FUNDING)
    open_interest = load_series(bucket, asset, OPEN_INTEREST)
    frame = curate(
        candles,
        params,
        funding=funding if len(funding[0]) else None,
        open_interest=open_interest if len(open_interest[0]) else None,
    )
    content = frame_to_bytes(frame)
    changed = False

    def change(stored: bytes | None) -> bytes:
        nonlocal changed
        changed = stored != content
        return content

    update(bucket, asset.path(CURATED, candles.interval), change)
    return Refreshed(frame, changed)
