"""Dataset versions: immutable, comparable, restorable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shared.adapters.local.bucket import FolderBucket
from shared.adapters.local.clock import VirtualClock
from shared.adapters.local.market_files import FileMarket
from shared.data.dataset_diff import diff
from shared.data.datasets import Snapshot, list_snapshots, load_snapshot, restore, take_snapshot
from shared.data.ingestion import ingest_universe
from shared.data.refresh import refresh_curated
from shared.data.store import load_candles
from shared.data.tables import candles_to_bytes
from shared.domain.asset import Asset, Universe
from shared.domain.errors import DataNotFound, MalformedData, UsageError
from shared.domain.interval import HOUR_MS, Interval, parse_date_ms

START_MS = parse_date_ms("2025-07-01")
BTC = Asset("binanceusdm", "BTCUSDT")


async def fill(lake: FolderBucket, market: FileMarket, symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT")) -> None:
    clock = VirtualClock(START_MS + 720 * HOUR_MS)
    await ingest_universe(market, lake, clock, Universe.of("binanceusdm", symbols), [Interval.H1], since_ms=START_MS)
    for symbol in symbols:
        refresh_curated(lake, Asset("binanceusdm", symbol), Interval.H1)


def keep(lake: FolderBucket, label: str, now_ms: int = 1) -> Snapshot:
    return take_snapshot(lake, label, code_version="1.0", now_ms=now_ms)


@pytest.fixture
async def filled(lake: FolderBucket, market_until: Callable[[int], FileMarket]) -> FolderBucket:
    await fill(lake, market_until(START_MS + 500 * HOUR_MS))
    return lake


async def test_a_snapshot_knows_its_rows_hashes_and_code(filled: FolderBucket) -> None:
    snapshot = keep(filled, "before")
    names = [member.name for member in snapshot.members]
    assert names == [
        "raw/binanceusdm/BTCUSDT/1h/data.parquet",
        "raw/binanceusdm/BTCUSDT/funding/data.parquet",
        "raw/binanceusdm/ETHUSDT/1h/data.parquet",
        "raw/binanceusdm/ETHUSDT/funding/data.parquet",
        "curated/binanceusdm/BTCUSDT/1h/data.parquet",
        "curated/binanceusdm/ETHUSDT/1h/data.parquet",
    ]
    assert (snapshot.members[0].rows, snapshot.members[0].first_ms) == (500, START_MS)
    assert snapshot.members[0].last_ms == START_MS + 499 * HOUR_MS
    assert load_snapshot(filled, "before") == snapshot


async def test_a_label_is_written_once(filled: FolderBucket) -> None:
    first = keep(filled, "before")
    with pytest.raises(UsageError, match="the dataset before exists and is immutable"):
        keep(filled, "before")
    assert keep(filled, "again", now_ms=2).content == first.content
    assert [snapshot.label for snapshot in list_snapshots(filled)] == ["before", "again"]


@pytest.mark.parametrize("label", ["", "a b", "../x", "x" * 61, ".hidden"])
def test_a_malformed_label_is_refused(lake: FolderBucket, label: str) -> None:
    with pytest.raises(UsageError, match="is no label"):
        keep(lake, label)


def test_nothing_cannot_be_kept(lake: FolderBucket) -> None:
    with pytest.raises(DataNotFound, match="there is nothing to keep"):
        keep(lake, "empty")
    assert lake.list() == []


async def test_an_unknown_label_names_the_known_ones(filled: FolderBucket) -> None:
    keep(filled, "before")
    with pytest.raises(DataNotFound, match="there is no dataset 'nope'; known: before"):
        load_snapshot(filled, "nope")


async def test_a_difference_tells_new_rows_from_rewritten_ones(
    filled: FolderBucket, market_until: Callable[[int], FileMarket]
) -> None:
    before = keep(filled, "before")
    await fill(filled, market_until(START_MS + 600 * HOUR_MS), ("BTCUSDT", "ETHUSDT", "SOLUSDT"))
    candles = load_candles(filled, BTC, Interval.H1)
    assert candles is not None
    candles.volume[7] *= 2
    filled.write(BTC.path("raw", Interval.H1), candles_to_bytes(candles))
    after = keep(filled, "after", now_ms=2)
    found = diff(filled, before, after)
    assert [name for name in found.added if "SOLUSDT" not in name] == []
    assert found.removed == ()
    by_name = {changed.name: changed for changed in found.changed}
    rewritten = by_name["raw/binanceusdm/BTCUSDT/1h/data.parquet"]
    assert (rewritten.rows_before, rewritten.rows_after, rewritten.rows_added, rewritten.rows_removed) == (500, 600, 100, 0)
    assert rewritten.changed == {"volume": 1}
    assert rewritten.largest == {"volume": 0.5}
    assert by_name["raw/binanceusdm/ETHUSDT/1h/data.parquet"].changed == {}
    assert diff(filled, before, before).is_empty


async def test_restoring_brings_the_bytes_back(filled: FolderBucket, market_until: Callable[[int], FileMarket]) -> None:
    keep(filled, "before")
    kept = {name: filled.read(name) for name in filled.list("raw/") if name.endswith(".parquet")}
    await fill(filled, market_until(START_MS + 600 * HOUR_MS))
    filled.delete(BTC.path("raw", Interval.H1))
    assert len(restore(filled, "before")) == 6
    for name, stored in kept.items():
        restored = filled.read(name)
        assert stored is not None
        assert restored is not None
        assert restored.content == stored.content
    assert restore(filled, "before") == []


async def test_a_damaged_snapshot_restores_nothing(filled: FolderBucket, lake: FolderBucket) -> None:
    snapshot = keep(filled, "before")
    filled.write(BTC.path("raw", Interval.H1), b"newer")
    victim = snapshot.members[-1].sha256
    path = Path(lake.root) / "datasets" / "objects" / victim[:2] / f"{victim}.parquet"
    path.write_bytes(b"altered")
    with pytest.raises(MalformedData, match="was altered"):
        restore(filled, "before")
    stored = filled.read(BTC.path("raw", Interval.H1))
    assert stored is not None
    assert stored.content == b"newer"
