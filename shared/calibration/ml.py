"""Training of the ML alpha: a logistic regression for the sign of the next move, one model for each instant of a fixed grid.

At an instant T only bars whose label is complete by T are used (purged: close + horizon ≤ T), so a backtest that reads each
model from T on never sees its own future, however far it reaches. The grid does not depend on where the series ends. The
model is stored as ONNX (skl2onnx) because that is what runs; scikit-learn is needed here only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from shared.calibration.ml_params import MlParams
from shared.data.params import CurationParams
from shared.domain.asset import Asset
from shared.domain.candles import FloatArray, IntArray
from shared.domain.errors import NotEnoughData
from shared.domain.frame import Frame
from shared.domain.interval import DAY_MS, format_ms
from shared.strategy.ml_features import FEATURE_CONTRACT, ML_FEATURES, ml_features
from shared.strategy.ml_model import MlModel, ModelCard, curation_version, with_ml_scores

_MONDAY_MS = 4 * DAY_MS
_OPSET = 18


@dataclass(frozen=True, eq=False, slots=True)
class Labels:
    """What the training learns from, for each of n bars."""

    up: np.ndarray[tuple[int], np.dtype[np.int8]]
    """(n,) 1 up, 0 down, -1 no label (too small a move, a gap, or not known yet)"""
    known_ms: IntArray
    """(n,) close of the bar at which the label is complete"""


@dataclass(frozen=True, slots=True)
class Training:
    """What one instant gave."""

    instant_ms: int
    model: MlModel | None
    reason: str


def labels(frame: Frame, params: MlParams) -> Labels:
    """Sign of the log return over `horizon_bars`, where it is beyond the dead band and no bar is missing in between."""
    n, ahead = len(frame), params.horizon_bars
    up, known = np.full(n, -1, dtype=np.int8), frame.close_time + ahead * frame.interval.ms
    if n <= ahead:
        return Labels(up, known)
    moved = np.log(frame["close"][ahead:] / frame["close"][:-ahead])
    usual = frame["realised_volatility"][:-ahead] * np.sqrt(ahead)
    whole = frame.close_time[ahead:] == known[:-ahead]
    counts = whole & (np.abs(moved) >= params.dead_band * usual) & (moved != 0)
    up[:-ahead] = np.where(counts, (moved > 0).astype(np.int8), np.int8(-1))
    return Labels(up, known)


def training_instants(first_ms: int, end_ms: int, params: MlParams) -> tuple[int, ...]:
    """Instants of the grid in [first_ms, end_ms]."""
    step = params.retrain_days * DAY_MS
    first = -((_MONDAY_MS - first_ms) // step) * step + _MONDAY_MS
    return tuple(range(first, end_ms + 1, step))


def train_all(
    frame: Frame,
    asset: Asset,
    params: MlParams,
    curation: CurationParams,
    *,
    instants: Sequence[int] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Training, ...]:
    """One training for each grid instant that the frame reaches. `on_progress(done, total)` is told of each."""
    if len(frame) == 0:
        return ()
    wanted = training_instants(int(frame.close_time[0]), int(frame.close_time[-1]), params) if instants is None else instants
    inputs, target = ml_features(frame).astype(np.float32), labels(frame, params)
    # The first rows of recursive indicators still depend on where the series happens to start.
    warm = np.arange(len(frame)) >= curation.lookback_bars
    usable = np.isfinite(inputs).all(axis=1) & (target.up >= 0) & warm
    results = []
    for done, instant in enumerate(wanted, start=1):
        results.append(_trained(frame, asset, instant, inputs, target, usable, params, curation))
        if on_progress is not None:
            on_progress(done, len(wanted))
    return tuple(results)


def with_walk_forward_ml(
    frame: Frame,
    asset: Asset,
    params: MlParams,
    curation: CurationParams,
    on_progress: Callable[[int, int], None] | None = None,
) -> Frame:
    """`frame` with the ML scores of models trained on it walk-forward: each speaks of bars after its training only."""
    trainings = train_all(frame, asset, params, curation, on_progress=on_progress)
    return with_ml_scores(frame, [training.model for training in trainings if training.model is not None], curation)


def models_of(trainings: Sequence[Training]) -> tuple[MlModel, ...]:
    """The models that came out, by instant. Raises `NotEnoughData` where there is none, with the last reason."""
    models = tuple(training.model for training in trainings if training.model is not None)
    if not models:
        reason = trainings[-1].reason if trainings else "the data reach no training instant"
        raise NotEnoughData(f"no ML model could be trained: {reason}; give more history")
    return models


def _trained(
    frame: Frame,
    asset: Asset,
    instant: int,
    inputs: np.ndarray[tuple[int, int], np.dtype[np.float32]],
    target: Labels,
    usable: np.ndarray[tuple[int], np.dtype[np.bool_]],
    params: MlParams,
    curation: CurationParams,
) -> Training:
    """The model of one instant, or why there is none."""
    past = int(np.searchsorted(target.known_ms, instant, side="right"))
    rows = np.flatnonzero(usable[:past])[-params.train_bars :]
    rows = rows[rows >= past - params.train_bars]
    if len(rows) < params.min_train_samples:
        return Training(
            instant, None, f"{len(rows)} labelled bars before {format_ms(instant)}, {params.min_train_samples} needed"
        )
    up = target.up[rows]
    share = float(up.mean())
    if not 0.05 < share < 0.95:
        return Training(instant, None, f"{share:.0%} of the labels before {format_ms(instant)} are up: nothing to tell apart")
    onnx, auc = _fitted(inputs[rows], up, params)
    card = ModelCard(
        asset=str(asset),
        interval=frame.interval,
        features=ML_FEATURES,
        contract=FEATURE_CONTRACT,
        curation=curation_version(curation),
        horizon_bars=params.horizon_bars,
        full_edge=params.full_edge,
        train_start_ms=int(frame.open_time[rows[0]]),
        train_end_ms=int(target.known_ms[rows[-1]]),
        valid_from_ms=instant,
        expires_ms=instant + params.expiry_days * DAY_MS,
        samples=len(rows),
        up_share=share,
        train_auc=auc,
        checksum=hashlib.sha256(onnx).hexdigest(),
    )
    return Training(instant, MlModel(card, onnx), f"{len(rows)} samples, {share:.0%} up, AUC on them {auc:.3f}")


def _fitted(
    inputs: np.ndarray[tuple[int, int], np.dtype[np.float32]], up: np.ndarray[tuple[int], np.dtype[np.int8]], params: MlParams
) -> tuple[bytes, float]:
    """ONNX bytes of the fitted pipeline and its AUC on the training data."""
    from skl2onnx import to_onnx
    from sklearn.metrics import roc_auc_score

    pipeline = logistic_pipeline(params)
    pipeline.fit(inputs, up)
    probabilities: FloatArray = pipeline.predict_proba(inputs)[:, 1]
    converted = to_onnx(pipeline, inputs[:1], options={"zipmap": False}, target_opset=_OPSET)
    return converted.SerializeToString(deterministic=True), float(roc_auc_score(up, probabilities))


def logistic_pipeline(params: MlParams):  # type: ignore[no-untyped-def] # scikit-learn has no types
    """The untrained model: standardisation and an L2 logistic regression, both inside the ONNX file."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=params.regularisation, max_iter=500))
