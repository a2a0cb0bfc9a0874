"""A trained model of the ML alpha as a value: its ONNX bytes and a card that says what it is and when it may be used.

    score = clip((2·P(up) - 1) / full_edge, -1, 1)

A bar uses the newest model that is valid at its close and not expired. A model of another feature contract, other curation
settings or another interval does not speak; nor does one whose bytes do not have the checksum of its card. Where no model
speaks, or the runtime fails, the score is NaN, which the alpha reads as 0, and `MlScores.problem` says why.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np

from shared.data.params import CurationParams
from shared.domain.candles import FloatArray, IntArray
from shared.domain.errors import ModelError, OstError
from shared.domain.frame import Frame
from shared.domain.ids import canonical_json, content_id
from shared.domain.interval import Interval, format_ms
from shared.strategy.alphas.ml_confidence import SCORE_COLUMN
from shared.strategy.ml_features import FEATURE_CONTRACT, ML_FEATURES, ml_features

_AGAIN = "train again with `ost alphas train`"


def curation_version(params: CurationParams) -> str:
    """Content id of the settings that the features were computed under."""
    return content_id("k", asdict(params))


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The JSON that lies beside a model's ONNX file."""

    asset: str
    interval: Interval
    features: tuple[str, ...]
    contract: str
    curation: str
    """`curation_version` of the training data"""
    horizon_bars: int
    """the label is the sign of the return over so many bars"""
    full_edge: float
    """2·P(up) - 1 that counts as a score of 1"""
    train_start_ms: int
    train_end_ms: int
    """no label ends after it"""
    valid_from_ms: int
    expires_ms: int
    samples: int
    up_share: float
    """share of upward labels in training"""
    train_auc: float
    """area under the ROC curve on the training data: optimistic by construction"""
    checksum: str
    """SHA-256 of the ONNX bytes"""

    @property
    def id(self) -> str:
        """Content id."""
        return content_id("ml", self._plain())

    def _plain(self) -> dict[str, Any]:
        return {**asdict(self), "interval": self.interval.value, "features": list(self.features)}

    def to_json(self) -> str:
        """Canonical JSON with the id."""
        return canonical_json({"schema": 1, "id": self.id, **self._plain()})

    @classmethod
    def from_json(cls, text: str | bytes) -> ModelCard:
        """The card that `to_json` wrote. Raises `ModelError` for anything else."""
        try:
            stored = json.loads(text)
        except ValueError as error:
            raise ModelError(f"ML model card: not JSON ({error}); {_AGAIN}") from error
        names = {entry.name for entry in fields(cls)}
        if not isinstance(stored, dict) or stored.get("schema") != 1 or set(stored) != names | {"schema", "id"}:
            raise ModelError(f"ML model card: not of schema 1 with the fields {' '.join(sorted(names))}; {_AGAIN}")
        values = {name: stored[name] for name in names}
        try:
            values |= {"interval": Interval.parse(stored["interval"]), "features": tuple(stored["features"])}
            card = cls(**values)
            found = card.id
        except (OstError, TypeError, ValueError) as error:
            raise ModelError(f"ML model card: {error}; {_AGAIN}") from error
        if found != stored["id"]:
            raise ModelError(f"ML model card: content gives id {found}, the file says {stored['id']}: it was altered; {_AGAIN}")
        return card


@dataclass(frozen=True, slots=True)
class MlModel:
    """A model that can score frames. Built by the trainer or the store; `checked` says whether it may be used."""

    card: ModelCard
    onnx: bytes

    def checked(self) -> MlModel:
        """This model. Raises `ModelError` where the bytes do not belong to the card or give no probability for a row."""
        found = hashlib.sha256(self.onnx).hexdigest()
        if found != self.card.checksum:
            raise ModelError(
                f"ML model {self.card.id}: the ONNX file has checksum {found[:12]}…, its card says {self.card.checksum[:12]}…; "
                "restore the file or train again with `ost alphas train`"
            )
        probabilities_up(self.onnx, np.zeros((1, len(self.card.features)), dtype=np.float32))
        return self

    def refusal(self, interval: Interval, curation: CurationParams) -> str:
        """Why the model must not speak about such frames; empty where it may."""
        card = self.card
        if card.contract != FEATURE_CONTRACT or card.features != ML_FEATURES:
            return f"model {card.id} has the feature contract {card.contract}, this code has {FEATURE_CONTRACT}"
        if card.curation != curation_version(curation):
            return f"model {card.id} was trained under other curation settings"
        if card.interval is not interval:
            return f"model {card.id} was trained on {card.interval} bars, these are {interval}"
        return ""

    def score(self, frame: Frame) -> FloatArray:
        """(n,) in [-1, 1]; NaN in the warm-up. Whether the model is in force at a bar is not asked here."""
        inputs = ml_features(frame)
        known = np.flatnonzero(np.isfinite(inputs).all(axis=1))
        up = np.full(len(frame), np.nan)
        up[known] = probabilities_up(self.onnx, inputs[known])
        return np.clip((2.0 * up - 1.0) / self.card.full_edge, -1.0, 1.0)


def probabilities_up(onnx: bytes, inputs: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> FloatArray:
    """P(up) (n,) of feature rows (n, k), by onnxruntime. Raises `ModelError` where the model does not give them.

    Row by row: the runtime's last bits depend on the size of a batch, and a live window must give the row of the full history.
    """
    session = _session(onnx)
    try:
        name = session.get_inputs()[0].name
        rows = [session.run(None, {name: inputs[i : i + 1]})[1][0, 1] for i in range(len(inputs))]
        up = np.array(rows, dtype=np.float64)
    except Exception as error:  # onnxruntime's own errors have no common base
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ModelError(f"the ML model cannot score {inputs.shape[1]} features ({reason}); {_AGAIN}") from error
    if not ((up >= 0) & (up <= 1)).all():
        raise ModelError(f"the ML model says {up[~((up >= 0) & (up <= 1))][0]:g} where a probability is expected; {_AGAIN}")
    return up


@lru_cache(maxsize=64)
def _session(onnx: bytes) -> Any:
    """The runtime of a model; a function of its bytes alone."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors have no common base
        raise ModelError(f"onnxruntime cannot read the ML model ({error}); {_AGAIN}") from error


@dataclass(frozen=True, eq=False, slots=True)
class MlScores:
    """What the models say about n bars."""

    score: FloatArray
    """(n,) in [-1, 1]; NaN where no model speaks"""
    model_index: IntArray
    """(n,) index into `models`; -1 where none is in force"""
    models: tuple[MlModel, ...]
    problem: str
    """why the newest bar has no score; empty where it has one"""


def ml_scores(frame: Frame, models: Sequence[MlModel], curation: CurationParams) -> MlScores:
    """Scores of every bar under the models in force at its close (`valid_from_ms` ≤ close < `expires_ms`)."""
    refusals = [(model, model.refusal(frame.interval, curation)) for model in models]
    usable = sorted((m for m, why in refusals if not why), key=lambda m: (m.card.valid_from_ms, m.card.id))
    close, score = frame.close_time, np.full(len(frame), np.nan)
    starts = np.array([model.card.valid_from_ms for model in usable], dtype=np.int64)
    index: IntArray = np.searchsorted(starts, close, side="right") - 1
    failures: dict[str, str] = {}
    for place, model in enumerate(usable):
        rows = np.flatnonzero(index == place)
        expired = rows[close[rows] >= model.card.expires_ms]
        index[expired] = -1
        alive = rows[: len(rows) - len(expired)]
        try:
            if len(alive):
                score[alive] = model.score(frame.rows(slice(int(alive[0]), int(alive[-1]) + 1)))
        except ModelError as error:
            index[alive] = -1
            failures[model.card.id] = f"model {model.card.id}: {error}"
    return MlScores(score, index, tuple(usable), _problem(frame, score, refusals, usable, failures))


def _problem(
    frame: Frame,
    score: FloatArray,
    refusals: Sequence[tuple[MlModel, str]],
    usable: Sequence[MlModel],
    failures: Mapping[str, str],
) -> str:
    if len(frame) == 0 or np.isfinite(score[-1]):
        return ""
    close_ms = int(frame.close_time[-1])
    valid = [model for model in usable if model.card.valid_from_ms <= close_ms]
    if valid and close_ms < valid[-1].card.expires_ms:
        card = valid[-1].card
        return failures.get(card.id) or f"model {card.id} lacks features of the newest bar"
    if valid:
        return f"model {valid[-1].card.id} expired {format_ms(valid[-1].card.expires_ms)}; {_AGAIN}"
    refused = next((why for _, why in reversed(refusals) if why), "")
    return refused or "no trained model is valid yet; train one with `ost alphas train`"


def with_ml_scores(frame: Frame, models: Sequence[MlModel], curation: CurationParams) -> Frame:
    """`frame` with the scores of `models` in `SCORE_COLUMN`: the one way, live and in research, to the ML alpha."""
    return with_scores(frame, ml_scores(frame, models, curation).score)


def with_scores(frame: Frame, scores: FloatArray) -> Frame:
    """`frame` with `scores` (n,) where the ML alpha reads them."""
    return replace(frame, columns={**frame.columns, SCORE_COLUMN: scores})


def with_newest_ml_score(frame: Frame, models: Sequence[MlModel], curation: CurationParams) -> tuple[Frame, str]:
    """The live form: only the last row has a score. Returns the frame and why the row has none, if so.

    Equal to the last row of `with_ml_scores`: the features of a row need that row of the curated frame only.
    """
    newest = ml_scores(frame.rows(slice(-1, None)), models, curation)
    score = np.full(len(frame), np.nan)
    score[-1:] = newest.score
    return with_scores(frame, score), newest.problem
