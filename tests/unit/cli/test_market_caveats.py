"""What the data leave out inside a period is said, and a period that is mostly not there is refused."""

from __future__ import annotations

import numpy as np
import pytest

from shared.cli.market_caveats import early_end, missing_bars, missing_funding
from shared.data.curation import Series
from shared.domain.candles import Candles
from shared.domain.errors import NotEnoughData
from shared.domain.interval import DAY_MS, HOUR_MS, Interval, parse_date_ms

BEGIN_MS = parse_date_ms("2024-01-01")
END_MS = BEGIN_MS + 60 * DAY_MS


def candles(missing: range) -> Candles:
    rows = [[BEGIN_MS + k * HOUR_MS, 1.0, 1.0, 1.0, 1.0, 1.0] for k in range(60 * 24) if k not in missing]
    return Candles.from_rows(Interval.H1, rows)


def funding(first_day: int, last_day: int, skip: range = range(0)) -> Series:
    stamps = [BEGIN_MS + day * DAY_MS for day in range(first_day, last_day + 1) if day not in skip]
    return np.array(stamps, dtype=np.int64), np.zeros(len(stamps))


def test_missing_bars_are_counted() -> None:
    assert missing_bars("SOLUSDT", candles(range(0)), BEGIN_MS, END_MS) == []
    assert missing_bars("SOLUSDT", candles(range(100, 160)), BEGIN_MS, END_MS) == ["SOLUSDT: 60 of 1,440 bars are missing"]


def test_a_period_that_is_mostly_a_hole_is_refused() -> None:
    with pytest.raises(NotEnoughData, match="721 of 1,440 bars are missing between 2024-01-01"):
        missing_bars("SOLUSDT", candles(range(100, 821)), BEGIN_MS, END_MS)


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        (funding(0, 60), None),
        (funding(1, 0), "no funding rates; counted as 0"),
        (funding(30, 60), "no funding rates before 2024-01-31 00:00; counted as 0"),
        (funding(0, 30), "no funding rates after 2024-01-31 00:00; counted as 0"),
        (funding(0, 60, range(10, 20)), "no funding rates from 2024-01-10 00:00 to 2024-01-21 00:00; counted as 0"),
        (funding(-5, 60), None),
    ],
)
def test_stretches_without_funding_are_named(rates: Series, said: str | None) -> None:
    expected = [] if said is None else [f"SOLUSDT: {said}"]
    assert missing_funding("SOLUSDT", rates, BEGIN_MS, END_MS) == expected


def test_many_stretches_without_funding_are_summed_up() -> None:
    stamps = BEGIN_MS + 2 * DAY_MS * np.arange(31, dtype=np.int64)
    [line] = missing_funding("SOLUSDT", (stamps, np.zeros(31)), BEGIN_MS, END_MS)
    assert line.endswith("and in 27 other stretches; counted as 0")


def test_an_early_end_is_named() -> None:
    assert early_end("MATICUSDT", END_MS - HOUR_MS, END_MS) == ["MATICUSDT: candles end 2024-02-29 23:00: closed there"]
    assert early_end("MATICUSDT", END_MS, END_MS) == []
