"""The consensus in machine code: votes of an agent, and the score of all agents, row by row under the held regime's playbook.

The same operations in the same order as `strategy.combiner`, `agents.base` and `strategy.orchestrator`, equal to them to the
bit; what is added there as a zero is left out here. A vote is NaN where the agent's rule has no opinion.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from shared.backtest.result import Int8Array
from shared.compiled import compiled
from shared.domain.candles import FloatArray

_as_numpy = partial(compiled, error_model="numpy")


@_as_numpy
def votes(
    entry: FloatArray,
    alphas: tuple[FloatArray, ...],
    weights: FloatArray,
    scales: FloatArray,
    held: Int8Array,
    result: FloatArray,
) -> None:
    """One agent's votes into `result` (n,).

    `entry` (n,) is its rule, `alphas` the scores with a weight; `weights` (3, 1 + alphas) and `scales` (3,) = Σ|weight| are
    those of each regime's playbook.
    """
    for row in range(len(entry)):
        regime, value = held[row], entry[row]
        if regime < 0 or not np.isfinite(value):
            result[row] = np.nan
            continue
        total = min(max(value, -1.0), 1.0) * weights[regime, 0]
        for place in range(len(alphas)):
            total += alphas[place][row] * weights[regime, place + 1]
        mean = total / scales[regime] if scales[regime] > 0.0 else 0.0
        result[row] = min(max(mean, -1.0), 1.0)


@_as_numpy
def scores(
    voted: tuple[FloatArray, ...],
    convictions: tuple[FloatArray, ...],
    constant: tuple[bool, ...],
    shares: FloatArray,
    included: FloatArray,
    minimum: FloatArray,
    probabilities: FloatArray,
    held: Int8Array,
    result: FloatArray,
) -> None:
    """The weighted mean of all votes into `result` (n,); NaN where no regime is held.

    `voted` and `convictions` are (n,) for each agent; where `constant`, the conviction is 1 everywhere. `shares` (3, agents),
    `included` (3, agents, 3) and `minimum` (3,) are those of each regime's playbook: share, target regimes and least P.
    """
    for row in range(len(held)):
        regime = held[row]
        if regime < 0:
            result[row] = np.nan
            continue
        calm, balanced, stress = probabilities[row, 0], probabilities[row, 1], probabilities[row, 2]
        total, scale = 0.0, 0.0
        for agent in range(len(voted)):
            vote = voted[agent][row]
            if vote != vote:
                continue
            wanted = included[regime, agent]
            likely = calm * wanted[0] + balanced * wanted[1] + stress * wanted[2]
            if likely >= minimum[regime]:
                share = shares[regime, agent]
                weight = (share if constant[agent] else share * convictions[agent][row]) * likely
                total += vote * weight
                scale += abs(weight)
        result[row] = total / scale if scale > 0.0 else 0.0


@_as_numpy
def selected(held: Int8Array, calm: FloatArray, balanced: FloatArray, stress: FloatArray, result: FloatArray) -> None:
    """Each row from the array of its held regime, into `result` (n,)."""
    for row in range(len(held)):
        regime = held[row]
        result[row] = calm[row] if regime == 0 else stress[row] if regime == 2 else balanced[row]
