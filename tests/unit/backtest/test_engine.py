"""The backtest engine: each rule on a handful of bars, and what must hold whatever the market does."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_inputs import (
    FREE_RISK,
    START_MS,
    bars,
    digest_of,
    flat_bars,
    market,
    random_candles,
    random_inputs,
    random_run,
    run,
    target,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.backtest.engine import backtest
from shared.backtest.kernel import simulate
from shared.backtest.params import BacktestParams, CostParams
from shared.backtest.result import CHANGE, CLOSE, LIQUIDATION, OPEN, STOP
from shared.backtest.signals import SignalPath, TargetPath
from shared.domain.candles import COLUMNS, Candles
from shared.domain.errors import ConfigError, MalformedData, NotEnoughData, UsageError
from shared.domain.interval import HOUR_MS, Interval
from shared.risk.params import RiskParams
from shared.strategy.params import StrategyParams

FREE = CostParams(taker_fee_bps=0, half_spread_bps=0, impact_bps=0, stop_slippage_bps=0, liquidation_fee_bps=0)


def scored(candles: Candles, scores: list[float], **policy: float) -> SignalPath:
    """A signal for the position policy in a quiet market."""
    n = len(candles)
    ones = np.ones(n)
    policies = (StrategyParams().policy._replace(**policy),)
    return SignalPath(np.array(scores), ones * 0.001, ones * 0.01, ones, np.zeros(n, np.int8), policies, np.ones(n, np.bool_))


NO_COSTS = BacktestParams(capital=10_000.0, leverage=20, costs=FREE)


def test_a_decision_at_a_close_fills_at_the_next_open() -> None:
    candles = bars((100, 101, 99, 100), (102, 104, 101, 103), (103, 103, 103, 103))
    result = run(market(candles), target(candles, {0: 0.5}), NO_COSTS)
    assert result.time_ms.tolist() == [START_MS + k * HOUR_MS for k in (1, 2, 3)]
    assert result.fills.time_ms.tolist() == [START_MS + HOUR_MS]
    assert result.fills.price.tolist() == [102.0]
    assert result.fills.quantity.tolist() == [50.0]  # half of 10,000 at the close of 100
    assert result.fills.reason.tolist() == [OPEN]
    assert result.equity.tolist() == [10_000.0, 10_050.0, 10_050.0]
    assert result.position[:, 0].tolist() == [50.0, 50.0, 50.0]
    assert result.exposure.tolist() == [5_000.0, 5_150.0, 5_150.0]


def test_fee_half_spread_and_impact_are_paid_against_the_taker() -> None:
    candles = bars((100, 100, 100, 100), (100, 100, 100, 100), (100, 100, 100, 100), volume=500.0)
    costs = CostParams(taker_fee_bps=5, half_spread_bps=10, impact_bps=100)
    result = run(market(candles), target(candles, {0: 0.5, 1: 0.0}), replace(NO_COSTS, costs=costs))
    # 5,000 into a bar of 50,000: 10 + 100·√0.1 = 41.6 bps of 100, on the tick of 0.1 rounded up and down.
    assert result.fills.price.tolist() == pytest.approx([100.5, 99.5])
    assert result.fills.reference.tolist() == [100.0, 100.0]
    assert result.fills.fee.tolist() == pytest.approx([50 * 100.5 * 5e-4, 50 * 99.5 * 5e-4])
    assert result.wallet[-1] == pytest.approx(10_000 - 50.0 - 50 * 200 * 5e-4)


def test_sizes_are_cut_to_the_step_and_too_small_ones_not_ordered() -> None:
    candles = flat_bars(30_000, 30_000, 30_000)
    small = run(market(candles), target(candles, {0: 0.009}), NO_COSTS)  # 90: below the minimum notional of 100
    assert len(small.fills.price) == 0
    cut = run(market(candles), target(candles, {0: 0.0199}), NO_COSTS)  # 199 / 30,000 = 0.00663
    assert cut.fills.quantity.tolist() == [0.006]


def test_a_small_rest_may_be_closed_but_not_turned_around() -> None:
    candles = flat_bars(30_000, 30_000, 30_000, 30_000)
    closed = run(market(candles), target(candles, {0: 0.02, 1: 0.004, 2: 0.0}), NO_COSTS)
    assert closed.fills.quantity.tolist() == [0.006, -0.005, -0.001]
    assert closed.fills.reason.tolist() == [OPEN, CHANGE, CLOSE]
    turned = run(market(candles), target(candles, {0: 0.02, 1: 0.004, 2: -0.004}), NO_COSTS)
    assert turned.fills.quantity.tolist() == [0.006, -0.005]  # two steps are worth 60, and would open a position


@pytest.mark.parametrize(
    ("bar", "price", "reference"),
    [
        ((100.0, 101.0, 94.0, 99.0), 95.0, 95.0),  # inside the bar: at the stop
        ((93.0, 96.0, 92.0, 95.5), 93.0, 93.0),  # opening beyond it: at the open
    ],
)
def test_a_long_is_stopped_at_the_stop_or_at_an_open_beyond_it(bar: Any, price: float, reference: float) -> None:
    candles = bars((100, 100, 100, 100), (100, 100, 100, 100), bar, (99, 99, 99, 99))
    result = run(market(candles), target(candles, {0: 0.5}, stop=0.05), NO_COSTS)
    assert result.fills.reason.tolist() == [OPEN, STOP]
    assert result.fills.price.tolist() == [100.0, price]
    assert result.fills.reference[1] == reference
    assert result.fills.time_ms[1] == START_MS + 3 * HOUR_MS - 1
    assert result.trades.exit_reason.tolist() == [STOP]


def test_a_short_is_stopped_above() -> None:
    candles = bars((100, 100, 100, 100), (100, 106, 99, 101), (101, 101, 101, 101))
    result = run(market(candles), target(candles, {0: -0.5}, stop=0.05), NO_COSTS)
    assert result.fills.price.tolist() == [100.0, 105.0]
    assert result.fills.quantity.tolist() == [-50.0, 50.0]


def test_a_stop_that_would_trigger_at_once_is_refused_and_the_position_closed_at_the_next_bar() -> None:
    candles = bars((100, 100, 100, 100), (94, 96, 94, 96), (96, 96, 96, 96), (96, 96, 96, 96))
    result = run(market(candles), target(candles, {0: 0.5}, stop=0.05), NO_COSTS)
    assert result.fills.price.tolist() == [94.0, 96.0]
    assert result.fills.reason.tolist() == [OPEN, CLOSE]


def test_a_turn_goes_through_zero_in_one_order_and_makes_two_round_trips() -> None:
    candles = flat_bars(100, 100, 110, 100, 100)
    result = run(market(candles), target(candles, {0: 0.5, 1: -0.5, 3: 0.0}), NO_COSTS)
    assert result.fills.reason.tolist() == [OPEN, CHANGE, CLOSE]
    assert result.trades.side.tolist() == [1, -1]
    assert result.trades.entry_price.tolist() == pytest.approx([100.0, 110.0])
    assert result.trades.exit_price.tolist() == pytest.approx([110.0, 100.0])
    assert result.trades.profit.sum() == pytest.approx(result.wallet[-1] - 10_000)


def test_longs_pay_funding_at_the_stamp_on_what_they_hold() -> None:
    candles = flat_bars(100, 100, 110, 110)
    stamps = np.array([START_MS + HOUR_MS, START_MS + 2 * HOUR_MS + 5])  # at the first decision: nothing is held yet
    asset = market(candles, funding=(stamps, np.array([0.01, 0.001])))
    result = run(asset, target(candles, {0: 0.5}), NO_COSTS)
    assert result.funding.tolist() == [pytest.approx(-50 * 110 * 0.001)]
    assert result.wallet[1] == pytest.approx(10_000 - 5.5)


def test_funding_inside_a_bar_is_paid_on_the_path_and_before_the_stop() -> None:
    candles = bars((100, 100, 100, 100), (100, 106, 94, 103), (103, 103, 103, 103))
    asset = market(candles, funding=(np.array([START_MS + HOUR_MS + HOUR_MS // 3]), np.array([0.001])))
    result = run(asset, target(candles, {0: 0.5}, stop=0.05), NO_COSTS)
    assert result.fills.reason.tolist() == [OPEN, STOP]
    assert result.funding.tolist() == [pytest.approx(-50 * 94 * 0.001)]  # a rising bar is at its low after a third


def test_a_missing_bar_keeps_the_position_at_the_last_close_and_decides_nothing() -> None:
    candles = flat_bars(100, 104, 108, 112, 116, skip=(2, 3))
    result = run(market(candles), target(candles, {0: 0.5, 1: 0.2}), NO_COSTS)
    assert len(result.time_ms) == 5
    # The bar after row 1 is missing: its decision fills at the last close. The bar after the gap opens at 116.
    assert result.fills.price.tolist() == [104.0, 108.0]
    assert result.equity.tolist()[:3] == pytest.approx([10_000, 10_000 + 48.076 * 4, 10_000 + 48.076 * 4])
    assert result.equity[3] == result.equity[2]
    assert result.equity[4] == pytest.approx(result.equity[2] + result.position[3, 0] * (candles.close[-1] - 108))
    assert result.exposure[2] == pytest.approx(result.position[2, 0] * 108)


def test_margin_that_does_not_suffice_refuses_the_order() -> None:
    candles = flat_bars(100, 100, 100)
    thin = replace(NO_COSTS, leverage=1, costs=replace(FREE, taker_fee_bps=5))
    assert len(run(market(candles), target(candles, {0: 1.0}), thin).fills.price) == 0
    assert len(run(market(candles), target(candles, {0: 1.0}), replace(thin, leverage=2)).fills.price) == 1


def test_equity_below_the_maintenance_margin_is_liquidated_with_a_fine() -> None:
    candles = bars((100, 100, 100, 100), (100, 100, 88, 90), (90, 90, 90, 90), (90, 90, 90, 90))
    costs = replace(FREE, liquidation_fee_bps=100)
    result = run(market(candles), target(candles, {0: 10.0, 2: 1.0}), replace(NO_COSTS, costs=costs))
    # 1,000 units from 100: the first tier asks 0.5 % of the notional less 50, so equity meets it at 90.4.
    assert result.fills.reason.tolist() == [OPEN, LIQUIDATION]
    assert result.fills.price[1] == pytest.approx(90.4, abs=0.05)
    assert result.fills.fee[1] == pytest.approx(1000 * result.fills.price[1] * 0.01, rel=1e-6) or result.wallet[-1] == 0.0
    assert result.position[-1, 0] == 0.0  # frozen: no new risk after the venue closed it


def test_the_insurance_fund_pays_what_is_missing() -> None:
    candles = bars((100, 100, 100, 100), (100, 100, 100, 100), (50, 50, 50, 50), (50, 50, 50, 50))
    signal = scored(candles, [0.9, np.nan, np.nan, np.nan], max_leverage=5.0, maximum_stop=0.9, minimum_stop=0.9)
    result = run(market(candles), signal, NO_COSTS, replace(FREE_RISK, max_leverage=5.0))
    assert result.fills.reason.tolist() == [OPEN, LIQUIDATION]
    assert result.equity[-1] == 0.0
    assert result.fills.fee[-1] < 0
    assert result.identity_error < 1e-9


@pytest.mark.parametrize(("side", "gap"), [(1.0, 40.0), (-1.0, 180.0)])
def test_a_market_that_opens_beyond_the_margin_is_liquidated_before_anybody_decides(side: float, gap: float) -> None:
    candles = bars((100, 101, 99, 100), (100, 101, 99, 100), (gap, gap, gap, gap), (gap, gap, gap, gap))
    decisions = target(candles, dict.fromkeys(range(4), side * 2.0))  # it wants its position on every bar
    result = run(market(candles), decisions, BacktestParams(capital=10_000.0))
    assert result.fills.reason.tolist() == [OPEN, LIQUIDATION]
    assert result.fills.price[1] == pytest.approx(gap, abs=0.11)
    assert result.equity[1:].tolist() == [0.0, 0.0, 0.0]  # the insurance fund has paid what was missing
    assert result.wallet[-1] == 0.0
    assert not result.position[1:].any()
    assert result.identity_error < 1e-9


def test_a_debt_that_a_stop_leaves_is_the_insurance_funds() -> None:
    candles = bars((100, 100, 100, 100), (100, 100, 100, 100), (96.2, 96.2, 90, 90), (90, 90, 90, 90))
    costs = replace(FREE, stop_slippage_bps=1000)
    result = run(market(candles), target(candles, {0: 20.0}, stop=0.045), replace(NO_COSTS, costs=costs))
    assert result.fills.reason.tolist() == [OPEN, STOP]
    assert result.equity.min() == 0.0
    assert result.identity_error < 1e-9


def test_the_loss_of_a_day_ends_new_risk_until_midnight() -> None:
    prices = [100.0] * 2 + [94.0] * 30
    candles = flat_bars(*prices)
    wants = dict.fromkeys(range(len(prices)), 1.0) | {1: 1.0, 2: 0.5}
    free = replace(FREE_RISK, max_daily_loss=0.05, max_asset_exposure=1.0)
    result = run(market(candles), target(candles, wants), NO_COSTS, free)
    ((since, until, loss),) = result.halts.tolist()
    assert (since - START_MS) // HOUR_MS == 2  # the close of the bar that fell, 02:00
    assert until - START_MS == 24 * HOUR_MS
    assert loss < -500  # basis points, negative: not a drawdown
    held = np.abs(result.position[:, 0]) * candles.close / result.equity
    times = (result.time_ms - START_MS) // HOUR_MS
    assert (held[(times >= 3) & (times < 24)] < 0.6).all()
    assert held[times == 25] == pytest.approx(1.0, abs=0.01)


def test_the_value_at_risk_caps_a_policy_and_the_shock_caps_the_net_of_all_assets() -> None:
    candles = flat_bars(*([100.0] * 6))
    score = scored(candles, [0.9] * 6)
    for cap in (0.25, math.inf):
        result = run(market(candles), replace(score, exposure_cap=np.full(6, cap)), NO_COSTS, FREE_RISK)
        largest = (result.exposure / result.equity).max()
        assert (largest == pytest.approx(0.25, abs=0.01)) == (cap == 0.25)
    wants = dict.fromkeys(range(6), 1.0)
    pair = [market(candles), market(candles, "ETHUSDT")]
    shocked = replace(FREE_RISK, stress_shock=0.3, stress_loss_limit=0.45)  # 1.5 net
    long_both = run(pair, [target(candles, wants)] * 2, NO_COSTS, shocked)
    assert (long_both.exposure / long_both.equity).max() == pytest.approx(1.5, abs=0.01)
    hedged = [target(candles, wants), target(candles, dict.fromkeys(range(6), -1.0))]
    result = run(pair, hedged, NO_COSTS, shocked)
    assert (result.exposure / result.equity).max() == pytest.approx(2.0, abs=0.01)


def test_drawdowns_pause_new_risk_and_the_latch_closes_everything_for_good() -> None:
    prices = (100, 100, 94, 94, 94, 94, 78, 78, 78, 78)
    candles = flat_bars(*prices)
    wants = dict.fromkeys(range(len(prices)), 1.0) | {1: 0.5}
    result = run(market(candles), target(candles, wants), NO_COSTS, RiskParams(max_daily_loss=1.0))
    instants = ((result.halts[:, 0] - START_MS) // HOUR_MS).tolist()
    assert instants[0] == 2
    assert result.halts[0, 1] - result.halts[0, 0] == HOUR_MS
    assert result.halts[-1, 1] == -1
    assert result.halts[-1, 2] > 2000
    assert result.fills.reason[-1] == CLOSE
    assert result.position[-1, 0] == 0.0


def test_assets_share_one_account_and_its_total_exposure() -> None:
    candles = flat_bars(100, 100, 110, 110)
    risk = RiskParams(max_asset_exposure=1.0, max_total_exposure=1.5)
    both = [market(candles, "BTCUSDT"), market(candles, "ETHUSDT")]
    result = run(both, [target(candles, {0: 1.0}), target(candles, {0: -1.0})], NO_COSTS, risk)
    assert result.position[0].tolist() == [100.0, -50.0]
    assert result.equity[2] == pytest.approx(10_000 + 1000 - 500)
    assert result.trades.profit.size == 0


def test_a_frozen_market_is_not_entered() -> None:
    candles = flat_bars(*[100.0] * 6)
    signal = replace(scored(candles, [0.9] * 6), tradable=np.array([False, False, True, True, True, True]))
    result = run(market(candles), signal, NO_COSTS, RiskParams())
    assert ((result.fills.time_ms[0] - START_MS) // HOUR_MS) == 3


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_the_ledger_identity_holds_on_every_bar(seed: int) -> None:
    result = random_run(seed)
    assert result.identity_error < 1e-9
    fills, scale = result.fills, result.initial
    held = np.bincount(fills.asset, fills.quantity, len(result.assets))
    assert held == pytest.approx(result.position[-1], abs=1e-6)
    assert (result.equity >= 0).all()
    if not result.position[-1].any() and not (fills.time_ms == result.time_ms[-1]).any():
        earned = result.trades.profit.sum() + result.funding.sum()
        assert earned == pytest.approx(result.wallet[-1] - scale, abs=1e-6 * scale)
        assert result.trades.fees.sum() == pytest.approx(fills.fee.sum(), abs=1e-6 * scale)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(40, 290))
def test_cutting_off_the_end_changes_nothing_before(seed: int, keep: int) -> None:
    inputs = random_inputs(seed)
    whole = backtest(**_arguments(inputs), end_ms=inputs["end_ms"])
    end = START_MS + keep * HOUR_MS
    cut = backtest(**_arguments(inputs), end_ms=end)
    assert cut.time_ms[-1] == end
    n = len(cut.time_ms) - 1  # at the last instant no open follows
    for name in ("time_ms", "equity", "wallet", "exposure", "position"):
        np.testing.assert_array_equal(getattr(cut, name)[:n], getattr(whole, name)[:n])
    known, earlier = (
        (fills.time_ms < end)
        & ((fills.reason != LIQUIDATION) | (fills.time_ms < end - 1))  # one at an open closes the bar before
        for fills in (cut.fills, whole.fills)
    )
    assert cut.fills.price[known].tolist() == whole.fills.price[earlier].tolist()


def test_candles_outside_the_range_are_not_looked_at() -> None:
    inputs = random_inputs(3)
    end = START_MS + 200 * HOUR_MS
    whole = backtest(**_arguments(inputs), end_ms=end)
    rows = [int(np.searchsorted(each.candles.open_time, end)) for each in inputs["markets"]]
    inputs["markets"] = [replace(each, candles=each.candles[:k]) for each, k in zip(inputs["markets"], rows, strict=True)]
    inputs["signals"] = [_cut(signal, k) for signal, k in zip(inputs["signals"], rows, strict=True)]
    assert digest_of(backtest(**_arguments(inputs), end_ms=end)) == digest_of(whole)


def _arguments(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in inputs.items() if name != "end_ms"}


def _cut(signal: Any, rows: int) -> Any:
    names = [name for name in signal.__slots__ if isinstance(getattr(signal, name), np.ndarray)]
    return replace(signal, **{name: getattr(signal, name)[:rows] for name in names})


def test_candles_out_of_a_file_do_not_compile_the_kernel_again() -> None:
    candles = flat_bars(100, 100, 110, 110)
    run(market(candles), target(candles, {0: 0.5}))
    before = len(getattr(simulate, "signatures", ()))
    for name in COLUMNS:
        getattr(candles, name).flags.writeable = False
    run(market(candles), target(candles, {0: 0.5}))
    assert len(getattr(simulate, "signatures", ())) == before


def test_what_cannot_be_backtested_is_refused_with_a_reason() -> None:
    candles = flat_bars(100, 100, 100, 100)
    asset, wants = market(candles), target(candles, {0: 1.0})
    with pytest.raises(UsageError, match="before it starts"):
        run(asset, wants, end_ms=START_MS - HOUR_MS)
    with pytest.raises(NotEnoughData, match="no whole 1h bar"):
        run(asset, wants, end_ms=START_MS + HOUR_MS)
    with pytest.raises(NotEnoughData, match="BTCUSDT has no bars"):
        run(asset, wants, start_ms=START_MS + 100 * HOUR_MS, end_ms=START_MS + 200 * HOUR_MS)
    with pytest.raises(MalformedData, match=r"fraction has shape \(3,\)"):
        run(asset, TargetPath(np.zeros(3), np.zeros(4)))
    with pytest.raises(MalformedData, match="stop distances"):
        run(asset, TargetPath(np.zeros(4), np.full(4, 1.5)))
    with pytest.raises(UsageError, match="one signal per asset"):
        run(asset, [wants, wants])
    with pytest.raises(UsageError, match="1 to 100 assets"):
        backtest([], [], BacktestParams(), RiskParams(), start_ms=0, end_ms=1)
    with pytest.raises(UsageError, match="each asset once"):
        run([asset, asset], [wants, wants])
    daily = replace(asset, candles=replace(candles[:1], interval=Interval.M15))
    with pytest.raises(UsageError, match="same interval"):
        run([asset, replace(daily, asset=replace(asset.asset, symbol="ETHUSDT"))], [wants, wants])
    with pytest.raises(ConfigError, match="choose at most 125"):
        run(asset, wants, BacktestParams(leverage=126))
    with pytest.raises(ConfigError, match="capital"):
        BacktestParams(capital=0.0)
    with pytest.raises(ConfigError, match="leverage"):
        BacktestParams(leverage=0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([FREE_RISK, RiskParams()]), st.sampled_from([0.0, 0.003, 0.05]))
def test_an_idle_second_asset_changes_nothing(seed: int, risk: RiskParams, stop: float) -> None:
    """One asset on its own is marked through quiet stretches at once; beside another one, bar by bar."""
    rng = np.random.default_rng(seed)
    candles = random_candles(rng, 400, 0.01, 60_000.0, float(rng.choice([0.0, 0.05])))
    n = len(candles)
    wants = TargetPath(np.where(rng.random(n) < 0.1, rng.normal(0, 1, n), np.nan), np.full(n, stop))
    alone = run(market(candles), wants, risk=risk)
    idle = market(candles, "ETHUSDT"), target(candles, {})
    both = run([market(candles), idle[0]], [wants, idle[1]], risk=risk)
    for name in ("equity", "wallet", "exposure", "halts"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(both, name))
    np.testing.assert_array_equal(alone.position[:, 0], both.position[:, 0])
    assert alone.fills.price.tolist() == both.fills.price.tolist()
    assert alone.identity_error == both.identity_error
