"""Parameters of the generated market, each a triple over (calm, balanced, stress).

Defaults: volatility about 1 : 2 : 4.5, quiet volume in calm, loud volume with negative skew in stress, states that last for one
or two weeks of hourly bars and are mostly entered from their neighbour. A year of hours then holds each state several times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.domain.candles import FloatArray
from shared.domain.errors import ConfigError

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class GeneratedParams:
    """What the market does in each state."""

    duration_bars: Triple = (300.0, 240.0, 180.0)
    """mean bars that a state lasts"""
    volatility: Triple = (0.4, 0.8, 1.8)
    """standard deviation of log returns, per √year"""
    drift: Triple = (0.3, 0.1, -0.6)
    """mean log return, per year"""
    skewness: Triple = (0.1, 0.0, -1.0)
    """of the innovations"""
    correlation: Triple = (0.5, 0.6, 0.8)
    """between two assets"""
    volume_level: Triple = (-0.5, 0.0, 1.0)
    """shift of log volume"""
    volume_noise: float = 0.3
    """standard deviation of log volume around its level"""

    def __post_init__(self) -> None:
        if min(self.duration_bars) < 1:
            raise ConfigError(f"durations must be at least one bar, found {self.duration_bars}")
        if min(self.volatility) <= 0 or self.volume_noise < 0:
            raise ConfigError(f"volatility must be positive and volume noise not negative, found {self.volatility}")
        if not all(0 <= value < 1 for value in self.correlation):
            raise ConfigError(f"correlations must lie in [0, 1), found {self.correlation}")

    def transition(self) -> FloatArray:
        """(3, 3) transition matrix: leaving calm or stress leads to balanced in four cases of five."""
        leave = 1 / np.asarray(self.duration_bars)
        to = np.array([[0.0, 0.8, 0.2], [0.55, 0.0, 0.45], [0.2, 0.8, 0.0]])
        matrix: FloatArray = to * leave[:, None] + np.diag(1 - leave)
        return matrix

    def stationary(self) -> FloatArray:
        """Long-run share of each state, shape (3,): the left eigenvector of the transition matrix for 1."""
        system = np.vstack([self.transition().T - np.eye(3), np.ones(3)])
        shares, *_ = np.linalg.lstsq(system, np.array([0.0, 0.0, 0.0, 1.0]))
        return np.asarray(shares, dtype=np.float64)
