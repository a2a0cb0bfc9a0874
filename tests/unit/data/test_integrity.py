"""Every defect that a source has shown, and the true extremes that must survive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.local.market_files import FileMarket
from shared.data.anomalies import outliers
from shared.data.findings import Finding, FindingKind
from shared.data.integrity import clean
from shared.data.raw_tables import RawBars, bars_from_csv
from shared.domain.errors import MalformedData
from shared.domain.interval import HOUR_MS, Interval, parse_date_ms

MakeRaw = Callable[..., RawBars]
COLUMNS = ("open_time", "open", "high", "low", "close", "volume", "quote_volume")


def kinds(findings: tuple[Finding, ...]) -> dict[FindingKind, int]:
    return {finding.kind: finding.bars for finding in findings}


def rows_of(raw: RawBars, rows: list[int] | np.ndarray) -> RawBars:
    return RawBars(*(getattr(raw, name)[rows] for name in COLUMNS))


def changed(raw: RawBars, row: int, **values: float) -> RawBars:
    columns = {name: getattr(raw, name).copy() for name in COLUMNS}
    for name, value in values.items():
        columns[name][row] = value
    return RawBars(**columns)


def test_clean_rows_come_through_unchanged_and_without_findings(make_raw: MakeRaw) -> None:
    raw = make_raw(50)
    cleaned = clean(raw, Interval.H1, "test")
    assert cleaned.findings == ()
    assert np.array_equal(cleaned.candles.close, raw.close)
    assert np.array_equal(cleaned.candles.open_time, raw.open_time)


def test_no_rows_are_no_candles(make_raw: MakeRaw) -> None:
    assert len(clean(rows_of(make_raw(3), []), Interval.H1, "test").candles) == 0


@given(st.permutations(range(30)))
@settings(max_examples=30, deadline=None)
def test_any_order_of_rows_gives_the_same_candles(order: list[int]) -> None:
    times = parse_date_ms("2025-07-01") + np.arange(30, dtype=np.int64) * HOUR_MS
    price = 100.0 + np.arange(30)
    raw = RawBars(times, price, price + 2, price - 2, price + 1, price, price * price)
    cleaned = clean(rows_of(raw, order), Interval.H1, "test")
    assert np.array_equal(cleaned.candles.open, price)
    assert (FindingKind.REORDERED in kinds(cleaned.findings)) == (order != sorted(order))


def test_newest_first_is_said(make_raw: MakeRaw) -> None:
    cleaned = clean(rows_of(make_raw(20), np.arange(20)[::-1]), Interval.H1, "test")
    assert "newest first" in cleaned.findings[0].detail


def test_identical_bars_are_dropped_and_counted(make_raw: MakeRaw) -> None:
    raw = make_raw(20)
    cleaned = clean(RawBars.joined([raw, rows_of(raw, [3, 4, 5])]), Interval.H1, "test")
    assert len(cleaned.candles) == 20
    assert kinds(cleaned.findings)[FindingKind.DUPLICATE] == 3
    assert FindingKind.CONFLICT not in kinds(cleaned.findings)


def test_a_rounded_copy_is_a_duplicate_and_the_precise_one_stays(make_raw: MakeRaw) -> None:
    raw = make_raw(20)
    rounded = RawBars(raw.open_time[[7]], *(np.round(getattr(raw, name)[[7]], 2) for name in COLUMNS[1:]))
    for parts in ([raw, rounded], [rounded, raw]):
        cleaned = clean(RawBars.joined(parts), Interval.H1, "test")
        assert cleaned.candles.close[7] == raw.close[7]
        assert kinds(cleaned.findings)[FindingKind.DUPLICATE] == 1


def test_conflicting_bars_are_reported_and_the_first_of_equally_precise_ones_stays(make_raw: MakeRaw) -> None:
    raw = make_raw(20, volume=np.full(20, 10.5))
    other = changed(raw, 7, volume=12.5)
    cleaned = clean(RawBars.joined([raw, rows_of(other, [7])]), Interval.H1, "test")
    assert cleaned.candles.volume[7] == 10.5
    assert kinds(cleaned.findings)[FindingKind.CONFLICT] == 1


def test_a_stamp_off_the_grid_is_kept_out(make_raw: MakeRaw) -> None:
    raw = make_raw(20)
    cleaned = clean(changed(raw, 7, open_time=float(raw.open_time[7] + 61_000)), Interval.H1, "test")
    assert len(cleaned.candles) == 19
    assert kinds(cleaned.findings)[FindingKind.OFF_GRID] == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"close": np.nan},
        {"open": 0.0},
        {"low": -1.0},
        {"high": 1.0},
        {"low": 1e9},
        {"volume": -1.0},
        {"volume": np.nan},
        {"close": np.inf},
    ],
)
def test_an_impossible_bar_is_kept_out_and_named(make_raw: MakeRaw, fault: dict[str, float]) -> None:
    raw = make_raw(20)
    cleaned = clean(changed(raw, 7, **fault), Interval.H1, "test")
    assert len(cleaned.candles) == 19
    assert raw.open_time[7] not in cleaned.candles.open_time
    found = [finding for finding in cleaned.findings if finding.kind is FindingKind.IMPOSSIBLE]
    assert found
    assert all(finding.start_ms == raw.open_time[7] for finding in found)


def test_a_good_copy_replaces_an_impossible_one(make_raw: MakeRaw) -> None:
    raw = make_raw(20)
    bad = rows_of(changed(raw, 7, volume=-1.0), [7])
    cleaned = clean(RawBars.joined([bad, raw]), Interval.H1, "test")
    assert len(cleaned.candles) == 20
    assert cleaned.candles.volume[7] == raw.volume[7]


def test_mostly_impossible_rows_are_refused_as_a_whole(make_raw: MakeRaw) -> None:
    raw = make_raw(20)
    with pytest.raises(MalformedData, match=r"prices\.csv: 20 of 20 rows are impossible"):
        clean(
            RawBars(raw.open_time, raw.open, raw.low, raw.high, raw.close, raw.volume, raw.quote_volume),
            Interval.H1,
            "prices.csv",
        )


@pytest.mark.parametrize(("held", "wanted"), [(Interval.M15, Interval.H1), (Interval.H4, Interval.H1)])
def test_another_interval_is_refused(make_candles: Callable[..., object], held: Interval, wanted: Interval) -> None:
    raw = RawBars.of(make_candles(40, held))  # type: ignore[arg-type]
    with pytest.raises(MalformedData, match=f"minutes apart, expected {wanted} bars"):
        clean(raw, wanted, "test")


def test_volume_columns_that_swap_places_are_put_back(make_raw: MakeRaw) -> None:
    raw = make_raw(40)
    volume, quote = raw.volume.copy(), raw.quote_volume.copy()
    volume[20:], quote[20:] = raw.quote_volume[20:], raw.volume[20:]
    swapped = RawBars(raw.open_time, raw.open, raw.high, raw.low, raw.close, volume, quote)
    cleaned = clean(swapped, Interval.H1, "test")
    assert np.array_equal(cleaned.candles.volume, raw.volume)
    assert kinds(cleaned.findings) == {FindingKind.SWAPPED_COLUMNS: 20}


def test_the_open_bar_is_kept_out(make_raw: MakeRaw) -> None:
    raw = make_raw(20)
    cleaned = clean(raw, Interval.H1, "test", now_ms=int(raw.open_time[-1]) + HOUR_MS - 1)
    assert len(cleaned.candles) == 19
    assert kinds(cleaned.findings) == {FindingKind.OPEN_BAR: 1}
    assert len(clean(raw, Interval.H1, "test", now_ms=int(raw.open_time[-1]) + HOUR_MS).candles) == 20


def test_a_true_extreme_in_the_first_bar_stays() -> None:
    # The same shape as a broken first bar, but the money was spent all over its range.
    times = parse_date_ms("2025-07-01") + np.arange(3, dtype=np.int64) * HOUR_MS
    raw = RawBars(
        times,
        np.array([16.0, 4.3, 4.3]),
        np.array([16.0, 4.4, 4.4]),
        np.array([4.2, 4.2, 4.2]),
        np.array([4.3, 4.3, 4.3]),
        np.array([10.0, 10.0, 10.0]),
        np.array([90.0, 43.0, 43.0]),
    )
    assert len(clean(raw, Interval.H1, "test").candles) == 3


def test_the_vendor_file_with_everything_wrong_becomes_the_exchanges_candles(real_data: Path) -> None:
    market = FileMarket(real_data / "raw_defects")
    candles = market.history("BTCUSDT", Interval.H1)
    found = kinds(market.findings("BTCUSDT", Interval.H1))
    # 2,800 rows, 641 instants twice, and the first hour with an open of 16199.91 while the market was at 4300.
    assert len(candles) == 2800 - 641 - 1
    assert found[FindingKind.DUPLICATE] + found[FindingKind.CONFLICT] == 641
    assert found[FindingKind.FIRST_BAR] == 1
    assert found[FindingKind.REORDERED] == 2800
    truth = FileMarket(real_data / "ohlcv" / "binance_spot", "binance").history("BTCUSDT", Interval.H1)
    times, ours, theirs = np.intersect1d(candles.open_time, truth.open_time, return_indices=True)
    assert len(times) == len(candles) - 6  # the vendor shows outages as flat bars, the exchange has none there
    for name in ("high", "low", "close"):
        # In a few thin hours of 2017 the vendor differs by up to 1.2 %; everywhere else it has the exchange's number.
        differs = np.abs(getattr(candles, name)[ours] / getattr(truth, name)[theirs] - 1) > 1e-4
        assert differs.mean() < 0.02
    full_precision = times >= parse_date_ms("2020-10-24T15:00")
    for name, known_errors in (("open", 0), ("high", 0), ("low", 0), ("close", 0), ("volume", 1)):
        differs = getattr(candles, name)[ours] != getattr(truth, name)[theirs]
        assert int(differs[full_precision].sum()) == known_errors  # the vendor's volume of 2020-10-27 06:00


def test_the_vendor_file_with_swapped_columns_has_one_unit_of_volume(real_data: Path) -> None:
    market = FileMarket(real_data / "raw_defects")
    candles = market.history("BTCUSD", Interval.H1)
    assert len(candles) == 1600
    assert candles.volume.max() < 10_000  # bitcoins in an hour on that exchange; dollars would be millions
    assert kinds(market.findings("BTCUSD", Interval.H1))[FindingKind.SWAPPED_COLUMNS] == 650


def test_an_archive_file_is_read_without_findings(real_data: Path) -> None:
    content = (real_data / "raw_defects" / "archive_usdm_NEARUSDT_1m_2023-05-08.csv").read_bytes()
    cleaned = clean(bars_from_csv(content, "archive"), Interval.M1, "archive")
    assert (len(cleaned.candles), cleaned.findings) == (1440, ())


@pytest.mark.parametrize(
    ("venue", "symbol", "interval", "start", "end", "ratio"),
    [
        ("binance_spot", "DOGEUSDT", "1d", "2021-01-28", "2021-01-29", 5.0),
        ("binance_usdm", "FTTUSDT", "1h", "2022-11-08T16:00", "2022-11-08T20:00", 8.0),
        ("binance_spot", "LINKUSDT", "1h", "2019-06-13", "2019-06-14", 1.75),
        ("binance_usdm", "BTCUSDT", "15m", "2023-08-17T21:30", "2023-08-17T21:45", 1.12),
        ("binance_usdm", "ETHUSDT", "15m", "2025-02-03T02:00", "2025-02-03T02:15", 1.22),
        ("binance_spot", "BTCUSDT", "1h", "2020-03-13T02:00", "2020-03-13T03:00", 1.38),
    ],
)
def test_true_extremes_are_listed_and_kept(
    real_data: Path, venue: str, symbol: str, interval: str, start: str, end: str, ratio: float
) -> None:
    market = FileMarket(real_data / "ohlcv" / venue, "binance" if venue == "binance_spot" else "binanceusdm")
    candles = market.history(symbol, Interval(interval))
    inside = candles.between(parse_date_ms(start), parse_date_ms(end))
    assert inside.high.max() / inside.low.min() > ratio
    assert len(inside) == (parse_date_ms(end) - parse_date_ms(start)) // Interval(interval).ms
    listed = [finding.start_ms for finding in outliers(candles)]
    assert set(listed) & set(inside.open_time.tolist())
    # A series that begins with the extreme keeps it too.
    again = clean(RawBars.of(candles.between(parse_date_ms(start))), Interval(interval), "test")
    assert int(again.candles.open_time[0]) == parse_date_ms(start)
