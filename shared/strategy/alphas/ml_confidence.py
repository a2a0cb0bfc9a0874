"""ML confidence: the place of a model's probability, neutral until a model exists.

It stands in the registry so that the weights, the lineage of decisions and the parameter version keep their form on the day a
model arrives. Until then it is 0 on every bar and says why.
"""

from __future__ import annotations

import numpy as np

from shared.domain.candles import FloatArray
from shared.domain.frame import Frame
from shared.strategy.params import StrategyParams


def ml_confidence(frame: Frame, params: StrategyParams) -> FloatArray:
    """Score (n,): 0 everywhere."""
    return np.zeros(len(frame))


def describe_ml_confidence(frame: Frame, score: float, params: StrategyParams) -> str:
    """Why the alpha is neutral."""
    return "neutral: no trained model yet"
