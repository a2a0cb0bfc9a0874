"""The simulation agrees with what is known without it, and with the trigger that it stands for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shared.domain.interval import DAY_MS
from shared.monitor.false_alarms import Plan, _before, _looks, count_alarms, detection, false_alarms
from shared.monitor.laws import Law, draw_returns
from shared.monitor.params import MonitorParams
from shared.monitor.performance import Baseline, check_performance

PARAMS = MonitorParams()


def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def test_every_look_is_the_one_of_the_trigger() -> None:
    returns = draw_returns(Law.HEAVY, rng(), 80, 1, -0.2)
    baseline = draw_returns(Law.HEAVY, rng(), 300, 1, 0.4)[:, 0]
    expected = Baseline.of(baseline, PARAMS.window_days)
    assert expected is not None
    path = _looks(returns, expected, PARAMS)
    fires = path.fires(PARAMS)
    assert fires.any()
    for look, day in enumerate(range(PARAMS.window_days + 1, 81)):
        check = check_performance(returns[:day, 0], expected, PARAMS, day * DAY_MS)
        assert check.fired == fires[look]
        sharpe, volatility = check.findings
        assert path.sharpe_z[look] == pytest.approx(sharpe.z)
        assert path.sharpe_change[look] == pytest.approx(sharpe.relative_change)
        assert path.volatility_z[look] == pytest.approx(volatility.z)
        assert path.volatility_change[look] == pytest.approx(volatility.relative_change)


def test_hourly_looks_see_the_24_hours_before() -> None:
    returns = draw_returns(Law.NORMAL, rng(), 60, 24, 0.1)
    baseline = draw_returns(Law.NORMAL, rng(), 300, 1, 0.1)[:, 0]
    expected = Baseline.of(baseline, 30)
    assert expected is not None
    path = _looks(returns, expected, PARAMS)
    hours = returns.ravel()
    last = len(hours) - 5
    days = hours[last - 30 * 24 : last].reshape(30, 24).sum(axis=1)
    check = check_performance(days, expected, PARAMS, 0)
    assert path.sharpe_z[-6] == pytest.approx(check.findings[0].z)


@pytest.mark.parametrize("law", Law)
@pytest.mark.parametrize("steps", [1, 24])
def test_laws_have_the_same_mean_and_deviation(law: Law, steps: int) -> None:
    daily = draw_returns(law, rng(), 60_000, steps, 0.1).sum(axis=1)
    assert daily.mean() == pytest.approx(0.001, abs=2e-4)
    assert daily.std() == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize(
    ("fires", "cool_down", "alarms"),
    [([1, 1, 1, 1, 1], 2, 3), ([1, 1, 1, 1, 1], 0, 5), ([0, 1, 0, 0, 1], 3, 2), ([0, 1, 0, 0, 1], 4, 1), ([0, 0], 1, 0)],
)
def test_an_alarm_silences_its_cool_down(fires: list[int], cool_down: int, alarms: int) -> None:
    assert count_alarms(np.array(fires, dtype=bool), cool_down) == alarms


def test_the_plain_rule_fires_on_nearly_every_look_and_the_trigger_hardly_ever() -> None:
    found = false_alarms(Law.NORMAL, PARAMS, Plan(paths=30, years=5), (2.0, 3.0), rng())
    assert found.plain_sharpe == pytest.approx(0.95, abs=0.02)  # quant.md, "Recalibration trigger"
    assert found.sharpe_error == pytest.approx(3.6, abs=0.1)  # √(365/29 + 365/729)
    assert found.sharpe_days["3"] is None or found.sharpe_days["3"] > 1000
    assert found.configured_days is None or found.configured_days > 500


def test_a_collapse_is_found_and_nothing_is_found_where_nothing_changed() -> None:
    plan = Plan(paths=60)
    collapse = detection(Law.NORMAL, PARAMS, plan, rng(), sharpe=-12.0)
    nothing = detection(Law.NORMAL, PARAMS, plan, rng())
    louder = detection(Law.NORMAL, PARAMS, plan, rng(), volatility_factor=2.0)
    assert collapse.shares["60"] > 0.9
    assert nothing.shares["30"] < 0.15
    assert louder.shares["30"] > 0.7
    assert (collapse.change, louder.change) == ("Sharpe 1.5 -> -12", "volatility x 2")


def test_the_same_generator_gives_the_same_figures() -> None:
    plan = Plan(paths=3, years=1)
    assert false_alarms(Law.CLUSTERED, PARAMS, plan, (2.0,), rng()) == false_alarms(Law.CLUSTERED, PARAMS, plan, (2.0,), rng())


def test_baselines_that_had_to_pass_are_too_good_and_alarm_more_often() -> None:
    plan = Plan(paths=40, years=4, baseline_days=292)
    plain = false_alarms(Law.NORMAL, PARAMS, plan, (2.0,), rng())
    champions = false_alarms(Law.NORMAL, PARAMS, replace(plan, shape_days=701, passing_z=1.645), (2.0,), rng())
    # One that passes has at least 1.645 standard errors of 292 days, about 1.9 a year; the true ratio is 1.5.
    assert plain.baseline_sharpe == pytest.approx(1.5, abs=0.5)
    assert champions.baseline_sharpe > 1.9
    before, after = plain.sharpe_days["2"], champions.sharpe_days["2"]
    assert before is not None
    assert after is not None
    assert after < before


def test_the_shape_of_a_baseline_comes_from_the_days_before_it() -> None:
    plan = Plan(baseline_days=292, shape_days=701)
    before, baseline = _before(Law.HEAVY, PARAMS, plan, rng(), 0.1)
    daily = before.sum(axis=1)
    assert len(daily) == 701 + 292 + PARAMS.window_days
    confirmed, shape = Baseline.of(daily[701:993], PARAMS.window_days), Baseline.of(daily[:701], PARAMS.window_days)
    assert confirmed is not None
    assert shape is not None
    assert (baseline.sharpe_daily, baseline.volatility_daily, baseline.days) == (
        confirmed.sharpe_daily, confirmed.volatility_daily, 292,
    )  # fmt: skip
    assert (baseline.skewness, baseline.kurtosis, baseline.clustering) == (shape.skewness, shape.kurtosis, shape.clustering)
