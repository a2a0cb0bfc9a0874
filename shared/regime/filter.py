"""Where the market is now: filtered state probabilities P(state_t | x_1 … x_t), and never those of the smoother.

α_t ∝ (α_{t−1} A) ⊙ b(x_t) with emissions shifted by their largest log density (Rabiner 1989, § V.A, scaling). The filter needs
numpy only. A row that is missing (NaN) is a prediction step: α_t = α_{t−1} A. The array form and `filter_step` do the same
arithmetic in the same order, so that live and research agree to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from shared.domain.candles import FloatArray
from shared.regime.model import STATES, RegimeModel
from shared.regime.stored import nested_tuples
from shared.speed import compiles, fast

Alpha = tuple[float, float, float]
Loop = Callable[[Any, Any, Any], None]
"""Constants, rows that are read, rows of three that are written"""


def filter_probabilities(model: RegimeModel, features: FloatArray, initial: Alpha | None = None) -> FloatArray:
    """Filtered probabilities (n, 3) of raw features (n, d).

    `initial` is the filtered distribution of the bar before the first row; without it the stationary distribution is
    the prior of the first row. Raises `ModelError` for a wrong number of columns.
    """
    return filter_standardised(model, model.standardise(features), initial)


def filter_standardised(model: RegimeModel, z: FloatArray, initial: Alpha | None = None) -> FloatArray:
    """`filter_probabilities` of rows that are standardised already."""
    logs = over_rows(emissions, (model.log_norm.tolist(), model.means, nested_tuples(model.whitening)), z)
    alpha = stationary_alpha(model) if initial is None else initial
    return over_rows(forward, (model.transition, alpha), np.exp(logs, out=logs))


def over_rows(loop: Loop, constants: Any, rows: FloatArray) -> FloatArray:
    """What `loop` makes of rows (n, d): an array (n, 3). Compiled for long inputs, the same bits for short ones."""
    if compiles(len(rows)):
        result = np.empty((len(rows), STATES))
        fast(loop, len(rows))(constants, np.ascontiguousarray(rows), result)
        return result
    # Lists: plain Python reads them five times faster than arrays.
    lists: list[list[float]] = [[0.0] * STATES for _ in range(len(rows))]
    loop(constants, rows.tolist(), lists)
    return np.asarray(lists, dtype=np.float64).reshape(-1, STATES)


def stationary_alpha(model: RegimeModel) -> Alpha:
    """The stationary distribution as plain floats: the filter's state before any bar."""
    calm, balanced, stress = model.stationary.tolist()
    return calm, balanced, stress


def filter_step(model: RegimeModel, alpha: Alpha, features: FloatArray) -> Alpha:
    """One bar further: `alpha` of the bar before, raw features (d,) of the new one (NaN: prediction only)."""
    row = filter_probabilities(model, np.asarray(features, dtype=np.float64)[None, :], alpha)[0]
    calm, balanced, stress = row.tolist()
    return calm, balanced, stress


def emissions(constants: Any, z: Any, result: Any) -> None:
    """log b_k(z_t) − max_k log b_k(z_t) into `result`, row by row; zeros where a value is missing.

    One source for two forms: nested lists in plain Python, arrays in machine code.
    """
    log_norm, means, whitening = constants
    for row in range(len(z)):
        for state in range(3):
            exponent = 0.0
            for i in range(len(means[state])):
                whitened = 0.0
                for column in range(i + 1):  # the inverse of a Cholesky factor is lower triangular
                    whitened += whitening[state][i][column] * (z[row][column] - means[state][column])
                exponent += whitened * whitened
            result[row][state] = log_norm[state] - 0.5 * exponent
        l0, l1, l2 = result[row][0], result[row][1], result[row][2]
        if l0 == l0 and l1 == l1 and l2 == l2:
            largest = max(l0, l1, l2)
            result[row][0], result[row][1], result[row][2] = l0 - largest, l1 - largest, l2 - largest
        else:  # not a number: no evidence, every state explains the bar equally well
            result[row][0], result[row][1], result[row][2] = 0.0, 0.0, 0.0


def forward(constants: Any, likelihoods: Any, result: Any) -> None:
    """The O(n K²) part, unrolled for three states: α_t ∝ (α_{t−1} A) ⊙ b_t into `result`, row by row."""
    transition, alpha = constants
    (a00, a01, a02), (a10, a11, a12), (a20, a21, a22) = transition
    p0, p1, p2 = alpha
    for row in range(len(likelihoods)):
        b0, b1, b2 = likelihoods[row][0], likelihoods[row][1], likelihoods[row][2]
        q0 = (p0 * a00 + p1 * a10 + p2 * a20) * b0
        q1 = (p0 * a01 + p1 * a11 + p2 * a21) * b1
        q2 = (p0 * a02 + p1 * a12 + p2 * a22) * b2
        total = q0 + q1 + q2
        if total == 0.0:
            # The evidence contradicts a transition matrix with zeros: believe the evidence and start again from it.
            q0, q1, q2 = b0, b1, b2
            total = q0 + q1 + q2
        p0, p1, p2 = q0 / total, q1 / total, q2 / total
        result[row][0], result[row][1], result[row][2] = p0, p1, p2
