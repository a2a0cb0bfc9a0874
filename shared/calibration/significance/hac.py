"""Standard error of a difference of two Sharpe ratios under heavy tails and dependence: HAC, after Ledoit and Wolf (2008).

Δ = f(v), v = (μ1, μ2, γ1, γ2), γ = E r². Delta method: se = sqrt(∇'f Ψ ∇f / T) with
∇f = (γ1/s1³, -γ2/s2³, -μ1/2s1³, +μ2/2s2³), s² = γ - μ²  (section 3; the last sign is wrong in a public Python port).
Ψ: Parzen kernel, bandwidth of Andrews (1991), optionally prewhitened by a VAR(1) (Andrews and Monahan 1992, section 3.1).
"""

from __future__ import annotations

import math

import numpy as np

from shared.domain.candles import FloatArray

_PARZEN_RATE = 2.6614  # Andrews (1991), equation 6.2
_LARGEST_ROOT = 0.97  # Andrews and Monahan (1992), section 3: singular values of the VAR are cut here


def hac_standard_error(returns: FloatArray, *, prewhiten: bool = True) -> float:
    """Standard error of the first minus the second Sharpe ratio of `returns` (t, 2), in the units of one period.

    The bandwidth depends on the units of the returns (the paper: percent); `sharpe_difference` removes them first.
    """
    moments = moment_series(returns)
    if prewhiten:
        coefficients, residuals = _whitened(moments)
        recolour = np.linalg.inv(np.eye(4) - coefficients)
        psi = recolour @ _long_run_covariance(residuals) @ recolour.T
    else:
        psi = _long_run_covariance(moments)
    gradient = sharpe_gradient(returns)
    return math.sqrt(max(float(gradient @ psi @ gradient), 0.0) / len(returns))


def moment_series(returns: FloatArray) -> FloatArray:
    """Centred (r1, r2, r1², r2²) of `returns` (t, 2), shape (t, 4)."""
    moments = np.hstack([returns, returns * returns])
    return np.asarray(moments - moments.mean(axis=0), dtype=np.float64)


def sharpe_gradient(returns: FloatArray) -> FloatArray:
    """∇f at the sample moments of `returns` (t, 2), shape (4,)."""
    mean = returns.mean(axis=0)
    second = (returns * returns).mean(axis=0)
    cubed = (second - mean * mean) ** 1.5
    sign = np.array([1.0, -1.0])
    return np.concatenate([sign * second / cubed, -0.5 * sign * mean / cubed])


def _whitened(moments: FloatArray) -> tuple[FloatArray, FloatArray]:
    """VAR(1) coefficients with cut singular values (4, 4) and what they leave unexplained (t - 1, 4)."""
    fitted = np.linalg.lstsq(moments[:-1], moments[1:], rcond=None)[0].T
    left, singular, right = np.linalg.svd(fitted)
    coefficients = left @ np.diag(np.minimum(singular, _LARGEST_ROOT)) @ right
    return coefficients, moments[1:] - moments[:-1] @ coefficients.T


def _long_run_covariance(series: FloatArray) -> FloatArray:
    """Kernel estimate of Ψ from `series` (t, 4), with the small-sample factor t / (t - 4)."""
    length = len(series)
    bandwidth = min(_PARZEN_RATE * (_andrews_alpha(series) * length) ** 0.2, length - 1.0)
    psi = series.T @ series / length
    for lag in range(1, int(np.ceil(bandwidth))):
        covariance = series[lag:].T @ series[:-lag] / length
        psi = psi + _parzen(lag / bandwidth) * (covariance + covariance.T)
    return np.asarray(length / (length - 4) * psi)


def _andrews_alpha(series: FloatArray) -> float:
    """α(2) of Andrews (1991), equation 6.4, from an AR(1) with intercept of each column and equal weights."""
    numerator = denominator = 0.0
    for column in series.T:
        before, after = column[:-1] - column[:-1].mean(), column[1:] - column[1:].mean()
        power = before @ before
        root = float(np.clip(before @ after / power, -_LARGEST_ROOT, _LARGEST_ROOT)) if power > 0 else 0.0
        residual = after - root * before
        variance = float(residual @ residual) / len(residual)
        numerator += 4 * root**2 * variance**2 / (1 - root) ** 8
        denominator += variance**2 / (1 - root) ** 4
    return numerator / denominator if denominator > 0 else 0.0


def _parzen(x: float) -> float:
    if x <= 0.5:
        return 1 - 6 * x**2 + 6 * x**3
    return 2 * (1 - x) ** 3 if x <= 1 else 0.0
