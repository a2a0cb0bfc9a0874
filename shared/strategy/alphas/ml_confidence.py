"""ML confidence: how sure a trained model is of the next move, read from the frame's `ml_score` column.

The column is put there by `ml_model.with_ml_scores` from models that were trained on earlier bars only; it is absent where no
model was asked, and NaN where none is valid (missing, expired, of another contract, altered). Then the alpha is 0 and says so.
"""

from __future__ import annotations

import numpy as np

from shared.domain.candles import FloatArray
from shared.domain.frame import Frame
from shared.strategy.params import StrategyParams
from shared.strategy.series import bounded

SCORE_COLUMN = "ml_score"
"""Column of a frame that carries the scores of the models in force"""


def ml_confidence(frame: Frame, params: StrategyParams) -> FloatArray:
    """Score (n,) in [-1, 1]: positive where the model expects a rise; 0 where no model speaks."""
    scores = frame.columns.get(SCORE_COLUMN)
    return np.zeros(len(frame)) if scores is None else bounded(scores)


def describe_ml_confidence(frame: Frame, score: float, params: StrategyParams) -> str:
    """What the model said of the last row, or why the alpha is neutral."""
    scores = frame.columns.get(SCORE_COLUMN)
    if scores is None:
        return "neutral: no model is asked (its weight is 0)"
    if np.isnan(scores[-1]):
        return "neutral: no trained model is valid at this bar"
    return f"the trained model leans {'up' if score > 0 else 'down' if score < 0 else 'to neither side'} ({score:+.2f})"
