"""Value at risk: golden numbers, the domain of Cornish-Fisher, and what holds for every sample."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from shared.domain.errors import ConfigError, MalformedData
from shared.risk.value_at_risk import VarMethod, cornish_fisher_var, domain_problem, least_observations, moments, value_at_risk

SAMPLES = st.lists(st.floats(-0.5, 0.5), min_size=20, max_size=120).map(np.array)


def test_the_historical_var_is_the_type_7_quantile() -> None:
    # 21 returns -10 % … +10 %: rank (21 - 1)·0.05 = 1, so the quantile is the second smallest; CVaR the mean of the two.
    found = value_at_risk(np.arange(-10, 11) / 100, 0.95)
    assert found is not None
    assert found.historical == pytest.approx(0.09)
    assert found.cvar == pytest.approx(0.095)
    # Between two ranks: (22 - 1)·0.05 = 1.05.
    between = value_at_risk(np.arange(-10, 12) / 100, 0.95)
    assert between is not None
    assert between.historical == pytest.approx(0.0895)
    assert between.historical == pytest.approx(-statistics.quantiles(np.arange(-10, 12) / 100, n=20, method="inclusive")[0])


def test_the_gaussian_var_is_that_of_the_normal_distribution_with_moments_divided_by_n() -> None:
    returns = np.random.default_rng(1).normal(0.001, 0.02, 500)
    found = value_at_risk(returns, 0.99)
    assert found is not None
    assert found.gaussian == pytest.approx(-stats.norm.ppf(0.01, returns.mean(), returns.std(ddof=0)), rel=1e-12)


def test_cornish_fisher_agrees_with_a_computation_by_hand() -> None:
    # z = -1.6448536; S = -0.5, K = 1: z + (z²-1)S/6 + (z³-3z)K/24 - (2z³-5z)S²/36
    # = -1.6448536 - 0.1421286 + 0.0201795 + 0.0046902 = -1.7621125
    class Known:
        mean, deviation, skewness, excess_kurtosis = 0.0, 1.0, -0.5, 1.0

    z = -1.6448536269514722
    expected = z + (z**2 - 1) * -0.5 / 6 + (z**3 - 3 * z) / 24 - (2 * z**3 - 5 * z) * 0.25 / 36
    assert expected == pytest.approx(-1.7621, abs=2e-4)
    assert cornish_fisher_var(Known(), 0.95) == pytest.approx(-expected, rel=1e-12)  # type: ignore[arg-type]


def test_moments_divide_by_n() -> None:
    returns = np.random.default_rng(2).standard_t(4, 300) / 100
    known = moments(returns)
    assert known.deviation == pytest.approx(returns.std(ddof=0), rel=1e-12)
    assert known.skewness == pytest.approx(stats.skew(returns), rel=1e-9)
    assert known.excess_kurtosis == pytest.approx(stats.kurtosis(returns), rel=1e-9)


@pytest.mark.parametrize(
    ("skewness", "kurtosis", "inside"),
    [
        (0.0, 0.0, True),
        (0.0, 7.99, True),
        (0.0, 8.01, False),
        (0.0, -0.1, False),
        (1.0, 2.0, True),
        (1.0, 0.5, False),
        (2.6, 12.0, False),
    ],
)
def test_the_domain_of_cornish_fisher_is_that_of_maillard(skewness: float, kurtosis: float, inside: bool) -> None:
    assert (domain_problem(skewness, kurtosis) is None) is inside


@given(st.floats(-3, 3).map(lambda value: round(value, 3)), st.floats(-1, 12).map(lambda value: round(value, 3)))
def test_the_domain_is_where_the_transformation_rises_with_every_z(skewness: float, kurtosis: float) -> None:
    # Its slope in z is the parabola a z² + b z + c: nowhere negative if it opens upwards from a vertex that is not negative.
    a, b = kurtosis / 8 - skewness**2 / 6, skewness / 3
    c = 1 - kurtosis / 8 + 5 * skewness**2 / 36
    lowest = c - b**2 / (4 * a) if a > 0 else c if a == b == 0 else -math.inf
    assume(abs(lowest) > 1e-6)
    assert (domain_problem(skewness, kurtosis) is None) is (lowest > 0)


def test_outside_its_domain_cornish_fisher_falls_back_to_historical_and_says_so() -> None:
    returns = np.concatenate([np.full(199, 0.001), [-0.5]])
    found = value_at_risk(returns, 0.95)
    assert found is not None
    assert found.cornish_fisher_method is VarMethod.HISTORICAL
    assert found.cornish_fisher == found.historical
    assert "outside the monotone domain" in str(found.cornish_fisher_note)


@pytest.mark.parametrize(("level", "least"), [(0.95, 20), (0.99, 100)])
def test_too_few_returns_have_no_var(level: float, least: int) -> None:
    assert least_observations(level) == least
    assert value_at_risk(np.linspace(-0.1, 0.1, least - 1), level) is None
    assert value_at_risk(np.linspace(-0.1, 0.1, least), level) is not None


def test_constant_returns_have_a_var_without_any_spread() -> None:
    found = value_at_risk(np.full(100, 0.01), 0.99)
    assert found is not None
    assert (found.historical, found.cvar) == pytest.approx((-0.01, -0.01))
    assert found.gaussian == pytest.approx(-0.01)


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"0\.5"):
        value_at_risk(np.zeros(50), 0.3)
    with pytest.raises(MalformedData, match="finite"):
        value_at_risk(np.array([math.nan] * 50), 0.95)


@given(SAMPLES)
def test_cvar_is_never_smaller_than_var(returns: np.ndarray) -> None:
    found = value_at_risk(returns, 0.95)
    assert found is not None
    assert found.cvar >= found.historical - 1e-12
    assert -returns.max() - 1e-12 <= found.historical <= -returns.min() + 1e-12
    assert all(math.isfinite(value) for value in (found.gaussian, found.cornish_fisher, found.cvar))
