"""`FileMarket`: which files it finds, what it makes of them, and one clear error for each bad one."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shared.adapters.local.market_files import FileMarket
from shared.data.findings import FindingKind
from shared.data.resample import resample
from shared.data.tables import candles_to_bytes, series_to_bytes
from shared.domain.candles import Candles
from shared.domain.errors import DataError, DataNotFound, MalformedData
from shared.domain.interval import DAY_MS, HOUR_MS, Interval, parse_date_ms

MakeCandles = Callable[..., Candles]
EVER = 2**53


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def archive_csv(candles: Candles, header: bool) -> bytes:
    lines = [
        "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
    ]
    rows = zip(candles.open_time, candles.open, candles.high, candles.low, candles.close, candles.volume, strict=True)
    for at, first, high, low, last, volume in rows:
        values = (first, high, low, last, volume)
        lines.append(f"{at},{','.join(repr(float(v)) for v in values)},{at + HOUR_MS - 1},{float(volume * last)!r},9,1.0,1.0,0")
    return "\n".join(lines if header else lines[1:]).encode()


@pytest.mark.parametrize("name", ["BTCUSDT/1h.parquet", "BTCUSDT/1h/data.parquet", "BTCUSDT-1h.parquet"])
async def test_parquet_files_are_found_by_their_names(tmp_path: Path, make_candles: MakeCandles, name: str) -> None:
    candles = make_candles(50)
    put(tmp_path / name, candles_to_bytes(candles))
    market = FileMarket(tmp_path)
    assert market.symbols() == ("BTCUSDT",)
    assert market.intervals("BTCUSDT") == (Interval.H1,)
    assert market.span("BTCUSDT", Interval.H1) == (candles.open_time[0], candles.close_time[-1])
    found = await market.candles("BTCUSDT", Interval.H1, int(candles.open_time[10]), int(candles.open_time[20]))
    assert np.array_equal(found.close, candles.close[10:20])


def test_a_name_that_is_no_interval_is_ignored(tmp_path: Path, make_candles: MakeCandles) -> None:
    for name in ("1h", "1m_2023", "mark_1h", "notes", "5m"):
        put(tmp_path / "BTCUSDT" / f"{name}.parquet", candles_to_bytes(make_candles(5)))
    assert FileMarket(tmp_path).intervals("BTCUSDT") == (Interval.H1,)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("form", ["csv", "csv.gz", "zip"])
def test_months_of_the_public_archive_are_joined(tmp_path: Path, make_candles: MakeCandles, header: bool, form: str) -> None:
    candles = make_candles(24 * 40, start_ms=parse_date_ms("2025-07-10"))
    august = parse_date_ms("2025-08-01")
    for month, part in (("2025-07", candles.between(None, august)), ("2025-08", candles.between(august))):
        name = f"BTCUSDT-1h-{month}"
        content = archive_csv(part, header)
        path = tmp_path / "futures" / "um" / "monthly" / "klines" / "BTCUSDT" / "1h" / f"{name}.{form}"
        if form == "zip":
            put(path, b"")
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr(f"{name}.csv", content)
        else:
            put(path, gzip.compress(content) if form == "csv.gz" else content)
    market = FileMarket(tmp_path)
    found = market.history("BTCUSDT", Interval.H1)
    assert np.array_equal(found.close, candles.close)
    assert market.findings("BTCUSDT", Interval.H1) == ()


def test_other_kinds_of_klines_and_other_markets_of_the_archive_are_left_out(tmp_path: Path, make_candles: MakeCandles) -> None:
    content = archive_csv(make_candles(10), header=True)
    for folder in ("futures/um/monthly/markPriceKlines", "spot/monthly/klines", "futures/cm/monthly/klines"):
        put(tmp_path / folder / "BTCUSDT" / "1h" / "BTCUSDT-1h-2025-07.csv", content)
    with pytest.raises(DataNotFound):
        FileMarket(tmp_path).symbols()
    assert FileMarket(tmp_path, venue="binance").symbols() == ("BTCUSDT",)


async def test_a_missing_interval_is_made_from_a_finer_one_and_said(tmp_path: Path, make_candles: MakeCandles) -> None:
    hourly = make_candles(24 * 20, start_ms=parse_date_ms("2025-07-01T05:00"))
    put(tmp_path / "BTCUSDT" / "1h.parquet", candles_to_bytes(hourly))
    put(tmp_path / "BTCUSDT" / "15m.parquet", candles_to_bytes(make_candles(40, Interval.M15, parse_date_ms("2025-07-20"))))
    market = FileMarket(tmp_path)
    daily = await market.candles("BTCUSDT", Interval.D1, 0, EVER)
    assert np.array_equal(daily.close, resample(hourly, Interval.D1).close)
    assert [finding.kind for finding in market.findings("BTCUSDT", Interval.D1)] == [FindingKind.RESAMPLED]
    assert "1d bars made from 1h" in market.findings("BTCUSDT", Interval.D1)[0].detail


def test_a_finer_interval_than_there_is_cannot_be_made(tmp_path: Path, make_candles: MakeCandles) -> None:
    put(tmp_path / "BTCUSDT" / "4h.parquet", candles_to_bytes(make_candles(40, Interval.H4)))
    with pytest.raises(DataNotFound, match=r"no 1h bars of BTCUSDT .* nor finer ones; it has 4h"):
        FileMarket(tmp_path).history("BTCUSDT", Interval.H1)


def test_nothing_that_closes_after_the_end_is_visible(tmp_path: Path, make_candles: MakeCandles) -> None:
    candles = make_candles(50)
    put(tmp_path / "BTCUSDT" / "1h.parquet", candles_to_bytes(candles))
    end_ms = int(candles.close_time[20])
    assert FileMarket(tmp_path, end_ms=end_ms).span("BTCUSDT", Interval.H1)[1] == end_ms
    assert FileMarket(tmp_path, end_ms=end_ms - 1).span("BTCUSDT", Interval.H1)[1] == end_ms - HOUR_MS
    assert FileMarket(tmp_path, end_ms=end_ms - 1).span("BTCUSDT", Interval.H4)[1] <= end_ms - 1


@pytest.mark.parametrize(
    "place",
    [
        "lake/BTCUSDT/funding.parquet",
        "lake/BTCUSDT/funding/data.parquet",
        "lake/funding/BTCUSDT.parquet",
        "../funding/lake/BTCUSDT.parquet",
    ],
)
async def test_funding_is_found_beside_the_candles_or_beside_their_folder(
    tmp_path: Path, make_candles: MakeCandles, place: str
) -> None:
    root = tmp_path / "ohlcv"
    put(root / "lake" / "BTCUSDT" / "1h.parquet", candles_to_bytes(make_candles(10)))
    times = np.arange(5, dtype=np.int64) * 8 * HOUR_MS
    put(root / place, series_to_bytes((times, np.arange(5) / 1e4), "funding_rate"))
    found, rates = await FileMarket(root / "lake").funding_rates("BTCUSDT", int(times[1]), int(times[3]))
    assert found.tolist() == times[1:3].tolist()
    assert rates.tolist() == [1e-4, 2e-4]


async def test_without_files_funding_and_open_interest_are_empty(tmp_path: Path, make_candles: MakeCandles) -> None:
    put(tmp_path / "BTCUSDT" / "1h.parquet", candles_to_bytes(make_candles(10)))
    market = FileMarket(tmp_path)
    assert len((await market.funding_rates("BTCUSDT", 0, EVER))[0]) == 0
    assert len((await market.open_interest("BTCUSDT", 0, EVER))[0]) == 0
    await market.close()


def test_a_missing_folder_an_empty_folder_and_a_folder_too_high_say_what_to_do(
    tmp_path: Path, make_candles: MakeCandles
) -> None:
    with pytest.raises(DataNotFound, match="there is no folder"):
        FileMarket(tmp_path / "nowhere").symbols()
    with pytest.raises(DataNotFound, match=r"expected SYMBOL/INTERVAL\.parquet"):
        FileMarket(tmp_path).symbols()
    put(tmp_path / "venue" / "BTCUSDT" / "1h.parquet", candles_to_bytes(make_candles(10)))
    with pytest.raises(DataNotFound, match="name one of its folders: venue"):
        FileMarket(tmp_path).symbols()


async def test_an_unknown_symbol_names_the_known_ones(tmp_path: Path, make_candles: MakeCandles) -> None:
    put(tmp_path / "BTCUSDT" / "1h.parquet", candles_to_bytes(make_candles(10)))
    with pytest.raises(DataNotFound, match=r"no candles of DOGEUSDT in .*; it has BTCUSDT"):
        await FileMarket(tmp_path).candles("DOGEUSDT", Interval.H1, 0, EVER)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("BTCUSDT/1h.parquet", b"no parquet"),
        ("BTCUSDT-1h-2025-07.csv.gz", b"no gzip"),
        ("BTCUSDT-1h-2025-07.csv.gz", gzip.compress(b"cut off" * 100, mtime=0)[:-20]),
        ("BTCUSDT-1h-2025-07.zip", b"no zip"),
        ("BTCUSDT-1h-2025-07.csv", b"a,b\n1,2\n"),
        ("BTCUSDT-1h-2025-07.csv", b""),
    ],
)
def test_a_bad_file_is_one_error_that_names_it(tmp_path: Path, name: str, content: bytes) -> None:
    path = put(tmp_path / name, content)
    with pytest.raises(DataError) as error:
        FileMarket(tmp_path).history("BTCUSDT", Interval.H1)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_with_another_interval_than_its_name_is_refused(tmp_path: Path, make_candles: MakeCandles) -> None:
    path = put(tmp_path / "BTCUSDT" / "1h.parquet", candles_to_bytes(make_candles(50, Interval.M15)))
    with pytest.raises(MalformedData, match="rows are 15 minutes apart, expected 1h bars") as error:
        FileMarket(tmp_path).history("BTCUSDT", Interval.H1)
    assert str(path) in str(error.value)


async def test_the_real_folder_is_read_with_its_funding(real_data: Path) -> None:
    market = FileMarket(real_data / "ohlcv" / "binance_usdm")
    assert len(market.symbols()) == 13
    assert market.intervals("BTCUSDT") == (Interval.M15, Interval.H1, Interval.H4)
    candles = market.history("BTCUSDT", Interval.H1)
    assert len(candles) == 53_143
    times, rates = await market.funding_rates("BTCUSDT", 0, EVER)
    assert (len(times), float(np.abs(rates).max()) < 0.01) == (6638, True)
    daily = await market.candles("BTCUSDT", Interval.D1, parse_date_ms("2021-11-10"), parse_date_ms("2021-11-11"))
    hours = candles.between(parse_date_ms("2021-11-10"), parse_date_ms("2021-11-10") + DAY_MS)
    assert daily.high.tolist() == [hours.high.max()]
