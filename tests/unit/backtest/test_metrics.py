"""The numbers of a run: hand computation, invariants, and what is not defined."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.backtest import metrics, statistics
from shared.backtest.result import BacktestResult, Fills, RoundTrips
from shared.domain.asset import Asset
from shared.domain.errors import MalformedData
from shared.domain.interval import DAY_MS, HOUR_MS, YEAR_MS, Interval
from shared.domain.orders import Fill, Side
from shared.domain.records import FundingPayment, Trade

CURVES = st.lists(st.floats(0.5, 2.0), min_size=3, max_size=40).map(np.array)


def times(count: int, step_ms: int = HOUR_MS) -> np.ndarray:
    return np.arange(count, dtype=np.int64) * step_ms


def trade(profit: str) -> Trade:
    one = Decimal(1)
    return Trade("t", "b", "BTCUSDT", "long", one, one, one, 0, HOUR_MS, Decimal(profit), Decimal("0.5"), None, None)


def fill(quantity: str, price: str, fee: str) -> Fill:
    return Fill("BTCUSDT", "1", None, "1", Side.BUY, Decimal(quantity), Decimal(price), Decimal(fee), 0)


def test_ratios_agree_with_a_computation_by_hand() -> None:
    # Returns 0.1, -0.1, 0.1, -0.05: mean 0.0125; deviations² sum to 0.031875; downside² sum to 0.0125.
    changes = np.array([0.1, -0.1, 0.1, -0.05])
    assert statistics.sharpe(changes) == pytest.approx(0.0125 / math.sqrt(0.031875 / 3))
    assert statistics.sortino(changes) == pytest.approx(0.0125 / math.sqrt(0.0125 / 4))


def test_a_summary_agrees_with_a_computation_by_hand() -> None:
    equity = np.array([1000.0, 1100.0, 990.0, 1045.0])
    found = metrics.summary(
        times(4, DAY_MS),
        equity,
        trades=[trade("150"), trade("-60"), trade("-45")],
        fills=[fill("2", "100", "0.25"), fill("1", "211.25", "0.5")],
        funding=[FundingPayment("f", "BTCUSDT", Decimal("-1.5"), 0)],
        gross_exposure=np.array([0.0, 0.5, 0.0, -0.5]),
    )
    assert found.total_return == pytest.approx(0.045)
    assert found.cagr == pytest.approx(1.045 ** (365 / 3) - 1)
    assert found.max_drawdown == pytest.approx(0.1)
    assert found.longest_drawdown_ms == 2 * DAY_MS
    assert found.win_rate == pytest.approx(1 / 3)
    assert found.profit_factor == pytest.approx(150 / 105)
    assert (found.exposure, found.fees, found.funding, found.trades) == (0.5, 0.75, -1.5, 3)
    assert found.turnover == pytest.approx(411.25 / 1033.75)
    assert found.sharpe == pytest.approx(statistics.sharpe(statistics.period_returns(equity)) * math.sqrt(365))
    assert found.calmar == pytest.approx(found.cagr / 0.1)


def test_the_drawdown_counts_from_the_capital_at_the_start() -> None:
    found = metrics.summary(times(3), np.array([950.0, 900.0, 980.0]), initial=1000.0)
    assert found.max_drawdown == pytest.approx(0.1)
    assert found.total_return == pytest.approx(-0.02)


def test_the_longest_drawdown_runs_from_the_high_to_the_recovery() -> None:
    equity = np.array([100.0, 110.0, 105.0, 104.0, 111.0, 112.0, 111.0])
    assert statistics.longest_drawdown_ms(times(7), equity) == 3 * HOUR_MS
    assert statistics.longest_drawdown_ms(times(3), np.array([1.0, 2.0, 3.0])) == 0


@pytest.mark.parametrize("equity", [[1000.0], [1000.0, 1000.0, 1000.0], [1000.0, 1010.0]])
def test_what_is_not_defined_is_none_and_never_nan(equity: list[float]) -> None:
    found = metrics.summary(times(len(equity)), np.array(equity))
    assert found.sharpe is None
    assert found.sortino is None
    assert found.calmar is None
    assert found.profit_factor is None
    assert found.win_rate is None
    assert all(math.isfinite(value) for value in found.as_dict().values() if isinstance(value, float))


def test_without_losers_there_is_no_profit_factor() -> None:
    assert statistics.profit_factor(np.array([5.0])) is None
    assert statistics.profit_factor(np.array([-5.0])) == 0.0


def test_a_ruined_account_earns_nothing_more() -> None:
    found = metrics.summary(times(4, DAY_MS), np.array([100.0, 50.0, -10.0, -10.0]))
    assert found.cagr == -1.0
    assert found.max_drawdown == pytest.approx(1.1)
    assert len(statistics.period_returns(np.array([100.0, 50.0, -10.0, -10.0]))) == 2


@pytest.mark.parametrize(
    ("equity", "message"),
    [([], "at least one"), ([0.0, 1.0], "above 0"), ([1.0, math.nan], "finite")],
)
def test_an_impossible_curve_is_refused(equity: list[float], message: str) -> None:
    with pytest.raises(MalformedData, match=message):
        metrics.summary(times(len(equity)), np.array(equity))


def test_growth_that_doubles_in_a_year_is_100_percent() -> None:
    assert statistics.cagr(1.0, 2.0, YEAR_MS) == pytest.approx(1.0)
    assert statistics.cagr(1.0, 1e9, DAY_MS) is None  # beyond what a float holds
    assert statistics.cagr(1.0, 2.0, HOUR_MS) is None


@given(CURVES, st.sampled_from([0.25, 0.5, 4.0, 1024.0]))
def test_the_scale_of_the_account_changes_no_ratio(equity: np.ndarray, scale: float) -> None:
    # Powers of two scale without rounding: every number that is not money stays the same to the last bit.
    one, other = (metrics.summary(times(len(equity)), curve).as_dict() for curve in (equity, equity * scale))
    for name in one.keys() - {"start_equity", "end_equity"}:
        assert one[name] == other[name], name
    assert other["end_equity"] == one["end_equity"] * scale


@given(CURVES)
def test_a_drawdown_lies_between_zero_and_one_while_equity_is_positive(equity: np.ndarray) -> None:
    losses = statistics.drawdowns(equity)
    assert np.all((losses >= 0) & (losses < 1))
    assert statistics.max_drawdown(equity) >= 1 - equity[-1] / equity[0] - 1e-12
    assert 0 <= statistics.longest_drawdown_ms(times(len(equity)), equity) <= (len(equity) - 1) * HOUR_MS


def result(equity: list[float], start_ms: int = 0, step_ms: int = HOUR_MS, **changes: object) -> BacktestResult:
    """A backtest of one asset that was worth `equity`."""
    count, none = len(equity), np.zeros(0)
    fills = Fills(none.astype(np.int64), none.astype(np.int8), none, none, none, none, none.astype(np.int8))
    trips = RoundTrips(
        *(none.astype(np.int8),) * 2, *(none,) * 3, *(none.astype(np.int64),) * 2, *(none,) * 2, none.astype(np.int8)
    )
    curve = np.array(equity, dtype=np.float64)
    plain = BacktestResult(
        label="test",
        interval=Interval.H1,
        assets=(Asset("binanceusdm", "BTCUSDT"),),
        initial=1000.0,
        time_ms=start_ms + step_ms * np.arange(count, dtype=np.int64),
        equity=curve,
        wallet=curve,
        exposure=np.zeros(count),
        position=np.zeros((count, 1)),
        fills=fills,
        trades=trips,
        funding=np.zeros(1),
        halts=np.zeros((0, 3), dtype=np.int64),
        identity_error=0.0,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_a_day_ends_with_the_bar_that_closes_at_midnight() -> None:
    # The first decision at midnight: nothing was earned before it. 24 bars of day 0, then 2 of day 1.
    days, returns = metrics.daily_returns(result([1000.0, *np.linspace(1001, 1100, 24), 1095.0, 990.0]))
    assert days.tolist() == [0, DAY_MS]
    assert returns == pytest.approx([0.1, -0.1])


def test_a_first_day_that_is_a_part_counts_from_the_capital() -> None:
    days, returns = metrics.daily_returns(result([1000.0, 1010.0, 1020.0], start_ms=22 * HOUR_MS))
    assert days.tolist() == [0]
    assert returns == pytest.approx([0.02])


def test_a_day_without_bars_has_no_row_and_ruin_is_lost_once() -> None:
    times_ms = np.array([0, 24, 72, 96, 120], dtype=np.int64) * HOUR_MS
    days, returns = statistics.returns_by_day(times_ms, np.array([100.0, 110.0, 55.0, -5.0, 20.0]), 100.0, 0)
    assert (days // DAY_MS).tolist() == [0, 2, 3, 4]
    assert returns[:3] == pytest.approx([0.1, -0.5, -1.0])
    nothing = metrics.daily_returns(result([1000.0]))
    assert [len(part) for part in nothing] == [0, 0]


@given(CURVES, st.integers(0, 48))
def test_days_compound_to_the_whole(equity: np.ndarray, hour: int) -> None:
    curve = result([1000.0, *(1000 * equity)], start_ms=hour * HOUR_MS)
    assert np.prod(1 + metrics.daily_returns(curve)[1]) == pytest.approx(equity[-1])


def test_a_backtest_is_summarised_like_a_book() -> None:
    # Two buys of 1 at 100 and a sale of 2 at 120, each 0.5 away from its reference; fee 1 each.
    fills = Fills(
        time_ms=np.array([0, HOUR_MS, 2 * HOUR_MS]),
        asset=np.zeros(3, dtype=np.int8),
        quantity=np.array([1.0, 1.0, -2.0]),
        price=np.array([100.0, 100.0, 120.0]),
        reference=np.array([99.5, 99.5, 120.5]),
        fee=np.ones(3),
        reason=np.array([0, 1, 2], dtype=np.int8),
    )
    found = metrics.summarise(result([1000.0, 1000.0, 1037.0, 1037.0], fills=fills, exposure=np.array([100.0, 200, 0, 0])))
    assert (found.fees, found.slippage, found.exposure) == pytest.approx((3.0, 2.0, 0.5))
    assert found.turnover == pytest.approx(440 / np.mean([1000, 1000, 1037, 1037]))
    assert found.total_return == pytest.approx(0.037)
    by_hand = metrics.summary(times(4), np.array([1000.0, 1000.0, 1037.0, 1037.0]), initial=1000.0)
    assert found.sharpe == by_hand.sharpe
    assert (found.var_95, found.tail_ratio, found.days) == (None, None, 1)


def test_the_untouched_capital_at_the_first_instant_is_no_bar_of_its_own() -> None:
    # Two days, 1 % and 2 %: growth over exactly two days, and the Sharpe ratio of two returns, not of (0, 1 %, 2 %).
    for found in (
        metrics.summarise(result([1000.0, 1010.0, 1030.2], step_ms=DAY_MS)),
        metrics.summary(times(3, DAY_MS), np.array([1000.0, 1010.0, 1030.2]), initial=1000.0),
    ):
        assert found.cagr == pytest.approx(1.0302 ** (365 / 2) - 1)
        assert found.sharpe == pytest.approx(0.015 / math.sqrt(5e-5) * math.sqrt(365))
    # A first point that has already moved ends a bar that began with the capital.
    moved = metrics.summary(times(2, DAY_MS), np.array([1010.0, 1030.2]), initial=1000.0)
    assert (moved.cagr, moved.sharpe) == pytest.approx((found.cagr, found.sharpe))


def test_there_is_no_tail_ratio_without_two_tails() -> None:
    losses = -np.linspace(0.001, 0.03, 30)
    assert statistics.tail_ratio(losses) is None
    assert statistics.tail_ratio(-losses) is None
    assert statistics.tail_ratio(np.concatenate([losses, -2 * losses])) == pytest.approx(2.0, rel=0.2)


def test_daily_risk_agrees_with_quantiles_of_the_days() -> None:
    rng = np.random.default_rng(5)
    moves = rng.normal(0.001, 0.02, 120)
    found = metrics.summarise(result([1000.0, *(1000 * np.cumprod(1 + moves))], step_ms=DAY_MS))
    assert found.days == 120
    assert found.var_95 == pytest.approx(-np.quantile(moves, 0.05))
    assert found.cvar_99 == pytest.approx(
        -np.mean(np.sort(moves)[: np.searchsorted(np.sort(moves), np.quantile(moves, 0.01), "right")])
    )
    assert found.tail_ratio == pytest.approx(np.quantile(moves, 0.95) / -np.quantile(moves, 0.05))


@given(CURVES)
def test_the_longest_drawdown_agrees_with_a_walk_through_the_bars(equity: np.ndarray) -> None:
    longest, high, below = 0, 0, False
    under = statistics.drawdowns(equity) > 0
    for now, is_below in zip(times(len(equity)).tolist(), under.tolist(), strict=True):
        if is_below or below:
            longest = max(longest, now - high)
        if not is_below:
            high = now
        below = is_below
    assert statistics.longest_drawdown_ms(times(len(equity)), equity) == longest
