"""The market of an asset from the lake, for a campaign that a function plans: what was ingested, and nothing else."""

from __future__ import annotations

from shared.backtest.market import AssetMarket
from shared.backtest.venue_rules import symbol_spec
from shared.data.store import FUNDING, load_series, require_candles
from shared.domain.asset import Asset
from shared.domain.errors import NotEnoughData
from shared.domain.interval import Interval, format_ms
from shared.ports import Bucket

LABEL = "the lake"


def lake_market(bucket: Bucket, asset: Asset, interval: Interval, from_ms: int, end_ms: int) -> AssetMarket:
    """Bars that open in [from_ms, end_ms), the funding that was paid then, the venue's rules.

    Raises `DataNotFound`, and `NotEnoughData` where the lake does not reach over that time.
    """
    candles = require_candles(bucket, asset, interval).between(from_ms, end_ms)
    if not len(candles) or int(candles.open_time[0]) > from_ms or int(candles.close_time[-1]) < end_ms:
        held = (
            f"from {format_ms(int(candles.open_time[0]))} to {format_ms(int(candles.close_time[-1]))}"
            if len(candles)
            else "none"
        )
        raise NotEnoughData(
            f"{asset.symbol}: the lake holds {interval} bars {held}, needed from {format_ms(from_ms)} to {format_ms(end_ms)}; "
            f"fetch them with: ost backfill --interval {interval} --since {format_ms(from_ms)[:10]} --symbols {asset.symbol}"
        )
    times, rates = load_series(bucket, asset, FUNDING)
    known = (times >= from_ms) & (times <= end_ms)
    funding = (times[known], rates[known]) if known.any() else None
    return AssetMarket(asset, candles, symbol_spec(asset.symbol, float(candles.open[0])), funding)
