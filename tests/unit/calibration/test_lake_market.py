"""The market of a campaign that a function plans: exactly the bars of the period from the lake, or what to fetch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.adapters.local.bucket import FolderBucket
from shared.calibration.lake_market import lake_market
from shared.data.generated import generate_market
from shared.data.merge import merge_into, merge_series
from shared.data.store import FUNDING
from shared.domain.asset import Asset
from shared.domain.errors import DataNotFound, NotEnoughData
from shared.domain.interval import HOUR_MS, Interval, parse_date_ms

BTC = Asset("generated", "BTCUSDT")
START_MS = parse_date_ms("2025-07-01")
END_MS = START_MS + 100 * HOUR_MS


@pytest.fixture
def lake(tmp_path: Path) -> FolderBucket:
    bucket = FolderBucket(tmp_path)
    market = generate_market(np.random.default_rng(3), ("BTCUSDT",), Interval.H1, START_MS, 100)
    merge_into(bucket, BTC, market.history["BTCUSDT"])
    merge_series(bucket, BTC, FUNDING, market.funding["BTCUSDT"])
    return bucket


def test_it_holds_the_bars_and_the_funding_of_the_period(lake: FolderBucket) -> None:
    from_ms, end_ms = START_MS + 10 * HOUR_MS, START_MS + 90 * HOUR_MS
    market = lake_market(lake, BTC, Interval.H1, from_ms, end_ms)
    assert (int(market.candles.open_time[0]), int(market.candles.close_time[-1]), len(market.candles)) == (from_ms, end_ms, 80)
    assert market.funding is not None
    assert from_ms <= market.funding[0].min() <= market.funding[0].max() <= end_ms


@pytest.mark.parametrize(("from_ms", "end_ms"), [(START_MS - HOUR_MS, END_MS), (START_MS, END_MS + HOUR_MS)])
def test_a_lake_that_does_not_reach_says_how_to_fill_it(lake: FolderBucket, from_ms: int, end_ms: int) -> None:
    with pytest.raises(NotEnoughData, match=r"the lake holds 1h bars from .*; fetch them with: ost backfill --interval 1h"):
        lake_market(lake, BTC, Interval.H1, from_ms, end_ms)


def test_an_empty_lake_or_period_is_named(lake: FolderBucket, tmp_path: Path) -> None:
    with pytest.raises(DataNotFound):
        lake_market(FolderBucket(tmp_path / "empty"), BTC, Interval.H1, START_MS, END_MS)
    with pytest.raises(NotEnoughData, match="holds 1h bars none"):
        lake_market(lake, BTC, Interval.H1, END_MS, END_MS + HOUR_MS)
