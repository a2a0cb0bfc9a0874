"""Where the profit came from: the parts add up to the whole, and a computation by hand."""

from __future__ import annotations

from dataclasses import replace

import engine_inputs as inputs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.backtest.breakdown import asset_costs, asset_profits, by_regime, monthly_returns, rolling_sharpe
from shared.backtest.engine import backtest
from shared.backtest.params import BacktestParams, CostParams
from shared.backtest.statistics import sharpe
from shared.domain.interval import DAY_MS, parse_date_ms

FREE = CostParams(taker_fee_bps=0, maker_fee_bps=0, half_spread_bps=0, impact_bps=0, max_impact_bps=0, stop_slippage_bps=0)
FEES = CostParams(taker_fee_bps=10, maker_fee_bps=10, half_spread_bps=0, impact_bps=0, max_impact_bps=0, stop_slippage_bps=0)


def test_profit_costs_and_regimes_agree_with_a_computation_by_hand() -> None:
    # Bought at 100 at the first close, all 10,000; 100 -> 110 while calm, 110 -> 99 while under stress; then sold at 99.
    candles = inputs.flat_bars(100.0, 100.0, 110.0, 99.0, 99.0)
    market = inputs.market(candles)
    result = inputs.run(market, inputs.target(candles, {0: 1.0, 2: 0.0}), BacktestParams(costs=FREE))
    profits = asset_profits(result, [market])[:, 0]
    assert profits == pytest.approx([0, 1000, -1100, 0, 0])
    held = {market.asset: np.array([0, 2, 2, 1, 1], dtype=np.int8)}
    calm, balanced, stress = by_regime(result, [market], held)
    assert calm.total_return == pytest.approx(0.1)
    assert stress.total_return == pytest.approx(-1100 / 11_000)
    assert balanced.total_return == 0
    assert (calm.round_trips, calm.profit, stress.round_trips) == (1, pytest.approx(-100), 0)
    assert calm.share + balanced.share + stress.share == pytest.approx(1)


def test_costs_are_told_apart() -> None:
    candles = inputs.flat_bars(100.0, 100.0, 110.0, 110.0)
    market = inputs.market(candles)
    result = inputs.run(market, inputs.target(candles, {0: 0.5, 1: 0.0}), BacktestParams(costs=FEES))
    (row,) = asset_costs(result, [market])
    assert (row.gross, row.fees, row.slippage, row.funding) == pytest.approx((500, 10.5, 0, 0))
    assert row.profit == pytest.approx(489.5)
    assert (row.round_trips, row.won, row.traded) == (1, 1, pytest.approx(10_500))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_the_parts_are_the_whole(seed: int) -> None:
    given_ = inputs.random_inputs(seed, 200)
    result = backtest(
        given_["markets"],
        given_["signals"],
        given_["params"],
        given_["risk"],
        start_ms=given_["start_ms"],
        end_ms=given_["end_ms"],
    )
    markets, gained = given_["markets"], float(result.equity[-1] - result.initial)
    rows = asset_costs(result, markets)
    by_bar = asset_profits(result, markets)
    assert by_bar.sum() + result.funding.sum() == pytest.approx(gained, abs=1e-7 * result.initial)
    for row in rows:
        assert row.gross - row.fees - row.slippage + row.funding == pytest.approx(row.profit, abs=1e-7 * result.initial)
        assert row.slippage >= -1e-7 * result.initial


def test_without_funding_the_profit_of_each_bar_is_the_change_of_the_equity() -> None:
    drawn = inputs.random_inputs(3, 200)
    markets = [replace(market, funding=None) for market in drawn["markets"]]
    span = {"start_ms": drawn["start_ms"], "end_ms": drawn["end_ms"]}
    result = backtest(markets, drawn["signals"], drawn["params"], drawn["risk"], **span)
    changes = np.diff(result.equity, prepend=result.initial)
    np.testing.assert_allclose(asset_profits(result, markets).sum(axis=1), changes, atol=1e-7 * result.initial)


def test_months_are_compounded_and_belong_to_the_day_that_earned_them() -> None:
    days = parse_date_ms("2025-01-30") + DAY_MS * np.arange(4)
    found = monthly_returns(days, np.array([0.1, 0.1, -0.5, 0.2]))
    assert found == pytest.approx({"2025-01": 0.21, "2025-02": -0.4})
    assert monthly_returns(np.zeros(0, dtype=np.int64), np.zeros(0)) == {}


def test_the_rolling_sharpe_is_the_sharpe_of_each_window() -> None:
    returns = np.random.default_rng(1).normal(0.001, 0.01, 40)
    found = rolling_sharpe(returns, 10)
    assert np.isnan(found[:9]).all()
    assert found[9] == pytest.approx(sharpe(returns[:10]))
    assert found[-1] == pytest.approx(sharpe(returns[-10:]))
    assert np.isnan(rolling_sharpe(np.zeros(20), 10)).all()
    assert np.isnan(rolling_sharpe(returns, 50)).all()


def test_bars_without_a_regime_belong_to_none() -> None:
    candles = inputs.flat_bars(*np.linspace(100, 120, 30))
    market = inputs.market(candles)
    result = inputs.run(market, inputs.target(candles, {0: 1.0}))
    rows = by_regime(result, [market], {market.asset: np.full(len(candles), -1, dtype=np.int8)})
    assert [row.share for row in rows] == [0, 0, 0]
