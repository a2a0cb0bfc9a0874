"""A trained model of the ML alpha as a value: its ONNX bytes and a card that says what it is and when it may be used.

    score = clip((2·P(up) - 1) / full_edge, -1, 1)

A bar uses the newest model that is valid at its close and not expired. A model of another feature contract, other curation
settings or another interval does not speak; nor does one whose bytes do not have the checksum of its card. Then no older one
speaks in its place: the score is NaN, which the alpha reads as 0, as where the runtime fails, and `MlScores.problem` says why.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
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


@dataclass(frozen=True, slots=True)
class UnusableModel:
    """A stored model that cannot be read: from its instant to that of the next model nobody speaks."""

    valid_from_ms: int
    problem: str


Trained = MlModel | UnusableModel
"""What a training left behind"""


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
    """(n,) index into `models`; -1 where none speaks"""
    models: tuple[Trained, ...]
    """by `valid_from_ms`"""
    problem: str
    """why the newest bar has no score; empty where it has one"""


def ml_scores(frame: Frame, models: Sequence[Trained], curation: CurationParams) -> MlScores:
    """Scores of every bar under the models in force at its close (`valid_from_ms` ≤ close < `expires_ms`).

    A model that must not speak keeps its place: the bars that were its own are neutral, and not an older model's.
    """
    placed = sorted(models, key=_instant)
    close, score = frame.close_time, np.full(len(frame), np.nan)
    starts = np.array([_instant(model)[0] for model in placed], dtype=np.int64)
    index: IntArray = np.searchsorted(starts, close, side="right") - 1
    problem = "" if len(index) == 0 or index[-1] >= 0 else "no trained model is valid yet; train one with `ost alphas train`"
    for place, model in enumerate(placed):
        rows = np.flatnonzero(index == place)
        if not len(rows):
            continue
        alive, why = _spoken(frame, rows, model, curation, score)
        index[rows[alive:]] = -1
        if rows[-1] == len(frame) - 1:
            problem = why
    return MlScores(score, index, tuple(placed), problem)


def _instant(model: Trained) -> tuple[int, str]:
    """From when it is in force; of two of one instant the id decides."""
    return (model.valid_from_ms, "") if isinstance(model, UnusableModel) else (model.card.valid_from_ms, model.card.id)


def _spoken(frame: Frame, rows: IntArray, model: Trained, curation: CurationParams, score: FloatArray) -> tuple[int, str]:
    """Write what a model says about its `rows` into `score`: how many of them it may speak about, and why not the last one."""
    if isinstance(model, UnusableModel):
        return 0, model.problem
    card, close = model.card, frame.close_time
    refusal = model.refusal(frame.interval, curation)
    if refusal:
        return 0, refusal
    alive = int(np.searchsorted(close[rows], card.expires_ms))
    try:
        if alive:
            score[rows[:alive]] = model.score(frame.rows(slice(int(rows[0]), int(rows[alive - 1]) + 1)))
    except ModelError as error:
        return 0, f"model {card.id}: {error}"
    if alive < len(rows):
        return alive, f"model {card.id} expired {format_ms(card.expires_ms)}; {_AGAIN}"
    return alive, "" if np.isfinite(score[rows[-1]]) else f"model {card.id} lacks features of the newest bar"


def with_ml_scores(frame: Frame, models: Sequence[Trained], curation: CurationParams) -> Frame:
    """`frame` with the scores of `models` in `SCORE_COLUMN`: the one way, live and in research, to the ML alpha."""
    return with_scores(frame, ml_scores(frame, models, curation).score)


def with_scores(frame: Frame, scores: FloatArray) -> Frame:
    """`frame` with `scores` (n,) where the ML alpha reads them."""
    return replace(frame, columns={**frame.columns, SCORE_COLUMN: scores})


def with_newest_ml_score(frame: Frame, models: Sequence[Trained], curation: CurationParams) -> tuple[Frame, str]:
    """The live form: only the last row has a score. Returns the frame and why the row has none, if so.

    Equal to the last row of `with_ml_scores`: the features of a row need that row of the curated frame only.
    """
    newest = ml_scores(frame.rows(slice(-1, None)), models, curation)
    score = np.full(len(frame), np.nan)
    score[-1:] = newest.score
    return with_scores(frame, score), newest.problem
