"""What a campaign computes from, frozen in the bucket under its content id: candles, funding, regime models.

Any process that has the bucket can do any task and gets the same bits, whatever has happened to the source of the candles
since; regimes are fitted once for an asset, not once for each process.
"""

from __future__ import annotations

from shared.backtest.market import AssetMarket
from shared.backtest.venue_rules import symbol_spec
from shared.data.curation import Series
from shared.data.tables import candles_from_bytes, candles_to_bytes, series_from_bytes, series_to_bytes
from shared.domain.asset import Asset
from shared.domain.errors import Conflict, DataNotFound
from shared.domain.ids import candles_hash, content_id, digest
from shared.domain.interval import Interval
from shared.ports import Bucket

_SERIES = ("funding", "open_interest")


def data_id(market: AssetMarket) -> str:
    """Content id of everything that a campaign reads of a market."""
    series = {name: None if (values := getattr(market, name)) is None else _series_digest(values) for name in _SERIES}
    return content_id("data", str(market.asset), candles_hash(market.candles), series)


def freeze_market(bucket: Bucket, market: AssetMarket) -> str:
    """Keep a market under its id, which is returned; the same market again changes nothing."""
    identity = data_id(market)
    for name in _SERIES:
        if (values := getattr(market, name)) is not None:
            write_once(bucket, _object(identity, name), series_to_bytes(values, name))
    # Last: whoever finds the candles finds the rest.
    write_once(bucket, _object(identity, "candles"), candles_to_bytes(market.candles))
    return identity


def frozen_market(bucket: Bucket, identity: str, asset: Asset, interval: Interval) -> AssetMarket:
    """The market under an id. Raises `DataNotFound`."""
    name = _object(identity, "candles")
    if (stored := bucket.read(name)) is None:
        raise DataNotFound(f"{name} is not in the bucket; start the campaign again with the same command")
    candles = candles_from_bytes(stored.content, interval, name)
    series = {part: _series(bucket, identity, part) for part in _SERIES}
    spec = symbol_spec(asset.symbol, float(candles.open[0]))
    return AssetMarket(asset, candles, spec, series["funding"], series["open_interest"])


def write_once(bucket: Bucket, name: str, content: bytes) -> None:
    """Write an object whose name says its content, unless it is there."""
    if bucket.read(name) is None:
        try:
            bucket.write(name, content, if_generation=0)
        except Conflict:
            return  # another process wrote the same content


def _series(bucket: Bucket, identity: str, part: str) -> Series | None:
    name = _object(identity, part)
    stored = bucket.read(name)
    return None if stored is None else series_from_bytes(stored.content, part, name)


def _series_digest(series: Series) -> str:
    return digest(series[0].tobytes() + series[1].tobytes())


def _object(identity: str, part: str) -> str:
    return f"campaigns/data/{identity}/{part}.parquet"
