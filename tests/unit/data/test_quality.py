"""Gaps, frozen bars, outliers and the report that holds them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.local.market_files import FileMarket
from shared.data.anomalies import MAX_LISTED, frozen_rows, frozen_runs, frozen_since, outliers
from shared.data.findings import Finding, FindingKind
from shared.data.gaps import inner_gaps, missing_ranges
from shared.data.quality import QualityReport, assess
from shared.domain.candles import Candles
from shared.domain.errors import MalformedData
from shared.domain.interval import HOUR_MS, Interval, parse_date_ms

MakeCandles = Callable[..., Candles]


def frozen(candles: Candles, rows: slice) -> Candles:
    """`candles` with flat bars without volume in `rows`."""
    columns = {name: getattr(candles, name).copy() for name in ("open", "high", "low", "close", "volume")}
    for name in ("open", "high", "low", "close"):
        columns[name][rows] = columns["close"][rows.start - 1] if rows.start else 1.0
    columns["volume"][rows] = 0.0
    return replace(candles, **columns)


def test_holes_are_found_with_their_length(make_candles: MakeCandles) -> None:
    candles = make_candles(50, without=(5, 6, 7, 20))
    start = int(candles.open_time[0])
    gaps = inner_gaps(candles)
    assert [(gap.start_ms - start, gap.missing) for gap in gaps] == [(5 * HOUR_MS, 3), (20 * HOUR_MS, 1)]
    assert inner_gaps(candles, since_ms=start + 10 * HOUR_MS) == gaps[1:]


@given(present=st.sets(st.integers(0, 40)), start=st.integers(-5, 45), length=st.integers(0, 50))
@settings(max_examples=100, deadline=None)
def test_missing_ranges_are_exactly_the_absent_bars(present: set[int], start: int, length: int) -> None:
    origin = parse_date_ms("2025-07-01")
    times = origin + np.array(sorted(present), dtype=np.int64) * HOUR_MS
    ones = np.ones(len(times))
    candles = Candles(Interval.H1, times, ones, ones, ones, ones, ones)
    ranges = missing_ranges(candles, origin + start * HOUR_MS, origin + (start + length) * HOUR_MS)
    listed = {(at - origin) // HOUR_MS for gap in ranges for at in range(gap.start_ms, gap.end_ms, HOUR_MS)}
    assert listed == set(range(start, start + length)) - present
    assert sum(gap.missing for gap in ranges) == len(listed)


def test_frozen_runs_are_listed_and_told_from_a_living_end(make_candles: MakeCandles) -> None:
    candles = frozen(make_candles(50), slice(10, 15))
    runs = frozen_runs(candles)
    assert [(run.bars, run.start_ms) for run in runs] == [(5, int(candles.open_time[10]))]
    assert frozen_since(candles) is None
    assert frozen_since(frozen(candles, slice(40, 50))) == candles.open_time[40]
    assert frozen_since(frozen(candles, slice(0, 50))) == candles.open_time[0]


def test_an_outlier_is_listed_with_its_reason(make_candles: MakeCandles) -> None:
    candles = make_candles(500)
    volume = candles.volume.copy()
    volume[300] *= 100
    found = outliers(replace(candles, volume=volume))
    assert [(finding.start_ms, finding.bars) for finding in found] == [(int(candles.open_time[300]), 1)]
    assert "volume" in found[0].detail
    assert outliers(candles) == []


def test_a_wild_market_is_summed_up_instead_of_listed_without_end(make_candles: MakeCandles) -> None:
    candles = make_candles(5000)
    volume = np.where(np.arange(5000) % 10 == 0, candles.volume * 1000, candles.volume)
    found = outliers(replace(candles, volume=volume))
    assert len(found) == MAX_LISTED + 1
    assert sum(finding.bars for finding in found) == 500


def test_a_report_survives_json(make_candles: MakeCandles) -> None:
    candles = frozen(make_candles(80, without=(3, 4)), slice(70, 78))
    report = assess(candles, [Finding(FindingKind.CONFLICT, 1, 2, 3, "why")])
    assert QualityReport.from_json(report.to_json(), "x") == report
    assert report.missing == 2
    assert report.bars(FindingKind.FROZEN) == 8
    assert report.frozen_since_ms == candles.open_time[70]
    with pytest.raises(MalformedData, match="x is no quality report"):
        QualityReport.from_json(b"{}", "x")


def test_a_report_remembers_what_ingestion_noticed_but_counts_the_bars_anew(make_candles: MakeCandles) -> None:
    conflict = Finding(FindingKind.CONFLICT, 1, 1, 1)
    first = assess(make_candles(50, without=(5,)), [conflict])
    second = assess(make_candles(50), [conflict], previous=first)
    assert second.missing == 0
    assert second.of(FindingKind.CONFLICT) == (conflict,)


def test_a_report_on_nothing_is_empty() -> None:
    report = assess(Candles.empty(Interval.H1))
    assert (report.rows, report.first_open_ms, report.findings) == (0, None, ())


def test_the_known_outages_and_delistings_of_real_data(real_data: Path) -> None:
    spot = FileMarket(real_data / "ohlcv" / "binance_spot", "binance").history("BTCUSDT", Interval.H1)
    gaps = inner_gaps(spot)
    assert (len(gaps), sum(gap.missing for gap in gaps)) == (28, 128)
    assert max(gaps, key=lambda gap: gap.missing).missing == 33
    futures = FileMarket(real_data / "ohlcv" / "binance_usdm")
    ftt = futures.history("FTTUSDT", Interval.H1)
    assert int(frozen_rows(ftt).sum()) == 25_243
    assert frozen_since(ftt) == parse_date_ms("2022-11-14T05:00")
    matic = futures.history("MATICUSDT", Interval.H1)
    assert int(frozen_rows(matic).sum()) == 168
    assert frozen_since(matic) == parse_date_ms("2024-09-04T09:00")


def test_the_outage_of_march_2023_is_frozen_bars_and_then_a_hole(tmp_path: Path, real_data: Path) -> None:
    source = real_data / "ohlcv" / "binance_spot" / "BTCUSDT" / "1m_2023.parquet"
    (tmp_path / "BTCUSDT").mkdir()
    (tmp_path / "BTCUSDT" / "1m.parquet").write_bytes(source.read_bytes())
    report = assess(FileMarket(tmp_path).history("BTCUSDT", Interval.M1))
    assert (report.bars(FindingKind.FROZEN), report.missing) == (72, 80)
    assert report.of(FindingKind.FROZEN)[0].start_ms == parse_date_ms("2023-03-24T11:28")
