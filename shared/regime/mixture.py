"""What expectation-maximisation starts from and what it gives: the words that its two engines share with `fit.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shared.domain.candles import FloatArray
from shared.regime.params import RegimeParams


@dataclass(frozen=True, eq=False)
class Mixture:
    """Parameters of a Gaussian HMM with three states over d features, in standardised units."""

    start: FloatArray
    """(3,)"""
    transition: FloatArray
    """(3, 3)"""
    means: FloatArray
    """(3, d)"""
    covariances: FloatArray
    """(3, d, d)"""


@dataclass(frozen=True, eq=False)
class Run:
    """Where one run ended."""

    mixture: Mixture
    log_likelihood: float
    """of the parameters before the last step, nats over the whole window"""
    converged: bool


class Engine(Protocol):
    """Expectation-maximisation over standardised rows (n, d)."""

    def __call__(self, z: FloatArray, start: Mixture, params: RegimeParams, iterations: int) -> Run | None:
        """At most so many iterations from `start`; `None` where a state ran out of bars: such a start leads to no model."""


def covariance_prior(rows: int, params: RegimeParams) -> float:
    """Pseudo-sum of squares on the diagonal: `min_covariance` with the weight of a third of the bars."""
    return params.min_covariance * rows / 3
