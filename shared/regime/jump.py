"""The statistical jump model: states as centres of standardised features, with a price λ on every change of state.

    minimise over states and centres   Σ_t ½‖z_t − μ_{s_t}‖² + λ · #{t : s_t ≠ s_{t−1}}
(Nystrup, Lindström, Madsen 2020, eq. 1; Shu, Yu, Mulvey 2024, eq. 2). Online inference is the forward pass of its dynamic
programme, V_t(k) = ½‖z_t − μ_k‖² + min(V_{t−1}(k), min_j V_{t−1}(j) + λ), and the state is argmin V_t (Nystrup et al. 2020,
§ 3.4): no later bar is read. Probabilities are p_t(k) ∝ exp(−V_t(k) / τ), τ the variance within states. They are the whole
memory of the pass, as α is of the HMM's filter, so that both classifiers share tracker, transition detector and ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import exp
from typing import Any, Self

import numpy as np

from shared.domain.candles import FloatArray
from shared.domain.errors import ModelError
from shared.domain.ids import content_id
from shared.domain.interval import Interval
from shared.regime import stored
from shared.regime.features import FEATURES, feature_columns
from shared.regime.filter import Alpha, over_rows
from shared.regime.model import STATES, Matrix, Vector, fit_version, standardised
from shared.regime.stored import check_array

NOUN = "jump model"
_LARGEST_EXPONENT = 600.0
"""λ / τ above which exp(−λ/τ) would no longer be a number: such a penalty forbids every jump."""


@dataclass(frozen=True)
class JumpModel:
    """Three ordered centres over `d` of the features. Arrays of states follow `REGIMES`: calm < balanced < stress."""

    asset: str
    """`venue:symbol`"""
    interval: Interval
    feature_names: tuple[str, ...]
    mean: Vector
    """(d,) mean of the training window, raw units"""
    scale: Vector
    """(d,) standard deviation of the training window, raw units"""
    clip: float
    """standardised features are clipped to ± clip"""
    centres: Matrix
    """(3, d) standardised units, ordered by the first feature"""
    penalty: float
    """λ: what a change of state costs, in squared standard deviations / 2"""
    temperature: float
    """τ: mean squared distance from the own centre per feature, standardised units"""
    valid_from_ms: int
    """first instant at which the model may be used; its training bars were closed by then"""
    train_start_ms: int
    """open time of the first training bar"""
    train_bars: int
    objective: float
    """of the training window"""
    converged: bool
    params: Mapping[str, float] = field(default_factory=dict)
    """echo of `RegimeParams.jump_settings`"""
    previous_id: str | None = None
    """model whose centres were one of the starting points"""

    def __post_init__(self) -> None:
        d = len(self.feature_names)
        if not d or not set(self.feature_names) <= set(FEATURES):
            raise ModelError(f"{NOUN}: features {self.feature_names} are not among {FEATURES}; fit the model again")
        for name, shape in {"mean": (d,), "scale": (d,), "centres": (STATES, d)}.items():
            check_array(NOUN, name, getattr(self, name), shape)
        for name in ("penalty", "temperature", "objective"):
            check_array(NOUN, name, getattr(self, name), ())
        if min(self.scale) <= 0 or not self.clip > 0 or not self.temperature > 0 or self.penalty < 0:
            raise ModelError(f"{NOUN}: scale, clip and temperature must be positive, penalty not negative; fit the model again")

    @cached_property
    def id(self) -> str:
        """Content id: equal models have equal ids."""
        return content_id("j", stored.as_plain(self))

    @cached_property
    def fit_version(self) -> str:
        """Content id of the settings that it was fitted under."""
        return fit_version(self.params)

    @property
    def jump_factor(self) -> float:
        """exp(−λ/τ): how much less likely the best path through a jump is."""
        return exp(-min(self.penalty / self.temperature, _LARGEST_EXPONENT))

    def standardise(self, features: FloatArray) -> FloatArray:
        """Rows of `regime_features` (n, 3) as (n, d) standard deviations of the training window, clipped. NaN stays NaN.

        Raises `ModelError` where the number of columns is wrong.
        """
        return standardised(feature_columns(features, self.feature_names), self.feature_names, self.mean, self.scale, self.clip)

    def to_json(self) -> str:
        """Canonical JSON with `schema` and `id`; `from_json` gives back the identical bits."""
        return stored.to_json(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The model stored by `to_json`. Raises `ModelError` for anything else, naming what is wrong."""
        return stored.from_json(cls, text, NOUN)


def jump_losses(z: FloatArray, centres: FloatArray) -> FloatArray:
    """½‖z_t − μ_k‖² of shape (n, 3) for standardised rows (n, d); NaN where a row has a missing value."""
    losses = np.zeros((len(z), STATES))
    for state in range(STATES):
        for column in range(z.shape[1]):
            losses[:, state] += (z[:, column] - centres[state, column]) ** 2
    return losses * 0.5


def jump_probabilities(model: JumpModel, features: FloatArray, initial: Alpha | None = None) -> FloatArray:
    """Causal probabilities (n, 3) of rows of `regime_features` (n, 3); the largest one is the state of online inference.

    `initial` are the probabilities of the bar before the first row; without them no state is preferred. A row with a missing
    value is no evidence. Raises `ModelError` for a wrong number of columns.
    """
    losses = jump_losses(model.standardise(features), np.asarray(model.centres))
    smallest = np.minimum(np.minimum(losses[:, 0], losses[:, 1]), losses[:, 2])
    likelihoods = np.exp((smallest[:, None] - losses) / model.temperature)
    likelihoods[np.isnan(smallest)] = 1.0
    uniform = (1 / STATES, 1 / STATES, 1 / STATES)
    return over_rows(forward_max, (model.jump_factor, uniform if initial is None else initial), likelihoods)


def forward_max(constants: Any, likelihoods: Any, result: Any) -> None:
    """p_t ∝ b_t · max(p_{t−1}, jump · max p_{t−1}): the value function's recursion, in exp(−V/τ).

    One source for two forms: nested lists in plain Python, arrays in machine code.
    """
    jump, alpha = constants
    p0, p1, p2 = alpha
    for row in range(len(likelihoods)):
        through = jump * max(p0, p1, p2)
        q0 = max(p0, through) * likelihoods[row][0]
        q1 = max(p1, through) * likelihoods[row][1]
        q2 = max(p2, through) * likelihoods[row][2]
        total = q0 + q1 + q2
        p0, p1, p2 = q0 / total, q1 / total, q2 / total
        result[row][0], result[row][1], result[row][2] = p0, p1, p2
