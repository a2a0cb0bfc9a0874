import numpy as np
import pytest

from shared.domain.candles import COLUMNS, Candles
from shared.domain.errors import MalformedData
from shared.domain.ids import candles_hash
from shared.domain.interval import HOUR_MS, Interval

ROWS = [[i * HOUR_MS, 100.0 + i, 102.0 + i, 99.0 + i, 101.0 + i, 10.0] for i in range(6)]


def candles(rows: list[list[float]] = ROWS) -> Candles:
    return Candles.from_rows(Interval.H1, rows)


def changed(row: int, column: str, value: float) -> list[list[float]]:
    rows = [list(values) for values in ROWS]
    rows[row][COLUMNS.index(column)] = value
    return rows


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [
        (2, "high", 50.0),
        (2, "low", 150.0),
        (2, "close", np.nan),
        (2, "open", -1.0),
        (2, "volume", -0.1),
        (2, "volume", np.inf),
        (2, "open_time", HOUR_MS),
        (2, "open_time", 2 * HOUR_MS + 1),
    ],
)
def test_an_impossible_bar_is_refused_with_its_time(row: int, column: str, value: float) -> None:
    with pytest.raises(MalformedData, match="1970-01-01"):
        candles(changed(row, column, value))


def test_columns_of_different_length_are_refused() -> None:
    bars = candles()
    with pytest.raises(MalformedData, match="differ in length"):
        Candles(Interval.H1, bars.open_time, bars.open[:-1], bars.high, bars.low, bars.close, bars.volume)


def test_a_gap_is_a_fact_and_stays() -> None:
    assert len(candles([ROWS[0], ROWS[5]])) == 2


def test_joining_adds_only_what_is_newer() -> None:
    joined = candles(ROWS[:4]).followed_by(candles(ROWS[2:]))
    assert candles_hash(joined) == candles_hash(candles())


def test_joining_rows_gives_the_same_bars_as_joining_candles() -> None:
    joined = candles(ROWS[:4]).followed_by_rows([tuple(row) for row in ROWS[4:]])
    assert candles_hash(joined) == candles_hash(candles())
    assert joined.open_time.dtype == np.int64


def test_joining_another_interval_is_refused() -> None:
    with pytest.raises(MalformedData, match="cannot join"):
        candles().followed_by(Candles.empty(Interval.D1))


def test_between_takes_bars_that_open_in_the_range() -> None:
    assert candles().between(HOUR_MS, 3 * HOUR_MS).open_time.tolist() == [HOUR_MS, 2 * HOUR_MS]
    assert len(Candles.empty(Interval.H1).between(0, 1)) == 0


def test_the_hash_sees_every_bit() -> None:
    assert candles_hash(candles()) != candles_hash(candles(changed(5, "volume", np.nextafter(10.0, 11.0))))
