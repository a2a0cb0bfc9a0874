"""The returns that Kelly sizing learns from."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.records import EquityPoint
from shared.trading.track_record import TrackRecord


def point(time_ms: int, equity: str, exposure: str = "0") -> EquityPoint:
    return EquityPoint(time_ms, Decimal(equity), Decimal(equity), Decimal(equity), Decimal(exposure))


def test_profit_is_measured_by_the_notional_at_the_bars_open() -> None:
    record = TrackRecord([point(0, "1000", "500"), point(1, "1010", "200"), point(2, "1000")])
    assert record.returns().tolist() == pytest.approx([0.02, -0.05])


def test_bars_without_a_position_do_not_count() -> None:
    record = TrackRecord([point(0, "1000"), point(1, "1000", "500"), point(2, "1005"), point(3, "1004")])
    assert record.returns().tolist() == pytest.approx([0.01])


def test_nothing_traded_is_no_record() -> None:
    assert TrackRecord([]).returns().shape == (0,)
    assert TrackRecord([point(0, "1000", "500")]).returns().shape == (0,)


def test_the_same_instant_again_tells_what_is_held_after_its_trades() -> None:
    # Opened at the first close, resized at the second: each bar is divided by what it was held with.
    record = TrackRecord(
        [point(0, "1000"), point(0, "1000", "500"), point(1, "1010", "500"), point(1, "1010", "100"), point(2, "1011")]
    )
    assert record.returns().tolist() == pytest.approx([0.02, 0.01])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(900, 1100), st.integers(0, 500)), max_size=30))
def test_an_older_bar_changes_nothing(rows: list[tuple[int, int, int]]) -> None:
    points = [point(time_ms, str(equity), str(exposure)) for time_ms, equity, exposure in rows]
    newer: list[EquityPoint] = []
    for one in points:
        if not newer or one.time_ms >= newer[-1].time_ms:
            newer.append(one)
    assert TrackRecord(points).returns().tolist() == TrackRecord(newer).returns().tolist()
