"""The trigger: what fires, what never does, and what cannot be judged is a reason instead of an exception."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from shared.domain.errors import ConfigError, MalformedData
from shared.domain.interval import DAY_MS, HOUR_MS
from shared.monitor.params import MonitorParams
from shared.monitor.performance import Baseline, Finding, PerformanceCheck, check_performance, rolling_returns

NOW = 1_751_328_000_000
BASELINE = Baseline(sharpe_daily=0.1, volatility_daily=0.01, days=730, skewness=-0.3, kurtosis=5.0, clustering=6.0)
PARAMS = MonitorParams()

windows = arrays(np.float64, st.integers(0, 45), elements=st.floats(-0.2, 0.2))
wild = arrays(np.float64, st.integers(0, 45), elements=st.floats(allow_nan=True, allow_infinity=True))
baselines = st.builds(
    Baseline,
    sharpe_daily=st.floats(-1, 1),
    volatility_daily=st.floats(1e-6, 0.2),
    days=st.integers(90, 2000),
    skewness=st.floats(-1, 1),
    kurtosis=st.floats(3, 30),
    clustering=st.none() | st.floats(2, 100),
)


def window(sharpe: float, deviation: float, days: int = 30) -> np.ndarray:
    """Returns with exactly this Sharpe ratio per day and deviation."""
    shape = np.random.default_rng(days).standard_normal(days)
    shape = (shape - shape.mean()) / shape.std(ddof=1)
    return deviation * (shape + sharpe)


def look(returns: np.ndarray, baseline: Baseline | None = BASELINE, last_event_ms: int | None = None) -> PerformanceCheck:
    return check_performance(returns, baseline, PARAMS, NOW, last_event_ms)


def finding(check: PerformanceCheck, metric: str) -> Finding:
    return next(found for found in check.findings if found.metric == metric)


def test_performance_as_expected_does_not_fire() -> None:
    check = look(window(0.1, 0.01))
    assert (check.fired, check.trigger, check.days) == (False, None, 30)
    assert finding(check, "sharpe").z == pytest.approx(0, abs=1e-9)
    assert "within the minimum effect" in check.reason


def test_a_collapse_fires_on_the_sharpe_ratio() -> None:
    check = look(window(-0.6, 0.01))
    assert check.trigger == "sharpe"
    found = finding(check, "sharpe")
    # √((1 + 0.3·0.1 + 4/4·0.01)·(1/29 + 1/729)), by hand
    assert found.standard_error == pytest.approx(math.sqrt(1.04 * (1 / 29 + 1 / 729)))
    assert found.z == pytest.approx(-0.7 / math.sqrt(1.04 * (1 / 29 + 1 / 729)))
    assert found.relative_change == pytest.approx(-7.0)
    assert check.reason.startswith("Sharpe -11.46 against +1.91 (-700%, z -3.6): beyond 15% and 3 standard errors")


def test_a_loss_of_the_whole_edge_is_within_chance_of_thirty_days() -> None:
    check = look(window(0.0, 0.01))
    assert not check.fired
    assert finding(check, "sharpe").relative_change == pytest.approx(-1.0)
    assert "within chance" in check.reason


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_volatility_fires_in_either_direction(factor: float) -> None:
    check = look(window(0.1, 0.01 * factor))
    assert check.trigger == "volatility"
    expected = 2 * math.log(factor) / math.sqrt(6.0 * (1 / 30 + 1 / 730))
    assert finding(check, "volatility").z == pytest.approx(expected)


def test_volatility_that_varies_much_by_itself_needs_more() -> None:
    returns = window(0.1, 0.03)
    assert look(returns, replace(BASELINE, clustering=6.0)).fired
    assert not look(returns, replace(BASELINE, clustering=40.0)).fired
    unknown = look(returns, replace(BASELINE, clustering=None))
    assert not unknown.fired
    assert "not judged" in finding(unknown, "volatility").reason


def test_the_floor_keeps_a_baseline_near_zero_from_exploding() -> None:
    check = look(window(-0.01, 0.01), replace(BASELINE, sharpe_daily=1e-9))
    change = finding(check, "sharpe").relative_change
    assert change == pytest.approx(-0.01 * math.sqrt(365) / 0.5, rel=1e-3)


def test_nothing_fires_within_the_cool_down() -> None:
    bad = window(-0.8, 0.01)
    just_before = NOW - PARAMS.cool_down_days * DAY_MS + 1
    check = look(bad, last_event_ms=just_before)
    assert not check.fired
    assert check.reason.startswith("cooling down until")
    assert look(bad, last_event_ms=just_before - 1).fired


@pytest.mark.parametrize(
    ("returns", "baseline", "reason"),
    [
        (window(-1, 0.01, 24), BASELINE, "not enough data: 24 daily returns in the window, needed 25"),
        (np.zeros(30), BASELINE, "not enough data: the account did not move"),
        (np.full(30, np.nan), BASELINE, "not enough data: 0 daily returns"),
        (window(-1, 0.01), None, "no baseline"),
        (window(-1, 0.01), replace(BASELINE, days=89), "not enough data: the baseline has 89 days"),
        (window(-1, 0.01), replace(BASELINE, volatility_daily=0.0), "no baseline: its volatility is 0.0"),
        (window(-1, 0.01), replace(BASELINE, sharpe_daily=math.nan), "no baseline"),
    ],
)
def test_what_cannot_be_judged_is_a_reason(returns: np.ndarray, baseline: Baseline | None, reason: str) -> None:
    check = look(returns, baseline)
    assert not check.fired
    assert check.reason.startswith(reason)
    assert check.findings == ()


@given(returns=windows, baseline=baselines)
@settings(max_examples=300, deadline=None)
def test_it_never_fires_within_the_minimum_effect_nor_for_a_better_sharpe(returns: np.ndarray, baseline: Baseline) -> None:
    check = look(returns, baseline)
    for found in check.findings:
        assert found.relative_change is not None
        if found.fired:
            assert found.z is not None
            assert abs(found.relative_change) > PARAMS.minimum_effect
            assert abs(found.z) > found.threshold
            assert found.metric == "volatility" or found.relative_change < 0
    assert check.fired == any(found.fired for found in check.findings)


@given(returns=wild, baseline=baselines)
@settings(max_examples=300, deadline=None)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_numbers_whatever_raise_and_every_look_has_a_reason(returns: np.ndarray, baseline: Baseline) -> None:
    check = look(returns, baseline)
    assert check.reason
    json.dumps(check.as_dict())


@given(returns=windows, baseline=baselines, age_days=st.floats(0, 29.99))
@settings(max_examples=100, deadline=None)
def test_the_cool_down_holds_whatever_the_numbers(returns: np.ndarray, baseline: Baseline, age_days: float) -> None:
    assert not look(returns, baseline, NOW - int(age_days * DAY_MS)).fired


class TestBaseline:
    def test_it_survives_a_champions_metrics(self) -> None:
        made = Baseline.of(window(0.1, 0.02, 400), 30)
        assert made is not None
        assert made.sharpe_daily == pytest.approx(0.1)
        assert made.volatility_daily == pytest.approx(0.02)
        assert Baseline.from_metrics({**made.as_dict(), "total_return": 0.3}) == made

    def test_three_numbers_are_enough(self) -> None:
        metrics = {"sharpe_daily": 0.1, "volatility_daily": 0.01, "days": 400}
        assert Baseline.from_metrics(metrics) == Baseline(0.1, 0.01, 400)
        assert Baseline.from_metrics({**metrics, "kurtosis": "NaN", "clustering": None}) == Baseline(0.1, 0.01, 400)

    @pytest.mark.parametrize("missing", ["sharpe_daily", "volatility_daily", "days"])
    def test_less_is_none(self, missing: str) -> None:
        metrics = {"sharpe_daily": 0.1, "volatility_daily": 0.01, "days": 400, missing: None}
        assert Baseline.from_metrics(metrics) is None
        assert Baseline.from_metrics({**metrics, missing: "NaN"}) is None

    def test_returns_that_do_not_move_have_none(self) -> None:
        assert Baseline.of(np.zeros(100), 30) is None
        assert Baseline.of(np.array([0.1, 0.2]), 30) is None
        assert Baseline.of(np.array([0.1, np.nan, 0.3]), 30) is None


class TestRollingReturns:
    def test_days_end_at_the_look(self) -> None:
        time_ms = NOW + HOUR_MS * np.arange(0, 73)
        equity = 100.0 * 1.001 ** np.arange(73)
        found = rolling_returns(time_ms, equity, NOW + 72 * HOUR_MS, 3)
        assert found == pytest.approx([1.001**24 - 1] * 3)
        shifted = rolling_returns(time_ms, equity, NOW + 60 * HOUR_MS, 3)
        assert np.isnan(shifted[0])
        assert shifted[1:] == pytest.approx([1.001**24 - 1] * 2)

    def test_a_day_without_a_point_is_nan_and_its_change_belongs_to_the_next(self) -> None:
        time_ms = NOW + DAY_MS * np.array([0, 1, 3])
        found = rolling_returns(time_ms, np.array([100.0, 110.0, 121.0]), NOW + 3 * DAY_MS, 3)
        assert found == pytest.approx([0.1, np.nan, 0.1], nan_ok=True)

    def test_an_empty_or_ruined_curve_has_none(self) -> None:
        assert np.isnan(rolling_returns(np.empty(0, np.int64), np.empty(0), NOW, 3)).all()
        ruined = rolling_returns(NOW + DAY_MS * np.arange(3), np.array([1.0, 0.0, 1.0]), NOW + 2 * DAY_MS, 2)
        assert ruined == pytest.approx([-1.0, np.nan], nan_ok=True)

    def test_what_is_no_curve_is_refused(self) -> None:
        with pytest.raises(MalformedData, match="increasing"):
            rolling_returns(np.array([2, 1]), np.ones(2), NOW, 3)


@pytest.mark.parametrize(
    "changes",
    [{"window_days": 9}, {"minimum_days": 31}, {"sharpe_z": 0.0}, {"minimum_effect": math.nan}, {"cool_down_days": -1}],
)
def test_settings_out_of_range_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"monitor.{next(iter(changes))}"):
        MonitorParams(**changes)  # type: ignore[arg-type]
