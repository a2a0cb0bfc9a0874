"""Where the market is now: filtered state probabilities P(state_t | x_1 … x_t), and never those of the smoother.

α_t ∝ (α_{t−1} A) ⊙ b(x_t) with emissions shifted by their largest log density (Rabiner 1989, § V.A, scaling). The filter needs
numpy only. A row that is missing (NaN) is a prediction step: α_t = α_{t−1} A. The array form and `filter_step` do the same
arithmetic in the same order, so that live and research agree to the bit.
"""

from __future__ import annotations

import numpy as np

from shared.domain.candles import FloatArray
from shared.regime.model import STATES, RegimeModel

Alpha = tuple[float, float, float]


def log_emissions(model: RegimeModel, features: FloatArray) -> FloatArray:
    """log b_k(x_t) of shape (n, 3) for raw features (n, d); NaN where the row has a missing value."""
    z = model.standardise(features)
    result = np.empty((len(z), STATES))
    means = np.asarray(model.means)
    for state in range(STATES):
        # Column sums instead of a matrix product: BLAS rounds differently for one row and for many.
        exponent = np.zeros(len(z))
        for weights in model.whitening[state]:
            whitened = np.zeros(len(z))
            for column, weight in enumerate(weights.tolist()):
                whitened += weight * (z[:, column] - means[state, column])
            exponent += whitened * whitened
        result[:, state] = model.log_norm[state] - 0.5 * exponent
    return result


def filter_probabilities(model: RegimeModel, features: FloatArray, initial: Alpha | None = None) -> FloatArray:
    """Filtered probabilities (n, 3) of raw features (n, d).

    `initial` is the filtered distribution of the bar before the first row; without it the stationary distribution is
    the prior of the first row. Raises `ModelError` for a wrong number of columns.
    """
    logs = log_emissions(model, features)
    likelihoods = np.exp(logs - logs.max(axis=1, keepdims=True))
    missing = np.isnan(logs).any(axis=1)
    likelihoods[missing] = 1.0  # no evidence: every state explains the bar equally well
    alpha = stationary_alpha(model) if initial is None else initial
    return _recursion(model, likelihoods, alpha)


def stationary_alpha(model: RegimeModel) -> Alpha:
    """The stationary distribution as plain floats: the filter's state before any bar."""
    calm, balanced, stress = model.stationary.tolist()
    return calm, balanced, stress


def filter_step(model: RegimeModel, alpha: Alpha, features: FloatArray) -> Alpha:
    """One bar further: `alpha` of the bar before, raw features (d,) of the new one (NaN: prediction only)."""
    row = filter_probabilities(model, np.asarray(features, dtype=np.float64)[None, :], alpha)[0]
    calm, balanced, stress = row.tolist()
    return calm, balanced, stress


def _recursion(model: RegimeModel, likelihoods: FloatArray, alpha: Alpha) -> FloatArray:
    """The O(n K²) part. Plain floats, unrolled for three states: five times faster than numpy on 3-vectors."""
    (a00, a01, a02), (a10, a11, a12), (a20, a21, a22) = model.transition
    p0, p1, p2 = alpha
    rows: list[float] = []
    for b0, b1, b2 in zip(*(likelihoods[:, state].tolist() for state in range(STATES)), strict=True):
        q0 = (p0 * a00 + p1 * a10 + p2 * a20) * b0
        q1 = (p0 * a01 + p1 * a11 + p2 * a21) * b1
        q2 = (p0 * a02 + p1 * a12 + p2 * a22) * b2
        total = q0 + q1 + q2
        if total == 0.0:
            # The evidence contradicts a transition matrix with zeros: believe the evidence and start again from it.
            q0, q1, q2 = b0, b1, b2
            total = q0 + q1 + q2
        p0, p1, p2 = q0 / total, q1 / total, q2 / total
        rows += (p0, p1, p2)
    return np.asarray(rows, dtype=np.float64).reshape(-1, STATES)
