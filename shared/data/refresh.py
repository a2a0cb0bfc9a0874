"""From raw to curated for one asset, inside the lake. A failure leaves the raw bars and the last good frame as they were."""

from __future__ import annotations

from dataclasses import dataclass

from shared.data.curation import curate
from shared.data.params import CurationParams
from shared.data.store import CURATED, FUNDING, OPEN_INTEREST, load_series, require_candles, update
from shared.data.tables import frame_to_bytes
from shared.domain.asset import Asset
from shared.domain.frame import Frame
from shared.domain.interval import Interval
from shared.ports import Bucket


@dataclass(frozen=True, eq=False)
class Refreshed:
    """The new frame, and whether it differs from what was stored."""

    frame: Frame
    changed: bool


def refresh_curated(bucket: Bucket, asset: Asset, interval: Interval, params: CurationParams | None = None) -> Refreshed:
    """Curate the stored raw bars of `asset` and store the frame.

    Raises `DataNotFound` where nothing is stored, other `DataError`s where it cannot be used, `StorageError`, `Conflict`.
    """
    candles = require_candles(bucket, asset, interval)
    funding = load_series(bucket, asset, FUNDING)
    open_interest = load_series(bucket, asset, OPEN_INTEREST)
    frame = curate(
        candles,
        params or CurationParams(),
        funding=funding if len(funding[0]) else None,
        open_interest=open_interest if len(open_interest[0]) else None,
    )
    content = frame_to_bytes(frame)
    changed = False

    def change(stored: bytes | None) -> bytes:
        nonlocal changed
        changed = stored != content
        return content

    update(bucket, asset.path(CURATED, interval), change)
    return Refreshed(frame, changed)
