"""The returns that Kelly sizing learns from, and their moments, which are all that is kept of them."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.records import EquityPoint, UnitReturns
from shared.risk.kelly import kelly_cap, recorded_cap
from shared.risk.params import RiskParams
from shared.trading.track_record import moments, unit_returns


def point(time_ms: int, equity: str, exposure: str = "0") -> EquityPoint:
    return EquityPoint(time_ms, Decimal(equity), Decimal(equity), Decimal(equity), Decimal(exposure))


def test_profit_is_measured_by_the_notional_at_the_bars_open() -> None:
    returns = unit_returns([point(0, "1000", "500"), point(1, "1010", "200"), point(2, "1000")])
    assert returns.tolist() == pytest.approx([0.02, -0.05])


def test_bars_without_a_position_do_not_count() -> None:
    returns = unit_returns([point(0, "1000"), point(1, "1000", "500"), point(2, "1005"), point(3, "1004")])
    assert returns.tolist() == pytest.approx([0.01])


def test_nothing_traded_is_no_record() -> None:
    assert unit_returns([]).shape == unit_returns([point(0, "1000", "500")]).shape == (0,)
    assert moments([]) == moments([point(0, "1000", "500")]) == UnitReturns()


@given(st.lists(st.tuples(st.integers(900, 1100), st.integers(0, 500)), max_size=60), st.integers(1, 30))
def test_the_moments_size_as_all_returns_do(rows: list[tuple[int, int]], minimum_bars: int) -> None:
    points = [point(number, str(equity), str(exposure)) for number, (equity, exposure) in enumerate(rows)]
    returns, record = unit_returns(points), moments(points)
    assert record.bars == len(returns)
    if len(returns):
        assert record.mean == pytest.approx(float(np.mean(returns)), abs=1e-12)
        assert record.spread == pytest.approx(float(np.var(returns)) * len(returns), rel=1e-9, abs=1e-15)
    params = RiskParams(kelly_minimum_bars=minimum_bars)
    assert recorded_cap(record, params) == pytest.approx(kelly_cap(returns, params), rel=1e-6)
