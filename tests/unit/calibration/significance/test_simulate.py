"""The simulated truth is what it says, and the promotion rule rarely promotes noise, where the plain rules often do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shared.calibration.significance.clustering import clustered_scales
from shared.calibration.significance.params import SignificanceParams
from shared.calibration.significance.simulate import Process, Scenario, Simulation, draw_returns, quick, simulate
from shared.domain.errors import UsageError

SMALL = Scenario(variants=10, days=400, confirm_days=200)
PARAMS = quick(SignificanceParams(resamples=300, set_resamples=200, pbo_slices=4))


def rates(found: Simulation) -> dict[str, float]:
    return {rate.name: rate.rate for rate in found.rates}


@pytest.mark.parametrize("process", list(Process))
def test_draws_have_the_sharpe_ratio_correlation_and_leverage_of_the_scenario(process: Process) -> None:
    scenario = Scenario(variants=4, days=200_000, sharpe=1.0, better_by=3.0, correlation=0.6, leverage=4.0, process=process)
    returns = draw_returns(scenario, np.random.default_rng(1))
    annual = returns.mean(axis=0) / returns.std(axis=0) * np.sqrt(365)
    assert annual == pytest.approx([1, 4, 1, 1, 1], abs=0.25)
    assert np.corrcoef(returns.T)[0, 4] == pytest.approx(0.6, abs=0.03)
    assert returns.std(axis=0) / returns[:, 0].std() == pytest.approx([1, 1, 2, 3, 4], rel=0.03)


def test_garch_draws_have_fat_tails_and_clustered_volatility() -> None:
    returns = draw_returns(Scenario(variants=2, days=50_000), np.random.default_rng(2))[:, 0]
    z = (returns - returns.mean()) / returns.std()
    assert np.mean(z**4) > 5
    assert np.corrcoef(np.abs(z[1:]), np.abs(z[:-1]))[0, 1] > 0.1
    assert abs(np.corrcoef(z[1:], z[:-1])[0, 1]) < 0.03


def test_the_shocks_of_the_market_drive_its_volatility() -> None:
    panel = draw_returns(Scenario(variants=20, days=50_000, correlation=0.9), np.random.default_rng(2))
    market = panel.mean(axis=1) - panel.mean()
    spread = panel.std(axis=1)  # of a day: scale of that day, whatever the market's sign
    shock = market / spread  # what is left of the market when its scale is taken out
    calm = np.abs(shock[:-1]) < np.quantile(np.abs(shock), 0.5)
    wild = np.abs(shock[:-1]) > np.quantile(np.abs(shock), 0.95)
    assert spread[1:][wild].mean() > 1.15 * spread[1:][calm].mean()


def test_clustered_scales_follow_their_shocks() -> None:
    quiet = clustered_scales(np.ones(300), np.zeros(300), np.random.default_rng(11))
    assert quiet[-1] ** 2 == pytest.approx(0.02 / (1 - 0.90))
    shocks = np.zeros(300)
    shocks[298] = 5.0
    hit = clustered_scales(np.ones(300), shocks, np.random.default_rng(11))
    assert hit[-1] ** 2 == pytest.approx(0.02 + (0.08 * 25 + 0.90) * hit[-2] ** 2)


def test_noise_is_rarely_promoted_and_plain_rules_promote_it_often() -> None:
    found = rates(simulate(replace(SMALL, variants=40), PARAMS, campaigns=60, seed=1))
    assert found["promoted"] <= 0.05
    assert found["plain: Jobson-Korkie-Memmel"] > 0.1


def test_a_t_test_of_returns_promotes_leverage() -> None:
    levered = Scenario(variants=10, days=400, confirm_days=200, sharpe=2.0, leverage=3.0)
    found = rates(simulate(levered, PARAMS, campaigns=40, seed=1))
    assert found["promoted"] <= 0.05
    assert found["plain: paired t-test of returns"] > 0.5


def test_a_large_improvement_is_found() -> None:
    better = Scenario(variants=10, days=400, confirm_days=400, sharpe=2.0, better_by=4.0, correlation=0.9)
    found = simulate(better, PARAMS, campaigns=20, seed=1)
    assert rates(found)["promoted the better one"] > 0.7
    assert found.mean_pbo < 0.1
    assert found.mean_confirmed_gain == pytest.approx(4.0, abs=1.0)


def test_a_campaign_depends_on_the_seed_and_its_number_only() -> None:
    seen: list[tuple[int, int]] = []
    first = simulate(SMALL, PARAMS, campaigns=3, seed=5, on_progress=lambda done, total: seen.append((done, total)))
    assert first == simulate(SMALL, PARAMS, campaigns=3, seed=5)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_the_interval_is_wilsons() -> None:
    # Newcombe (1998), table I: 81 of 263 gives 0.2553 to 0.3662, 0 of 20 gives 0 to 0.1611
    from shared.calibration.significance.simulate import _rate

    some, none = _rate("x", 81, 263), _rate("x", 0, 20)
    assert (some.low, some.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert (none.low, none.high) == pytest.approx((0.0, 0.1611), abs=5e-5)


NOT_FINITE = [{name: value} for name in ("sharpe", "better_by", "correlation", "leverage") for value in (np.inf, np.nan)]


@pytest.mark.parametrize("change", [{"variants": 1}, {"days": 10}, {"correlation": 1.0}, {"leverage": 0.5}, *NOT_FINITE])
def test_impossible_scenarios_are_named(change: dict) -> None:
    with pytest.raises(UsageError, match="expected"):
        Scenario(**change)
    with pytest.raises(UsageError, match="0 campaigns"):
        simulate(SMALL, PARAMS, campaigns=0, seed=1)
