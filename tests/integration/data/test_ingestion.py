"""From files to the lake: incremental, resumable, concurrent, and unharmed by whatever goes wrong on the way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.adapters.local.bucket import FolderBucket
from shared.adapters.local.clock import VirtualClock
from shared.adapters.local.market_files import FileMarket
from shared.data.findings import FindingKind
from shared.data.generated import GeneratedMarket
from shared.data.ingest_params import IngestParams
from shared.data.ingestion import Progress, ingest_asset, ingest_universe
from shared.data.merge import merge_into
from shared.data.refresh import refresh_curated
from shared.data.store import FUNDING, load_candles, load_frame, load_quality, load_series
from shared.data.tables import candles_to_bytes
from shared.domain.asset import Asset, Universe
from shared.domain.candles import Candles
from shared.domain.errors import ConfigError, DataError, DataNotFound, MalformedData, StorageError, VenueUnreachable
from shared.domain.interval import HOUR_MS, Interval, parse_date_ms

START_MS = parse_date_ms("2025-07-01")
BTC = Asset("binanceusdm", "BTCUSDT")
UNIVERSE = Universe.of("binanceusdm", ("BTCUSDT", "ETHUSDT", "SOLUSDT"))
MarketUntil = Callable[[int], FileMarket]


async def test_everything_arrives_with_its_funding_and_its_report(
    folder: Path, lake: FolderBucket, clock: VirtualClock, generated: GeneratedMarket
) -> None:
    report = await ingest_universe(FileMarket(folder), lake, clock, UNIVERSE, [Interval.H1, Interval.H4], since_ms=START_MS)
    assert report.failed == ()
    assert report.added == 3 * (720 + 180)
    stored = load_candles(lake, BTC, Interval.H1)
    assert stored is not None
    assert np.array_equal(stored.close, generated.history["BTCUSDT"].close)
    assert np.array_equal(load_series(lake, BTC, FUNDING)[1], generated.funding["BTCUSDT"][1])
    quality = load_quality(lake, BTC, Interval.H1)
    assert quality is not None
    assert (quality.rows, quality.missing, quality.kept_out) == (720, 0, 0)
    four_hourly = load_quality(lake, BTC, Interval.H4)
    assert four_hourly is not None
    assert four_hourly.of(FindingKind.RESAMPLED)


async def test_the_lake_itself_is_a_folder_market(
    folder: Path, lake: FolderBucket, clock: VirtualClock, generated: GeneratedMarket
) -> None:
    await ingest_universe(FileMarket(folder), lake, clock, UNIVERSE, [Interval.H1], since_ms=START_MS)
    market = FileMarket(lake.root / "raw" / "binanceusdm")
    assert market.symbols() == ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    assert np.array_equal(market.history("BTCUSDT", Interval.H1).close, generated.history["BTCUSDT"].close)
    assert len((await market.funding_rates("BTCUSDT", 0, 2**53))[0]) == len(generated.funding["BTCUSDT"][0])


async def test_the_same_again_changes_no_byte(folder: Path, lake: FolderBucket, clock: VirtualClock) -> None:
    await ingest_universe(FileMarket(folder), lake, clock, UNIVERSE, [Interval.H1], since_ms=START_MS)
    before = {name: lake.read(name) for name in lake.list()}
    again = await ingest_universe(FileMarket(folder), lake, clock, UNIVERSE, [Interval.H1], since_ms=START_MS)
    assert again.added == 0
    assert {name: lake.read(name) for name in lake.list()} == before


async def test_it_goes_on_from_the_last_stored_bar(market_until: MarketUntil, lake: FolderBucket) -> None:
    clock = VirtualClock(START_MS + 100 * HOUR_MS)
    first = await ingest_asset(market_until(clock.now_ms()), lake, clock, BTC, Interval.H1, since_ms=START_MS)
    assert first.added == 100
    await clock.advance(3 * 3600 + 1800)
    second = await ingest_asset(market_until(clock.now_ms()), lake, clock, BTC, Interval.H1)
    assert second.added == 3
    assert len(load_series(lake, BTC, FUNDING)[0]) == 103 // 8 + 1


async def test_without_a_date_the_default_history_is_fetched(folder: Path, lake: FolderBucket, clock: VirtualClock) -> None:
    params = IngestParams(default_days=2)
    report = await ingest_asset(FileMarket(folder), lake, clock, BTC, Interval.H1, params=params)
    assert report.added == 48


async def test_older_bars_and_holes_are_filled_when_a_date_is_given(
    folder: Path, lake: FolderBucket, clock: VirtualClock, generated: GeneratedMarket
) -> None:
    history = generated.history["BTCUSDT"]
    for part in (history[200:300], history[400:500]):
        merge_into(lake, BTC, part)
    seen: list[Progress] = []
    report = await ingest_asset(
        FileMarket(folder),
        lake,
        clock,
        BTC,
        Interval.H1,
        since_ms=START_MS,
        on_progress=seen.append,
        params=IngestParams(page_bars=150),
    )
    assert report.added == 720 - 200
    assert [(step.done, step.total) for step in seen] == [(150, 520), (200, 520), (300, 520), (450, 520), (520, 520)]


class Interrupted(Exception):
    """Stands for Ctrl-C or a kill between two pages."""


async def test_an_interruption_keeps_the_pages_that_had_arrived(folder: Path, lake: FolderBucket, clock: VirtualClock) -> None:
    def stop(step: Progress) -> None:
        if step.done >= 300:
            raise Interrupted

    with pytest.raises(Interrupted):
        await ingest_asset(
            FileMarket(folder),
            lake,
            clock,
            BTC,
            Interval.H1,
            since_ms=START_MS,
            on_progress=stop,
            params=IngestParams(page_bars=100),
        )
    stored = load_candles(lake, BTC, Interval.H1)
    assert stored is not None
    assert len(stored) == 300
    assert (await ingest_asset(FileMarket(folder), lake, clock, BTC, Interval.H1)).added == 420


async def test_the_open_bar_never_enters_even_if_a_market_sends_it(generated: GeneratedMarket, lake: FolderBucket) -> None:
    clock = VirtualClock(START_MS + 100 * HOUR_MS + 1)
    page = generated.history["BTCUSDT"][:105]
    merged = merge_into(lake, BTC, page, clock.now_ms())
    assert (merged.added, merged.findings[0].kind, merged.findings[0].bars) == (100, FindingKind.OPEN_BAR, 5)


async def test_a_revised_bar_is_reported_and_the_stored_one_stays(
    folder: Path, lake: FolderBucket, clock: VirtualClock, generated: GeneratedMarket
) -> None:
    history = generated.history["BTCUSDT"]
    merge_into(lake, BTC, history[:50])
    close = history.close.copy()
    close[10] = (history.high[10] + history.low[10]) / 2
    FolderBucket(folder).write("BTCUSDT/1h.parquet", candles_to_bytes(replace(history, close=close)))
    merged = merge_into(lake, BTC, replace(history, close=close))
    assert [finding.kind for finding in merged.findings] == [FindingKind.REVISED]
    stored = load_candles(lake, BTC, Interval.H1)
    assert stored is not None
    assert stored.close[10] == history.close[10]


async def test_one_bad_asset_never_stops_the_others_and_is_named(folder: Path, lake: FolderBucket, clock: VirtualClock) -> None:
    (folder / "ETHUSDT" / "1h.parquet").write_bytes(b"broken")
    universe = Universe.of("binanceusdm", ("BTCUSDT", "ETHUSDT", "DOGEUSDT", "SOLUSDT"))
    report = await ingest_universe(FileMarket(folder), lake, clock, universe, [Interval.H1], since_ms=START_MS)
    assert [(failed.asset.symbol, "\n" in failed.error) for failed in report.failed] == [
        ("ETHUSDT", False),
        ("DOGEUSDT", False),
    ]
    assert "not a readable Parquet file" in report.failed[0].error
    assert report.added == 2 * 720
    assert [asset.asset.symbol for asset in report.assets] == ["BTCUSDT", "ETHUSDT", "DOGEUSDT", "SOLUSDT"]


async def test_a_venue_that_cannot_be_reached_leaves_the_lake_as_it_is(
    folder: Path, lake: FolderBucket, clock: VirtualClock
) -> None:
    class Unreachable(FileMarket):
        async def candles(self, symbol: str, interval: Interval, start_ms: int, end_ms: int) -> Candles:
            raise VenueUnreachable("the venue does not answer")

    await ingest_universe(
        FileMarket(folder, end_ms=START_MS + 10 * HOUR_MS), lake, clock, UNIVERSE, [Interval.H1], since_ms=START_MS
    )
    before = {name: lake.read(name) for name in lake.list()}
    report = await ingest_universe(Unreachable(folder), lake, clock, UNIVERSE, [Interval.H1])
    assert [failed.error for failed in report.failed] == ["the venue does not answer"] * 3
    assert {name: lake.read(name) for name in lake.list()} == before


async def test_a_disk_that_refuses_is_reported_and_harms_nothing(folder: Path, lake: FolderBucket, clock: VirtualClock) -> None:
    class FullDisk(FolderBucket):
        def write(self, name: str, content: bytes, *, if_generation: int | None = None) -> int:
            raise StorageError(f"cannot write {name}: the disk is full; the stored object is unchanged")

    await ingest_universe(
        FileMarket(folder, end_ms=START_MS + 10 * HOUR_MS), lake, clock, UNIVERSE, [Interval.H1], since_ms=START_MS
    )
    report = await ingest_universe(FileMarket(folder), FullDisk(lake.root), clock, UNIVERSE, [Interval.H1])
    assert all("the disk is full" in failed.error for failed in report.failed)
    assert len(report.failed) == 3
    stored = load_candles(lake, BTC, Interval.H1)
    assert stored is not None
    assert len(stored) == 10


async def test_a_damaged_stored_object_is_named_and_not_overwritten(
    folder: Path, lake: FolderBucket, clock: VirtualClock
) -> None:
    lake.write(BTC.path("raw", Interval.H1), b"damaged")
    with pytest.raises(MalformedData, match=r"raw/binanceusdm/BTCUSDT/1h/data\.parquet is not a readable Parquet file"):
        await ingest_asset(FileMarket(folder), lake, clock, BTC, Interval.H1, since_ms=START_MS)
    stored = lake.read(BTC.path("raw", Interval.H1))
    assert stored is not None
    assert stored.content == b"damaged"


def test_writers_at_the_same_time_lose_no_bar(generated: GeneratedMarket, tmp_path: Path) -> None:
    history = generated.history["BTCUSDT"]
    writers = [
        threading.Thread(target=merge_into, args=(FolderBucket(tmp_path / "lake"), BTC, history[part * 90 : part * 90 + 120]))
        for part in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    stored = load_candles(FolderBucket(tmp_path / "lake"), BTC, Interval.H1)
    assert stored is not None
    assert np.array_equal(stored.close, history.close)


async def test_curation_follows_the_raw_bars_and_a_failure_leaves_both(
    folder: Path, lake: FolderBucket, clock: VirtualClock
) -> None:
    with pytest.raises(DataNotFound, match="ost backfill --interval 1h"):
        refresh_curated(lake, BTC, Interval.H1)
    await ingest_asset(FileMarket(folder), lake, clock, BTC, Interval.H1, since_ms=START_MS)
    assert refresh_curated(lake, BTC, Interval.H1).changed
    assert not refresh_curated(lake, BTC, Interval.H1).changed
    frame = load_frame(lake, BTC, Interval.H1)
    assert frame is not None
    assert len(frame) == 720
    assert np.isfinite(frame["funding_rate"][-1])
    before = lake.read(BTC.path("curated", Interval.H1))
    raw = BTC.path("raw", Interval.H1)
    lake.write(raw, b"damaged")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        refresh_curated(lake, BTC, Interval.H1)
    assert lake.read(BTC.path("curated", Interval.H1)) == before


@pytest.mark.parametrize("name", ["page_bars", "concurrency", "default_days"])
def test_impossible_parameters_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"ingest\.{name} must be at least 1, found 0"):
        IngestParams(**{name: 0})
