"""Merging: idempotent, never rewriting, never with the open bar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.data.findings import FindingKind
from shared.data.merge import merge
from shared.domain.candles import COLUMNS, Candles
from shared.domain.errors import MalformedData
from shared.domain.interval import HOUR_MS, Interval

MakeCandles = Callable[..., Candles]


def same(first: Candles, second: Candles) -> bool:
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in COLUMNS)


def series(rows: set[int]) -> Candles:
    at = np.array(sorted(rows), dtype=np.int64)
    price = 100.0 + at
    return Candles(Interval.H1, at * HOUR_MS, price, price + 2, price - 2, price + 1, price)


ROWS = st.sets(st.integers(0, 30))


@given(first=ROWS, second=ROWS)
@settings(deadline=None)
def test_merging_is_the_union_in_any_order_and_a_second_time_changes_nothing(first: set[int], second: set[int]) -> None:
    one, two = series(first), series(second)
    merged = merge(one, two)
    assert same(merged.candles, series(first | second))
    assert merged.added == len(second - first)
    assert merged.findings == ()
    assert same(merge(two, one).candles, merged.candles)
    again = merge(merged.candles, two)
    assert (again.added, again.candles) == (0, merged.candles)


def test_a_bar_that_differs_is_reported_and_not_replaced(make_candles: MakeCandles) -> None:
    stored = make_candles(10)
    volume = stored.volume.copy()
    volume[4] += 1
    merged = merge(stored, replace(stored, volume=volume))
    assert same(merged.candles, stored)
    assert [(finding.kind, finding.start_ms) for finding in merged.findings] == [
        (FindingKind.REVISED, int(stored.open_time[4]))
    ]
    assert "volume" in merged.findings[0].detail
    assert "close" not in merged.findings[0].detail


def test_the_open_bar_never_enters(make_candles: MakeCandles) -> None:
    candles = make_candles(10)
    now_ms = int(candles.close_time[-1]) - 1
    merged = merge(Candles.empty(Interval.H1), candles, now_ms)
    assert same(merged.candles, candles[:9])
    assert [finding.kind for finding in merged.findings] == [FindingKind.OPEN_BAR]
    assert len(merge(Candles.empty(Interval.H1), candles, now_ms + 1).candles) == 10


def test_two_intervals_do_not_mix(make_candles: MakeCandles) -> None:
    with pytest.raises(MalformedData, match="cannot merge 4h bars into 1h bars"):
        merge(make_candles(5), make_candles(5, Interval.H4))
