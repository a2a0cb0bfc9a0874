"""Which regime each bar is in: the filter of the model of the day, over a frame or one bar at a time.

The bar closed at t uses the model with the latest `valid_from_ms` ≤ t. For each model the filter starts `burn_in_bars` before
the model's first bar from its stationary distribution, so that a row depends on a bounded window and on no later bar (prefix
and window invariance). `RegimeTracker` is the live form: the same numbers with one step per new bar, keyed by bar close.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.domain.candles import FloatArray, IntArray
from shared.domain.errors import ModelError, NotEnoughData
from shared.domain.frame import Frame
from shared.domain.interval import DAY_MS, Interval, format_ms
from shared.domain.records import RegimeState
from shared.domain.regime import RegimeProbabilities
from shared.regime.features import regime_features
from shared.regime.filter import Alpha, filter_probabilities
from shared.regime.jump import JumpModel, jump_probabilities
from shared.regime.model import RegimeModel
from shared.regime.params import RegimeParams

NO_MODEL = -1
Classifier = RegimeModel | JumpModel
"""Either has an id, the instant from which it is valid, and causal probabilities of its features."""


@dataclass(frozen=True, eq=False)
class RegimePath:
    """Regimes over the `n` bars of a frame."""

    probabilities: FloatArray
    """(n, 3) filtered probabilities; NaN before the first model"""
    model_index: IntArray
    """(n,) index into `models`, -1 before the first one"""
    models: tuple[Classifier, ...]
    """by `valid_from_ms`"""

    @property
    def bars_without_model(self) -> int:
        """Bars before any model."""
        return int((self.model_index == NO_MODEL).sum())

    def model_id(self, row: int) -> str | None:
        """Id of the model that classified a row."""
        index = int(self.model_index[row])
        return None if index == NO_MODEL else self.models[index].id

    def at(self, row: int) -> RegimeProbabilities | None:
        """Probabilities of one row; `None` where there is no model."""
        return None if self.model_index[row] == NO_MODEL else _as_value(self.probabilities[row])


def classify(frame: Frame, models: Sequence[Classifier], params: RegimeParams) -> RegimePath:
    """Filtered probabilities of every bar of `frame` under the models in force at its close."""
    ordered = tuple(sorted(models, key=lambda model: (model.valid_from_ms, model.id)))
    valid_from = np.asarray([model.valid_from_ms for model in ordered], dtype=np.int64)
    bounds = [*np.searchsorted(frame.close_time, valid_from).tolist(), len(frame)]
    index: IntArray = np.repeat(np.arange(NO_MODEL, len(ordered)), np.diff(bounds, prepend=0))
    probabilities, features = np.full((len(frame), 3), np.nan), regime_features(frame)
    for model, first, end in zip(ordered, bounds, bounds[1:], strict=False):
        if first < end:
            probabilities[first:end] = _filtered(features, first, end, model, params)[first - end :]
    return RegimePath(probabilities, index, ordered)


def bars_needed(interval: Interval, params: RegimeParams) -> int:
    """Complete feature rows that give the newest bar's probabilities, just before the next refit."""
    return params.burn_in_bars + int(params.refit_days * DAY_MS // interval.ms) + 1


def _filtered(features: FloatArray, first: int, end: int, model: Classifier, params: RegimeParams) -> FloatArray:
    """Filtered rows up to row `end`, from the start of the burn-in of a model whose first row is `first`."""
    return _probabilities(model, features[max(0, first - params.burn_in_bars) : end])


def _probabilities(model: Classifier, features: FloatArray, initial: Alpha | None = None) -> FloatArray:
    if isinstance(model, JumpModel):
        return jump_probabilities(model, features, initial)
    return filter_probabilities(model, features, initial)


def _as_value(row: FloatArray) -> RegimeProbabilities:
    calm, balanced, stress = row.tolist()
    return RegimeProbabilities(calm, balanced, stress)


@dataclass(frozen=True, slots=True)
class RegimeTracker:
    """The live filter between two bars: what must be remembered, and nothing else."""

    model_id: str
    bar_close_ms: int
    alpha: Alpha

    @classmethod
    def restored(cls, state: RegimeState) -> RegimeTracker:
        """From the ledger: filtered probabilities are the filter's whole memory."""
        p = state.probabilities
        return cls(state.model_id, state.bar_close_ms, (p.calm, p.balanced, p.stress))

    @classmethod
    def started(cls, frame: Frame, model: Classifier, params: RegimeParams) -> RegimeTracker:
        """Run the burn-in over a trailing window; the newest bar's row equals that of `classify`.

        Raises `NotEnoughData` for an empty window, `ModelError` where the model is not yet valid at its last bar.
        """
        if len(frame) == 0:
            raise NotEnoughData("no bars to classify: the window is empty")
        close_ms = int(frame.close_time[-1])
        if close_ms < model.valid_from_ms:
            raise ModelError(
                f"model {model.id} is valid from {format_ms(model.valid_from_ms)}, after the bar that closed at "
                f"{format_ms(close_ms)}; use the model of the day"
            )
        first = int(np.searchsorted(frame.close_time, model.valid_from_ms))
        rows = _filtered(regime_features(frame), first, len(frame), model, params)
        return cls(model.id, close_ms, _as_alpha(rows[-1]))

    @property
    def probabilities(self) -> RegimeProbabilities:
        """Filtered probabilities at `bar_close_ms`."""
        return RegimeProbabilities(*self.alpha)

    def update(self, frame: Frame, model: Classifier, params: RegimeParams) -> RegimeTracker:
        """The tracker at the last bar of a trailing window: one step per new bar.

        Runs the burn-in again where the model has changed or the last known bar is not in the window. The same bar again
        changes nothing.
        """
        if len(frame) and model.id == self.model_id:
            close = frame.close_time
            if int(close[-1]) <= self.bar_close_ms:
                return self
            known = int(np.searchsorted(close, self.bar_close_ms))
            if int(close[known]) == self.bar_close_ms:
                fresh = regime_features(frame.rows(slice(known + 1, len(frame))))
                alpha = _as_alpha(_probabilities(model, fresh, self.alpha)[-1])
                return RegimeTracker(model.id, int(close[-1]), alpha)
        return RegimeTracker.started(frame, model, params)


def track(tracker: RegimeTracker | None, frame: Frame, model: Classifier, params: RegimeParams) -> RegimeTracker:
    """`tracker.update`, or a fresh start where nothing is known yet."""
    return RegimeTracker.started(frame, model, params) if tracker is None else tracker.update(frame, model, params)


def _as_alpha(row: FloatArray) -> Alpha:
    calm, balanced, stress = row.tolist()
    return calm, balanced, stress
