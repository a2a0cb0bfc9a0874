"""A round of ingestion in pieces: the universe is cut into shards, and each shard tells what the lake now holds of its assets.

A shard can be done again at any time: it fetches what is missing, and tells the state of the lake, not what it added, so that a
shard which was killed between the two tells it the next time. The same state has the same event.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from shared.data.ingest_params import IngestParams
from shared.data.ingestion import AssetReport, ingest_universe
from shared.domain.asset import Asset, Universe
from shared.domain.data_events import CandlesIngested, CandlesRequested
from shared.domain.interval import MINUTE_MS, Interval
from shared.ports import Bucket, Bus, Clock, MarketData

TURN_MS = 15 * MINUTE_MS
"""Longer than the time over which a venue counts what it grants apart, and all rounds of a full hour lie in one"""


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What became of a shard."""

    assets: tuple[AssetReport, ...]
    told: tuple[CandlesIngested, ...]
    """what was published"""

    @property
    def failed(self) -> tuple[AssetReport, ...]:
        """Those that have an error."""
        return tuple(report for report in self.assets if report.error)

    @property
    def is_to_be_repeated(self) -> bool:
        """Whether an asset failed for a reason that passes."""
        return any(report.is_passing for report in self.assets)


def shards(universe: Universe, interval: Interval, slot_ms: int, params: IngestParams) -> list[CandlesRequested]:
    """The requests of a round: shards of nearly equal size, none larger than `params.shard_assets`."""
    assets = universe.assets
    count = -(-len(assets) // params.shard_assets)
    edges = [len(assets) * number // count for number in range(count + 1)]
    return [
        CandlesRequested(Universe(assets[start:end]), interval, slot_ms, number, count)
        for number, (start, end) in enumerate(pairwise(edges))
    ]


async def request_round(bus: Bus, universe: Universe, interval: Interval, slot_ms: int, params: IngestParams) -> int:
    """Publish the requests of a round; how many there were. Raises `BusUnavailable`: those before may come twice."""
    requests = shards(universe, interval, slot_ms, params)
    for request in requests:
        await bus.publish(request.made())
    return len(requests)


async def ingest_shard(
    market: MarketData, bucket: Bucket, clock: Clock, bus: Bus, request: CandlesRequested, params: IngestParams
) -> ShardReport:
    """Fetch what the lake lacks of a shard, and publish what it holds now of each asset whose bars could be fetched.

    Nothing newer than its slot is asked for, however late it is done, and nothing is published where a later round has been
    there already. Failures are in the report. Raises `BusUnavailable`.
    """
    turn = whose_turn(request, params)
    found = await ingest_universe(
        market,
        bucket,
        clock,
        request.universe,
        [request.interval],
        until_ms=request.slot_ms,
        params=params,
        series_of=turn,
    )
    told = _news(found.assets, request)
    for news in told:
        await bus.publish(news.made())
    return ShardReport(found.assets, told)


def whose_turn(request: CandlesRequested, params: IngestParams) -> frozenset[Asset]:
    """The assets of a shard whose funding and open interest are asked for in the quarter of an hour of its slot.

    Turns are 1, 5, 7, 11 …: with these numbers everybody's turn comes whether rounds are made each quarter, hour, or day.
    """
    assets = request.universe.assets
    turns = 1
    while turns < len(assets) and request.shards * -(-len(assets) // turns) > params.series_assets:
        turns += 2 if turns % 6 == 5 else 4
    return frozenset(assets[request.slot_ms // TURN_MS % turns :: turns])


def _news(reports: Sequence[AssetReport], request: CandlesRequested) -> tuple[CandlesIngested, ...]:
    newest_ms = request.interval.floor(request.slot_ms)
    return tuple(
        CandlesIngested(report.asset, report.interval, report.last_close_ms, report.data_hash)
        for report in reports
        if report.last_close_ms is not None and (report.added or report.last_close_ms <= newest_ms)
    )
