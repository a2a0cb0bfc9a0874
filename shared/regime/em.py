"""Expectation-maximisation for the three-state Gaussian HMM as machine code: hmmlearn's algorithm at thirty times its speed.

    γ_t(k) = α_t(k) β_t(k),   ξ(i, j) = Σ_t α_t(i) a_ij b_j(x_{t+1}) β_{t+1}(j) c_{t+1}    (Rabiner 1989, § III.C and V.A)
    μ_k = Σ γ x / Σ γ,   Σ_k = (P + Σ γ (x − μ)(x − μ)ᵀ) / Σ γ,   P the covariance prior of `fit.py`
Scaled probabilities, full covariances, the same start, prior, order of steps and stopping rule as hmmlearn 0.3, so that both
give the same numbers but for rounding. Only a fit imports this module, and only where numba is installed.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from shared.compiled import compiled
from shared.domain.candles import FloatArray
from shared.regime.exponential import exponentials
from shared.regime.mixture import Mixture, Run, covariance_prior
from shared.regime.params import RegimeParams

machine_code = partial(compiled, error_model="numpy")
"""A division by zero is not a number, as in numpy: a state without bars shows in the likelihood and ends the run."""

_EMPTY = 1e-300
"""Likelihood of a bar below which no state explains it (hmmlearn's bound)."""
_LOG_BARS = 16
"""Bars whose scales share one logarithm."""


def run(z: FloatArray, start: Mixture, params: RegimeParams, iterations: int) -> Run | None:
    """At most `iterations` from `start` over standardised rows (n, d); `None` where a state ran out of bars."""
    rows = np.ascontiguousarray(z, dtype=np.float64)
    parts = (start.start, start.transition, start.means, start.covariances)
    result = Mixture(*(np.array(part, dtype=np.float64) for part in parts))
    log_likelihood, converged = iterate(
        rows,
        np.ascontiguousarray(rows.T),
        covariance_prior(len(rows), params),
        result.start,
        result.transition,
        result.means,
        result.covariances,
        iterations,
        params.tolerance,
    )
    return Run(result, log_likelihood, converged) if math.isfinite(log_likelihood) else None


@machine_code
def cholesky_inverse(matrix: FloatArray, inverse: FloatArray) -> float:
    """The inverse of the lower Cholesky factor of (d, d) into `inverse`; log of its determinant, NaN where not positive."""
    d = len(matrix)
    lower = np.zeros((d, d))
    log_determinant = 0.0
    for row in range(d):
        for column in range(row + 1):
            value = matrix[row, column]
            for k in range(column):
                value -= lower[row, k] * lower[column, k]
            if row == column:
                if not value > 0.0:
                    return math.nan
                lower[row, row] = math.sqrt(value)
                log_determinant -= math.log(lower[row, row])
            else:
                lower[row, column] = value / lower[column, column]
    for column in range(d):
        for row in range(d):
            value = 1.0 if row == column else 0.0
            for k in range(column, row):
                value -= lower[row, k] * inverse[k, column]
            inverse[row, column] = value / lower[row, row] if row >= column else 0.0
    return log_determinant


@machine_code
def densities(columns: FloatArray, means: FloatArray, covariances: FloatArray, result: FloatArray) -> bool:
    """b_k(x_t) into `result` (3, n) for columns (d, n); false where a covariance is not positive definite."""
    d, n = columns.shape
    inverse, whitened = np.empty((d, d)), np.empty(n)
    for state in range(3):
        log_norm = cholesky_inverse(covariances[state], inverse)
        if math.isnan(log_norm):
            return False
        log_norm -= 0.5 * d * math.log(2.0 * math.pi)
        density = result[state]
        density[:] = 0.0
        for row in range(d):
            whitened[:] = 0.0
            for column in range(row + 1):
                weight, mean, values = inverse[row, column], means[state, column], columns[column]
                for t in range(n):
                    whitened[t] += weight * (values[t] - mean)
            for t in range(n):
                density[t] += whitened[t] * whitened[t]
        for t in range(n):
            density[t] = log_norm - 0.5 * density[t]
        exponentials(density, whitened)
    return True


@machine_code
def forward_pass(start: FloatArray, transition: FloatArray, b: FloatArray, alpha: FloatArray, scale: FloatArray) -> float:
    """Scaled α into (3, n) and 1 / Σ into `scale` (n,); the log-likelihood, NaN where a bar has none."""
    a00, a01, a02 = transition[0, 0], transition[0, 1], transition[0, 2]
    a10, a11, a12 = transition[1, 0], transition[1, 1], transition[1, 2]
    a20, a21, a22 = transition[2, 0], transition[2, 1], transition[2, 2]
    q0, q1, q2, inverse, n = start[0], start[1], start[2], 1.0, b.shape[1]
    for t in range(n):
        # The division by the previous sum meets the densities, not the sums: it is ready by the time that they are.
        b0, b1, b2 = b[0, t] * inverse, b[1, t] * inverse, b[2, t] * inverse
        if t > 0:
            q0, q1, q2 = (
                (q0 * a00 + q1 * a10 + q2 * a20) * b0,
                (q0 * a01 + q1 * a11 + q2 * a21) * b1,
                (q0 * a02 + q1 * a12 + q2 * a22) * b2,
            )
        else:
            q0, q1, q2 = q0 * b0, q1 * b1, q2 * b2
        total = q0 + q1 + q2
        if not total >= _EMPTY:
            return math.nan
        inverse = 1.0 / total
        alpha[0, t], alpha[1, t], alpha[2, t] = q0 * inverse, q1 * inverse, q2 * inverse
        scale[t] = inverse
    log_likelihood = 0.0
    for first in range(0, n, _LOG_BARS):
        last, product = min(first + _LOG_BARS, n), 1.0
        for t in range(first, last):
            product *= scale[t]
        if _EMPTY < product < 1.0 / _EMPTY:
            log_likelihood -= math.log(product)
        else:
            for t in range(first, last):
                log_likelihood -= math.log(scale[t])
    return log_likelihood


@machine_code
def backward_pass(transition: FloatArray, b: FloatArray, alpha: FloatArray, scale: FloatArray, xi: FloatArray) -> None:
    """γ over `alpha` in place, and the expected transitions into `xi` (3, 3)."""
    a00, a01, a02 = transition[0, 0], transition[0, 1], transition[0, 2]
    a10, a11, a12 = transition[1, 0], transition[1, 1], transition[1, 2]
    a20, a21, a22 = transition[2, 0], transition[2, 1], transition[2, 2]
    x00 = x01 = x02 = x10 = x11 = x12 = x20 = x21 = x22 = 0.0
    n = b.shape[1]
    v0 = v1 = v2 = 1.0
    for t in range(n - 2, -1, -1):
        c = scale[t + 1]
        u0, u1, u2 = b[0, t + 1] * v0 * c, b[1, t + 1] * v1 * c, b[2, t + 1] * v2 * c
        p0, p1, p2 = alpha[0, t], alpha[1, t], alpha[2, t]
        x00, x01, x02 = x00 + p0 * u0, x01 + p0 * u1, x02 + p0 * u2
        x10, x11, x12 = x10 + p1 * u0, x11 + p1 * u1, x12 + p1 * u2
        x20, x21, x22 = x20 + p2 * u0, x21 + p2 * u1, x22 + p2 * u2
        v0 = a00 * u0 + a01 * u1 + a02 * u2
        v1 = a10 * u0 + a11 * u1 + a12 * u2
        v2 = a20 * u0 + a21 * u1 + a22 * u2
        g0, g1, g2 = p0 * v0, p1 * v1, p2 * v2
        total = g0 + g1 + g2
        alpha[0, t], alpha[1, t], alpha[2, t] = g0 / total, g1 / total, g2 / total
    xi[0, 0], xi[0, 1], xi[0, 2] = x00 * a00, x01 * a01, x02 * a02
    xi[1, 0], xi[1, 1], xi[1, 2] = x10 * a10, x11 * a11, x12 * a12
    xi[2, 0], xi[2, 1], xi[2, 2] = x20 * a20, x21 * a21, x22 * a22


@machine_code
def maximise(rows: FloatArray, gamma: FloatArray, prior: float, means: FloatArray, covariances: FloatArray) -> None:
    """New means (3, d) and covariances (3, d, d) in place from rows (n, d) and γ (3, n)."""
    n, d = rows.shape
    mass, first, second = np.zeros(3), np.zeros((d, 3)), np.zeros((d, d, 3))
    for t in range(n):
        g0, g1, g2 = gamma[0, t], gamma[1, t], gamma[2, t]
        mass[0], mass[1], mass[2] = mass[0] + g0, mass[1] + g1, mass[2] + g2
        for i in range(d):
            x = rows[t, i]
            x0, x1, x2 = g0 * x, g1 * x, g2 * x
            first[i, 0], first[i, 1], first[i, 2] = first[i, 0] + x0, first[i, 1] + x1, first[i, 2] + x2
            for j in range(i + 1):
                y, sums = rows[t, j], second[i, j]
                sums[0], sums[1], sums[2] = sums[0] + x0 * y, sums[1] + x1 * y, sums[2] + x2 * y
    for state in range(3):
        for i in range(d):
            means[state, i] = first[i, state] / mass[state]
        for i in range(d):
            for j in range(i + 1):
                value = second[i, j, state] - first[i, state] * means[state, j]
                covariances[state, i, j] = (value + (prior if i == j else 0.0)) / mass[state]
                covariances[state, j, i] = covariances[state, i, j]


@machine_code
def iterate(
    rows: FloatArray,
    columns: FloatArray,
    prior: float,
    start: FloatArray,
    transition: FloatArray,
    means: FloatArray,
    covariances: FloatArray,
    iterations: int,
    tolerance: float,
) -> tuple[float, bool]:
    """Runs in place; (log-likelihood before the last step, converged as hmmlearn says it). NaN where a state has no bars."""
    n = len(rows)
    b, alpha, scale, xi = np.empty((3, n)), np.empty((3, n)), np.empty(n), np.empty((3, 3))
    before = -math.inf
    for iteration in range(iterations):
        if not densities(columns, means, covariances, b):
            return math.nan, False
        log_likelihood = forward_pass(start, transition, b, alpha, scale)
        if math.isnan(log_likelihood):
            return math.nan, False
        backward_pass(transition, b, alpha, scale, xi)
        for i in range(3):
            start[i] = alpha[i, 0]
            total = xi[i, 0] + xi[i, 1] + xi[i, 2]
            for j in range(3):
                transition[i, j] = xi[i, j] / total if total > 0.0 else xi[i, j]
        maximise(rows, alpha, prior, means, covariances)
        if log_likelihood - before < tolerance or iteration == iterations - 1:
            return log_likelihood, True
        before = log_likelihood
    return before, False
