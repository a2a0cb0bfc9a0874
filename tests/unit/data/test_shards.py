"""A round of ingestion in shards: how they are cut, what a shard tells, and that it tells the same when it is done again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.local.bucket import FolderBucket
from shared.adapters.local.clock import VirtualClock
from shared.data.generated import generate_market
from shared.data.ingest_params import IngestParams
from shared.data.ingestion import ingest_universe
from shared.data.params import CurationParams
from shared.data.quality import assess
from shared.data.refresh import curate_ingested
from shared.data.shards import ingest_shard, request_round, shards
from shared.data.store import FUNDING, load_candles, load_frame, load_series
from shared.domain.asset import Universe
from shared.domain.candles import Candles
from shared.domain.data_events import CandlesIngested, CandlesRequested
from shared.domain.errors import (
    BusUnavailable,
    DataNotFound,
    MalformedData,
    RateLimited,
    StorageError,
    StorageForbidden,
    VenueRejected,
    VenueUnreachable,
)
from shared.domain.events import Event
from shared.domain.ids import candles_hash, frame_hash
from shared.domain.interval import HOUR_MS, Interval, parse_date_ms
from shared.ports import StoredObject

START_MS = parse_date_ms("2025-07-01")
BARS = 72
SLOT_MS = START_MS + 48 * HOUR_MS
TWO = Universe.of("generated", ("BTCUSDT", "ETHUSDT"))
PARAMS = IngestParams(default_days=10)


class Bus:
    """Keeps what was published; refuses what comes after `takes` events."""

    def __init__(self, takes: int = 10**9) -> None:
        self.events: list[Event] = []
        self.takes = takes

    async def publish(self, event: Event) -> None:
        if len(self.events) >= self.takes:
            raise BusUnavailable("away")
        self.events.append(event)


class Market:
    """A generated market whose symbols can fail; `asked` are the series that it was asked for."""

    def __init__(self, until_ms: int = SLOT_MS, **errors: Exception) -> None:
        self.market = generate_market(np.random.default_rng(3), ("BTCUSDT", "ETHUSDT"), Interval.H1, START_MS, BARS)
        self.until_ms, self.errors, self.asked = until_ms, errors, list[str]()

    async def candles(self, symbol: str, interval: Interval, start_ms: int, end_ms: int) -> Candles:
        if symbol in self.errors:
            raise self.errors[symbol]
        return await self.market.candles(symbol, interval, start_ms, min(end_ms, self.until_ms))

    async def funding_rates(self, symbol: str, start_ms: int, end_ms: int):  # type: ignore[no-untyped-def]
        self.asked.append(f"funding {symbol}")
        if f"{symbol}_funding" in self.errors:
            raise self.errors[f"{symbol}_funding"]
        return await self.market.funding_rates(symbol, start_ms, min(end_ms, self.until_ms + 1))

    async def open_interest(self, symbol: str, start_ms: int, end_ms: int):  # type: ignore[no-untyped-def]
        return await self.market.open_interest(symbol, start_ms, end_ms)

    async def close(self) -> None: ...


@pytest.fixture
def lake(tmp_path: Path) -> FolderBucket:
    return FolderBucket(tmp_path)


@given(st.integers(1, 400), st.integers(1, 60))
def test_shards_are_the_universe_in_order_of_nearly_equal_size_and_never_too_large(assets: int, most: int) -> None:
    universe = Universe.of("generated", tuple(f"A{number:04}USDT" for number in range(assets)))
    made = shards(universe, Interval.H1, SLOT_MS, replace(PARAMS, shard_assets=most))
    assert [asset for request in made for asset in request.universe] == list(universe)
    sizes = [len(request.universe) for request in made]
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
    assert [(request.shard, request.shards) for request in made] == [(number, len(made)) for number in range(len(made))]
    assert len({request.made().id for request in made}) == len(made)


def test_a_thousand_assets_are_twenty_shards_of_fifty() -> None:
    universe = Universe.of("generated", tuple(f"A{number:04}USDT" for number in range(1000)))
    assert [len(request.universe) for request in shards(universe, Interval.H1, SLOT_MS, IngestParams())] == [50] * 20


async def test_the_same_slot_requests_the_same_events() -> None:
    first, second = Bus(), Bus()
    for bus in (first, second):
        assert await request_round(bus, TWO, Interval.H1, SLOT_MS, replace(PARAMS, shard_assets=1)) == 2
    assert first.events == second.events


REQUEST = CandlesRequested(TWO, Interval.H1, SLOT_MS, 0, 1)


async def test_a_shard_tells_what_the_lake_holds_and_the_same_again(lake: FolderBucket) -> None:
    bus = Bus()
    for _ in range(2):
        report = await ingest_shard(Market(), lake, VirtualClock(SLOT_MS), bus, REQUEST, PARAMS)
        assert not report.is_to_be_repeated
    assert bus.events[:2] == bus.events[2:]
    news = CandlesIngested.of(bus.events[0])
    stored = load_candles(lake, news.asset, Interval.H1)
    assert stored is not None
    assert (news.last_close_ms, news.data_hash) == (SLOT_MS, candles_hash(stored))


async def test_killed_between_the_lake_and_the_bus_a_shard_tells_it_the_next_time(lake: FolderBucket) -> None:
    with pytest.raises(BusUnavailable):
        await ingest_shard(Market(), lake, VirtualClock(SLOT_MS), Bus(takes=1), REQUEST, PARAMS)
    bus = Bus()
    report = await ingest_shard(Market(), lake, VirtualClock(SLOT_MS), bus, REQUEST, PARAMS)
    assert [asset.added for asset in report.assets] == [0, 0]
    assert [event.subject for event in bus.events] == ["generated:BTCUSDT/1h", "generated:ETHUSDT/1h"]


async def test_an_older_request_that_comes_late_tells_nothing(lake: FolderBucket) -> None:
    later = SLOT_MS + 2 * HOUR_MS
    await ingest_shard(Market(later), lake, VirtualClock(later), Bus(), replace(REQUEST, slot_ms=later), PARAMS)
    bus = Bus()
    await ingest_shard(Market(later), lake, VirtualClock(later), bus, REQUEST, PARAMS)
    assert bus.events == []


async def test_a_shard_that_is_done_late_brings_what_was_closed_at_its_slot(lake: FolderBucket) -> None:
    later = SLOT_MS + 2 * HOUR_MS
    bus = Bus()
    await ingest_shard(Market(later), lake, VirtualClock(later), bus, replace(REQUEST, slot_ms=SLOT_MS + 60_000), PARAMS)
    assert [CandlesIngested.of(event).last_close_ms for event in bus.events] == [SLOT_MS, SLOT_MS]
    stored = load_candles(lake, TWO.assets[0], Interval.H1)
    assert stored is not None
    assert int(stored.close_time[-1]) == SLOT_MS
    assert load_series(lake, TWO.assets[0], FUNDING)[0].max() <= SLOT_MS + 60_000


async def test_a_slot_ahead_of_the_clock_brings_no_open_bar(lake: FolderBucket) -> None:
    ahead = replace(REQUEST, slot_ms=SLOT_MS + 2 * HOUR_MS)
    report = await ingest_shard(Market(SLOT_MS + 5 * HOUR_MS), lake, VirtualClock(SLOT_MS), Bus(), ahead, PARAMS)
    assert [asset.last_close_ms for asset in report.assets] == [SLOT_MS, SLOT_MS]


@pytest.mark.parametrize("denied", [True, False])
async def test_a_lake_without_rights_needs_help_and_one_that_is_away_does_not(lake: FolderBucket, denied: bool) -> None:
    class Refusing(FolderBucket):
        def read(self, name: str) -> StoredObject | None:
            raise StorageForbidden("permission denied") if denied else StorageError("away")

    report = await ingest_shard(Market(), Refusing(lake.root), VirtualClock(SLOT_MS), Bus(), REQUEST, PARAMS)
    assert [(asset.is_passing, asset.needs_help) for asset in report.failed] == [(True, denied), (True, denied)]


@pytest.mark.parametrize(
    ("error", "repeated"), [(VenueUnreachable("away"), True), (VenueRejected("delisted"), False), (MalformedData("odd"), False)]
)
async def test_one_bad_asset_never_stops_the_others(lake: FolderBucket, error: Exception, repeated: bool) -> None:
    bus = Bus()
    report = await ingest_shard(Market(BTCUSDT=error), lake, VirtualClock(SLOT_MS), bus, REQUEST, PARAMS)
    assert [event.subject for event in bus.events] == ["generated:ETHUSDT/1h"]
    assert [(failed.asset.symbol, failed.error) for failed in report.failed] == [("BTCUSDT", str(error))]
    assert report.is_to_be_repeated is repeated


async def test_curating_tells_the_frame_once_and_older_news_change_nothing(lake: FolderBucket) -> None:
    btc = TWO.assets[0]
    await ingest_universe(Market(), lake, VirtualClock(SLOT_MS), TWO, [Interval.H1], params=PARAMS)
    news = CandlesIngested(btc, Interval.H1, SLOT_MS, "c-1")
    told = curate_ingested(lake, news, CurationParams())
    frame = load_frame(lake, btc, Interval.H1)
    assert told is not None
    assert frame is not None
    assert (told.last_close_ms, told.data_hash) == (SLOT_MS, frame_hash(frame))
    generation = lake.read(f"curated/generated/{btc.symbol}/1h/data.parquet").generation  # type: ignore[union-attr]
    assert curate_ingested(lake, news, CurationParams()) == told
    assert curate_ingested(lake, replace(news, last_close_ms=SLOT_MS - HOUR_MS), CurationParams()) is None
    assert lake.read(f"curated/generated/{btc.symbol}/1h/data.parquet").generation == generation  # type: ignore[union-attr]


def test_news_of_bars_that_are_not_there_are_refused(lake: FolderBucket) -> None:
    with pytest.raises(DataNotFound):
        curate_ingested(lake, CandlesIngested(TWO.assets[0], Interval.H1, SLOT_MS, "c-1"), CurationParams())


def test_gaps_of_a_report_reach_to_the_newest_closed_bar() -> None:
    market = generate_market(np.random.default_rng(3), ("BTCUSDT",), Interval.H1, START_MS, BARS)
    whole = market.history["BTCUSDT"]
    holed = whole[:10].followed_by(whole[13:40])
    report = assess(holed)
    inner, tail = report.gaps(START_MS, START_MS + 44 * HOUR_MS + 5)
    assert (inner.start_ms, inner.end_ms, inner.missing) == (START_MS + 10 * HOUR_MS, START_MS + 13 * HOUR_MS, 3)
    assert (tail.start_ms, tail.end_ms, tail.missing) == (START_MS + 40 * HOUR_MS, START_MS + 44 * HOUR_MS, 4)
    assert report.gaps(START_MS + 13 * HOUR_MS, START_MS + 40 * HOUR_MS + 5) == []
    assert assess(Candles.empty(Interval.H1)).gaps(0, START_MS) == []


async def test_funding_is_asked_for_only_when_the_next_one_is_due(lake: FolderBucket) -> None:
    one = Universe.of("generated", ("BTCUSDT",))
    asked = {}
    for hours in range(40, 60):
        now_ms = START_MS + hours * HOUR_MS
        market = Market(now_ms)
        request = CandlesRequested(one, Interval.H1, now_ms, 0, 1)
        await ingest_shard(market, lake, VirtualClock(now_ms + 60_000), Bus(), request, PARAMS)
        asked[hours] = len(market.asked)
    stored = load_series(lake, one.assets[0], FUNDING)[0]
    expected = Market().market.funding["BTCUSDT"][0]
    assert np.array_equal(stored, expected[(expected >= stored[0]) & (expected <= START_MS + 59 * HOUR_MS + 60_000)])
    assert {hours for hours, count in asked.items() if count} == {40, 48, 56}


async def test_bars_are_told_although_their_funding_has_to_wait(lake: FolderBucket) -> None:
    bus = Bus()
    market = Market(BTCUSDT_funding=RateLimited("slow down"))
    report = await ingest_shard(market, lake, VirtualClock(SLOT_MS), bus, REQUEST, PARAMS)
    assert [event.subject for event in bus.events] == ["generated:BTCUSDT/1h", "generated:ETHUSDT/1h"]
    assert [(failed.asset.symbol, failed.error) for failed in report.failed] == [("BTCUSDT", "slow down")]
    assert report.is_to_be_repeated
