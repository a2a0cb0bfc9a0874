"""The HAC standard error: published numbers, and a second, direct implementation of the same formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shared.calibration.significance.hac import hac_standard_error, sharpe_gradient
from shared.domain.candles import FloatArray


def direct_standard_error(returns: FloatArray, fourth_sign: int = 1) -> float:
    """Ledoit and Wolf (2008), section 3.1, without prewhitening, written out term by term with loops."""
    length = len(returns)
    m1, m2 = (sum(column) / length for column in returns.T)
    g1, g2 = (sum(x * x for x in column) / length for column in returns.T)
    v = np.array([[a - m1, b - m2, a * a - g1, b * b - g2] for a, b in returns])
    above = below = 0.0
    for column in v.T:  # AR(1) with intercept by least squares, for Andrews' alpha(2)
        x, y = column[:-1], column[1:]
        slope, intercept = np.polyfit(x, y, 1)
        variance = float(np.mean((y - intercept - slope * x) ** 2))
        above += 4 * slope**2 * variance**2 / (1 - slope) ** 8
        below += variance**2 / (1 - slope) ** 4
    bandwidth = 2.6614 * (above / below * length) ** 0.2
    psi = np.zeros((4, 4))
    for i in range(length):
        for j in range(length):
            x = abs(i - j) / bandwidth
            weight = 1 - 6 * x**2 + 6 * x**3 if x <= 0.5 else 2 * (1 - x) ** 3 if x <= 1 else 0.0
            psi += weight * np.outer(v[i], v[j]) / length
    psi *= length / (length - 4)
    s1, s2 = math.sqrt(g1 - m1 * m1), math.sqrt(g2 - m2 * m2)
    gradient = np.array([g1 / s1**3, -g2 / s2**3, -m1 / (2 * s1**3), fourth_sign * m2 / (2 * s2**3)])
    return math.sqrt(gradient @ psi @ gradient / length)


def test_hedge_funds_give_the_numbers_of_the_authors_r_code(funds: dict[str, FloatArray]) -> None:
    # hac.inference(ret.hedge) of Wolf's R code, as printed in github.com/pfnaibert/LW-SR-VAR, DEMO.md
    assert hac_standard_error(funds["hedge"], prewhiten=False) == pytest.approx(0.3176271, abs=5e-8)
    assert hac_standard_error(funds["hedge"]) == pytest.approx(0.3872694, abs=5e-8)


@pytest.mark.parametrize("pair", ["mutual", "hedge"])
def test_agrees_with_a_direct_implementation(funds: dict[str, FloatArray], pair: str) -> None:
    assert hac_standard_error(funds[pair], prewhiten=False) == pytest.approx(direct_standard_error(funds[pair]), rel=1e-10)


def test_the_sign_error_of_a_public_port_is_not_ours(funds: dict[str, FloatArray]) -> None:
    # github.com/majkee15/RobustSharpeRatioHAC has -μ2/2s2³ as fourth term; its test expects 0.052581574094722326 for this pair
    mutual, hedge = funds["mutual"], funds["hedge"]
    assert direct_standard_error(mutual, fourth_sign=-1) == pytest.approx(0.052581574094722326, rel=1e-12)
    assert hac_standard_error(mutual, prewhiten=False) == pytest.approx(0.0525535, abs=5e-8)
    # a second data set, because on the first the error hides behind a Sharpe ratio near 0
    assert direct_standard_error(hedge, fourth_sign=-1) != pytest.approx(hac_standard_error(hedge, prewhiten=False), rel=0.1)


@pytest.mark.parametrize("pair", ["mutual", "hedge"])
def test_gradient_is_the_numerical_derivative_of_the_difference(funds: dict[str, FloatArray], pair: str) -> None:
    returns = funds[pair]
    at = np.concatenate([returns.mean(axis=0), (returns**2).mean(axis=0)])

    def difference(v: FloatArray) -> float:
        return float(v[0] / math.sqrt(v[2] - v[0] ** 2) - v[1] / math.sqrt(v[3] - v[1] ** 2))

    step = 1e-6
    numeric = [(difference(at + step * unit) - difference(at - step * unit)) / (2 * step) for unit in np.eye(4)]
    assert sharpe_gradient(returns) == pytest.approx(numeric, rel=1e-5)


def test_order_of_the_funds_does_not_matter(funds: dict[str, FloatArray]) -> None:
    for prewhiten in (False, True):
        swapped = hac_standard_error(funds["mutual"][:, ::-1], prewhiten=prewhiten)
        assert swapped == pytest.approx(hac_standard_error(funds["mutual"], prewhiten=prewhiten), rel=1e-9)
