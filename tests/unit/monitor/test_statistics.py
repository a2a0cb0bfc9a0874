"""Moments and standard errors against published and independently computed numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from shared.monitor.statistics import clustering, log_variance_error, moments, sharpe_difference_error, sharpe_error


def array(value: float) -> np.ndarray:
    return np.asarray(value)


@pytest.mark.parametrize(("sharpe", "periods", "published"), [(0.5, 12, 0.306), (1.5, 60, 0.188), (3.0, 24, 0.479)])
def test_normal_returns_have_the_errors_of_lo_2002(sharpe: float, periods: int, published: float) -> None:
    # Lo (2002), "The Statistics of Sharpe Ratios", table 1: √((1 + SR²/2) / T); here T - 1 takes the place of T.
    found = sharpe_error(array(sharpe), array(0.0), array(3.0), periods + 1)
    assert found == pytest.approx(published, abs=5e-4)


def test_skewed_returns_have_the_error_of_bailey_and_lopez_de_prado_2012() -> None:
    # "The Sharpe Ratio Efficient Frontier", the hedge fund of 24 months: SR 0.458, γ3 -2.448, γ4 10.164 give PSR(0) = 0.913.
    error = sharpe_error(array(0.458), array(-2.448), array(10.164), 24)
    assert stats.norm.cdf(0.458 / float(error)) == pytest.approx(0.913, abs=5e-4)


def test_moments_are_those_of_scipy() -> None:
    returns = np.random.default_rng(1).standard_t(5, (3, 40)) * 0.01 + 0.001
    found = moments(returns)
    assert np.allclose(found.deviation, returns.std(axis=-1, ddof=1))
    assert np.allclose(found.skewness, stats.skew(returns, axis=-1))
    assert np.allclose(found.kurtosis, stats.kurtosis(returns, axis=-1, fisher=False))
    assert np.allclose(found.sharpe, returns.mean(axis=-1) / returns.std(axis=-1, ddof=1))


def test_returns_that_do_not_move_have_no_deviation() -> None:
    assert math.isnan(float(moments(np.full(30, 0.001)).deviation))


def test_both_windows_add_to_the_error_of_a_difference() -> None:
    shape = array(0.1), array(-0.5), array(5.0)
    both = float(sharpe_difference_error(*shape, 30, 365))
    assert both == pytest.approx(math.hypot(float(sharpe_error(*shape, 30)), float(sharpe_error(*shape, 365))))


def test_independent_normal_returns_cluster_by_2_and_alternating_ones_not_less() -> None:
    returns = np.random.default_rng(2).standard_normal((200, 2000))
    # The Bartlett sum of a centred series is low by about (window / days); the floor at 2 cuts the lower half off.
    assert clustering(returns, 30).mean() == pytest.approx(2.15, abs=0.1)
    assert float(clustering(np.tile([0.01, -0.02], 100), 30)) == 2.0


def test_clustering_is_the_variance_of_window_means() -> None:
    """For blocks of equal volatility, v / m is the variance of the mean of m squared returns, computed by brute force."""
    rng = np.random.default_rng(3)
    level = np.repeat(rng.choice([0.5, 1.5], 40_000), 50)
    returns = level * rng.standard_normal(level.size)
    squares = returns**2 / np.mean(returns**2)
    means = np.convolve(squares, np.full(30, 1 / 30), mode="valid")
    assert float(clustering(returns, 30)) / 30 == pytest.approx(means.var(), rel=0.02)


def test_the_log_variance_of_normal_returns_has_the_textbook_error() -> None:
    # Var(ln s²) ≈ 2 / n.
    assert float(log_variance_error(array(2.0), 30, 10**9)) == pytest.approx(math.sqrt(2 / 30))
