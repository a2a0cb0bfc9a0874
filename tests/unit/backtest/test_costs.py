"""The cost model: never a better price than the reference, and the arithmetic of fees and funding."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.backtest.costs import fee, fee_bps, funding_payment, slippage_bps, slipped, venue_price
from shared.backtest.params import CostParams
from shared.domain.errors import ConfigError


def test_impact_follows_the_square_root_of_participation_and_is_bounded():
    params = CostParams(half_spread_bps=1, impact_bps=10, max_impact_bps=20, stop_slippage_bps=2)
    assert slippage_bps(params, 0, 1e6) == 1
    assert slippage_bps(params, 1e4, 1e6) == pytest.approx(2)
    assert slippage_bps(params, 1e6, 1e6) == pytest.approx(11)
    assert slippage_bps(params, 1e9, 1e6) == 21
    assert slippage_bps(params, 1, 0) == 21
    assert slippage_bps(params, 0, 1e6, is_stop=True) == 3


@given(
    reference=st.decimals("0.01", "100000", places=2),
    sign=st.sampled_from([-1, 1]),
    bps=st.floats(0, 500),
    tick=st.sampled_from([Decimal("0.01"), Decimal("0.1"), Decimal("0.0001")]),
)
def test_a_taker_never_gets_a_better_price_than_the_reference_and_always_one_on_the_grid(reference, sign, bps, tick):
    price = venue_price(reference, sign, bps, tick)
    assert price % tick == 0
    assert sign * (price - reference) >= 0 or price == tick
    exact = float(slipped(reference, sign, Decimal(repr(round(bps, 9)))))
    assert abs(float(price) - exact) <= float(tick) * 1.000001


def test_fees_are_on_notional_whatever_its_sign():
    assert fee(-2000.0, 5.0) == 1.0
    assert fee(Decimal(2000), Decimal(5)) == Decimal(1)
    assert (fee_bps(CostParams(), maker=True), fee_bps(CostParams(), maker=False)) == (2.0, 5.0)


def test_longs_pay_positive_funding_and_shorts_receive_it():
    assert funding_payment(Decimal(2), Decimal(100), Decimal("0.0001")) == Decimal("-0.02")
    assert funding_payment(-2.0, 100.0, 0.0001) == pytest.approx(0.02)


@pytest.mark.parametrize("value", [-1.0, float("nan"), 10_000.0])
def test_a_cost_that_is_no_number_of_basis_points_is_refused(value):
    with pytest.raises(ConfigError, match="impact_bps"):
        CostParams(impact_bps=value)
