"""The ML alpha's training: nothing later than its instant counts, and what runs is what was trained."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from skl2onnx import to_onnx

from shared.adapters.local.bucket import FolderBucket
from shared.calibration.ml import labels, logistic_pipeline, models_of, train_all, training_instants, with_walk_forward_ml
from shared.calibration.ml_params import MlParams
from shared.calibration.variants import with_changes
from shared.data.curation import curate
from shared.data.params import CurationParams
from shared.domain.asset import Asset
from shared.domain.candles import Candles
from shared.domain.errors import ConfigError, ModelError, NotEnoughData
from shared.domain.frame import Frame
from shared.domain.interval import DAY_MS, Interval
from shared.strategy.alphas import ALPHAS
from shared.strategy.ml_features import ML_FEATURES, ml_features
from shared.strategy.ml_model import MlModel, ModelCard, ml_scores, probabilities_up, with_ml_scores, with_newest_ml_score
from shared.strategy.ml_store import OtherModel, copy_ml_models, folder, load_ml_models, save_ml_model
from shared.strategy.params import StrategyParams
from shared.trading.ml_models import with_stored_ml
from shared.trading.params import SystemParams

ASSET = Asset("binanceusdm", "BTCUSDT")
CURATION = CurationParams()
PARAMS = MlParams(horizon_bars=6, train_bars=2000, min_train_samples=200, retrain_days=14, expiry_days=28)


@pytest.fixture(scope="module")
def candles(walk: Callable[..., Candles]) -> Candles:
    return walk(4, 3000, volatility=0.01)


@pytest.fixture(scope="module")
def frame(candles: Candles) -> Frame:
    return curate(candles, CURATION)


@pytest.fixture(scope="module")
def models(frame: Frame) -> tuple[MlModel, ...]:
    return models_of(train_all(frame, ASSET, PARAMS, CURATION))


def test_onnxruntime_agrees_with_scikit_learn(frame: Frame, models: tuple[MlModel, ...]) -> None:
    instant = models[-1].card.valid_from_ms
    target, inputs = labels(frame, PARAMS), ml_features(frame)
    past = int(np.searchsorted(target.known_ms, instant, side="right"))
    warm = np.arange(len(frame)) >= CURATION.lookback_bars
    rows = np.flatnonzero((np.isfinite(inputs).all(axis=1) & (target.up >= 0) & warm)[:past])
    rows = rows[rows >= past - PARAMS.train_bars]
    pipeline = logistic_pipeline(PARAMS).fit(inputs[rows], target.up[rows])
    known = inputs[np.isfinite(inputs).all(axis=1)]
    expected = pipeline.predict_proba(known)[:, 1]
    assert np.abs(probabilities_up(models[-1].onnx, known) - expected).max() < 1e-5
    assert models[-1].card.samples == len(rows)


def test_a_model_does_not_change_with_the_future(candles: Candles, models: tuple[MlModel, ...]) -> None:
    instant = models[0].card.valid_from_ms
    cut = int(np.searchsorted(candles.close_time, instant, side="right"))
    again = models_of(train_all(curate(candles[:cut], CURATION), ASSET, PARAMS, CURATION))
    assert again[-1] == models[0]
    assert all(model.card.train_end_ms <= model.card.valid_from_ms for model in models)


def test_labels_know_only_complete_moves_beyond_the_dead_band(frame: Frame) -> None:
    target = labels(frame, PARAMS)
    ahead = PARAMS.horizon_bars
    assert (target.up[-ahead:] == -1).all()
    moved = np.log(frame["close"][ahead:] / frame["close"][:-ahead])
    up = target.up[:-ahead]
    assert (moved[up == 1] > 0).all()
    assert (moved[up == 0] < 0).all()
    wide = labels(frame, replace(PARAMS, dead_band=2.0))
    assert (wide.up >= 0).sum() < (target.up >= 0).sum() / 2


def test_a_gap_has_no_label(walk: Callable[..., Candles]) -> None:
    gapped = curate(walk(1, 400, missing=slice(200, 210)), CURATION)
    target = labels(gapped, replace(PARAMS, dead_band=0.0))
    assert (target.up[200 - PARAMS.horizon_bars : 200] == -1).all()
    assert (target.up[100:150] >= 0).all()


def test_the_grid_is_anchored_at_a_monday_and_not_at_the_data() -> None:
    one, other = (training_instants(first, 200 * DAY_MS, PARAMS) for first in (10 * DAY_MS + 1, 33 * DAY_MS))
    assert set(other) <= set(one)
    assert all((instant // DAY_MS - 4) % 14 == 0 for instant in one)
    assert one[0] >= 10 * DAY_MS + 1


def test_one_row_scores_as_the_whole_history_does(frame: Frame, models: tuple[MlModel, ...]) -> None:
    whole = with_ml_scores(frame, models, CURATION)
    for row in (2000, 2500, len(frame) - 1):
        part, problem = with_newest_ml_score(frame.rows(slice(row - 400, row + 1)), models, CURATION)
        assert problem == ""
        assert part["ml_score"][-1] == whole["ml_score"][row]
        assert ALPHAS["ml_confidence"].compute(part, StrategyParams())[-1] == whole["ml_score"][row]
    assert np.nanmax(np.abs(whole["ml_score"])) <= 1.0


def test_a_window_scores_as_the_whole_history_does(candles: Candles, frame: Frame, models: tuple[MlModel, ...]) -> None:
    whole = ml_scores(frame, models, CURATION).score
    bars = CURATION.lookback_bars
    for row in range(2000, 3000, 97):
        window = curate(candles[row + 1 - bars : row + 1], CURATION)
        assert ml_scores(window, models, CURATION).score[-1] == pytest.approx(whole[row], abs=1e-9)


def test_a_bar_uses_the_newest_model_that_is_valid_and_not_expired(frame: Frame, models: tuple[MlModel, ...]) -> None:
    first = models[0]
    scores = ml_scores(frame, [first], CURATION)
    close = frame.close_time
    inside = (close >= first.card.valid_from_ms) & (close < first.card.expires_ms)
    assert (np.isfinite(scores.score) == inside).all()
    assert "expired" in scores.problem
    both = ml_scores(frame, models[:2][::-1], CURATION)
    assert [model.card.id for model in both.models] == [model.card.id for model in models[:2]]
    assert int(both.model_index[np.searchsorted(close, models[1].card.valid_from_ms)]) == 1


@pytest.mark.parametrize(
    ("change", "curation", "words"),
    [
        ({"contract": "f-other"}, CURATION, "feature contract"),
        ({"features": ML_FEATURES[::-1]}, CURATION, "feature contract"),
        ({}, replace(CURATION, rsi_bars=20), "curation settings"),
        ({"interval": Interval.H4}, CURATION, "4h bars"),
    ],
)
def test_a_model_of_another_contract_is_silent_and_says_why(
    frame: Frame, models: tuple[MlModel, ...], change: dict, curation: CurationParams, words: str
) -> None:
    foreign = MlModel(replace(models[-1].card, **change), models[-1].onnx)
    scores = ml_scores(frame, [foreign], curation)
    assert np.isnan(scores.score).all()
    assert words in scores.problem


def test_without_a_model_the_alpha_is_neutral_and_says_so(frame: Frame) -> None:
    scored, problem = with_newest_ml_score(frame, (), CURATION)
    assert "no trained model" in problem
    alpha = ALPHAS["ml_confidence"]
    assert not alpha.compute(scored, StrategyParams()).any()
    assert alpha.describe(scored, 0.0, StrategyParams()) == "neutral: no trained model is valid at this bar"


def test_too_little_data_and_one_sided_labels_give_no_model(frame: Frame, walk: Callable[..., Candles]) -> None:
    with pytest.raises(NotEnoughData, match="no ML model could be trained"):
        models_of(train_all(frame.rows(slice(0, 600)), ASSET, PARAMS, CURATION))
    rising = curate(walk(2, 2500, drift=0.02, volatility=0.0005), CURATION)
    with pytest.raises(NotEnoughData, match="nothing to tell apart"):
        models_of(train_all(rising, ASSET, PARAMS, CURATION))
    assert train_all(frame.rows(slice(0, 0)), ASSET, PARAMS, CURATION) == ()


def test_a_stored_model_comes_back_and_an_altered_one_is_named(tmp_path, models: tuple[MlModel, ...]) -> None:
    bucket = FolderBucket(tmp_path)
    name = save_ml_model(bucket, ASSET, models[0])
    save_ml_model(bucket, ASSET, models[1])
    assert save_ml_model(bucket, ASSET, models[0]) == name
    stored = load_ml_models(bucket, ASSET, Interval.H1)
    assert stored.models == models[:2]
    assert stored.problems == ()
    onnx = name.replace(".json", ".onnx")
    bucket.write(onnx, models[0].onnx[:-1] + b"\x00")
    altered = load_ml_models(bucket, ASSET, Interval.H1)
    assert altered.models == models[1:2]
    assert "checksum" in altered.problems[0]
    bucket.delete(onnx)
    assert "ONNX file is missing" in load_ml_models(bucket, ASSET, Interval.H1).problems[0]


def test_an_instant_has_one_model_and_another_one_replaces_it_only_when_told(
    tmp_path, frame: Frame, models: tuple[MlModel, ...]
) -> None:
    bucket = FolderBucket(tmp_path)
    other = models_of(train_all(frame, ASSET, replace(PARAMS, regularisation=0.001), CURATION))[0]
    assert other.card.valid_from_ms == models[0].card.valid_from_ms
    save_ml_model(bucket, ASSET, models[0])
    with pytest.raises(OtherModel, match=f"already has the model {models[0].card.id}, this one is {other.card.id}"):
        save_ml_model(bucket, ASSET, other)
    assert load_ml_models(bucket, ASSET, Interval.H1).models == models[:1]
    save_ml_model(bucket, ASSET, other, replace=True)
    assert load_ml_models(bucket, ASSET, Interval.H1).models == (other,)
    assert len(bucket.list(folder(ASSET, Interval.H1))) == 2


def test_of_two_models_of_one_instant_none_is_used_and_it_is_said(tmp_path, frame: Frame, models: tuple[MlModel, ...]) -> None:
    one, other = FolderBucket(tmp_path / "one"), FolderBucket(tmp_path / "other")
    save_ml_model(one, ASSET, models_of(train_all(frame, ASSET, replace(PARAMS, regularisation=0.001), CURATION))[0])
    for model in models[:2]:
        save_ml_model(other, ASSET, model)
    copy_ml_models(one, other, ASSET, Interval.H1)
    found = load_ml_models(other, ASSET, Interval.H1)
    assert found.models == models[1:2]
    assert "several models" in found.problems[0]


def test_a_model_of_another_asset_or_interval_is_not_used(tmp_path, models: tuple[MlModel, ...]) -> None:
    bucket, ether = FolderBucket(tmp_path), Asset("binanceusdm", "ETHUSDT")
    with pytest.raises(ModelError, match="was trained on binanceusdm:BTCUSDT 1h, this is binanceusdm:ETHUSDT 1h"):
        save_ml_model(bucket, ether, models[0])
    save_ml_model(bucket, ASSET, models[0])
    for name in bucket.list(folder(ASSET, Interval.H1)):
        content = bucket.read(name).content
        bucket.write(name.replace("BTCUSDT", "ETHUSDT"), content)
        bucket.write(name.replace("/1h/", "/4h/"), content)
    for found in (load_ml_models(bucket, ether, Interval.H1), load_ml_models(bucket, ASSET, Interval.H4)):
        assert found.models == ()
        assert "was trained on binanceusdm:BTCUSDT 1h" in found.problems[0]


@pytest.fixture(scope="module")
def misshapen(models: tuple[MlModel, ...]) -> MlModel:
    """A model of three features under a card that promises ours, with the right checksum."""
    inputs = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    fitted = logistic_pipeline(PARAMS).fit(inputs, (inputs[:, 0] > 0).astype(int))
    onnx = to_onnx(fitted, inputs[:1], options={"zipmap": False}, target_opset=18).SerializeToString()
    return MlModel(replace(models[0].card, checksum=hashlib.sha256(onnx).hexdigest()), onnx)


def test_a_model_of_another_shape_is_refused_when_it_is_stored_or_read(
    tmp_path, models: tuple[MlModel, ...], misshapen: MlModel
) -> None:
    bucket = FolderBucket(tmp_path)
    with pytest.raises(ModelError, match=f"cannot score {len(ML_FEATURES)} features"):
        save_ml_model(bucket, ASSET, misshapen)
    stem = save_ml_model(bucket, ASSET, models[1]).removesuffix(".json")
    bucket.write(f"{stem}.onnx", misshapen.onnx)
    card = replace(models[1].card, checksum=misshapen.card.checksum)
    bucket.write(f"{stem}.json", card.to_json().encode())
    found = load_ml_models(bucket, ASSET, Interval.H1)
    assert found.models == ()
    assert "cannot score" in found.problems[0]


def test_a_model_that_fails_while_it_scores_is_neutral_and_says_why(
    frame: Frame, models: tuple[MlModel, ...], misshapen: MlModel
) -> None:
    broken = MlModel(replace(misshapen.card, valid_from_ms=models[-1].card.valid_from_ms, expires_ms=2**62), misshapen.onnx)
    scores = ml_scores(frame, [models[0], broken], CURATION)
    assert "cannot score" in scores.problem
    assert np.isnan(scores.score[-1])
    assert np.isfinite(scores.score).any()
    assert not (scores.model_index == 1).any()


@pytest.mark.parametrize("damage", ["missing", "altered", "other card", "two of one instant"])
def test_where_the_newest_model_cannot_be_used_no_older_one_speaks(
    tmp_path, frame: Frame, models: tuple[MlModel, ...], damage: str
) -> None:
    bucket = FolderBucket(tmp_path)
    for model in models[:3]:
        save_ml_model(bucket, ASSET, model)
    newest = models[2].card
    stem = f"{folder(ASSET, Interval.H1)}{newest.valid_from_ms:013d}-{newest.id}"
    if damage == "missing":
        bucket.delete(f"{stem}.onnx")
    elif damage == "altered":
        bucket.write(f"{stem}.onnx", models[2].onnx[:-1] + b"\x00")
    elif damage == "other card":
        bucket.write(f"{stem}.json", b"{}")
    else:
        twin = MlModel(replace(newest, samples=1), models[2].onnx)
        bucket.write(f"{folder(ASSET, Interval.H1)}{newest.valid_from_ms:013d}-{twin.card.id}.onnx", twin.onnx)
        bucket.write(
            f"{folder(ASSET, Interval.H1)}{newest.valid_from_ms:013d}-{twin.card.id}.json", twin.card.to_json().encode()
        )
    stored = load_ml_models(bucket, ASSET, Interval.H1)
    assert stored.models == models[:2]
    upto = int(np.searchsorted(frame.close_time, newest.valid_from_ms)) + 5
    live, problem = with_newest_ml_score(frame.rows(slice(upto - 400, upto)), stored.trained, CURATION)
    assert np.isnan(live["ml_score"]).all()  # models[1] is valid and not expired, and does not speak
    assert problem == stored.problems[0]
    scores = ml_scores(frame, stored.trained, CURATION).score
    before = frame.close_time < newest.valid_from_ms
    intact = ml_scores(frame, models, CURATION).score
    assert np.array_equal(scores[before], intact[before], equal_nan=True)
    assert np.isnan(scores[~before]).all()
    asking = with_changes(SystemParams(), {"strategy.trend_hunter.weights.ml_confidence": 0.5})
    _, problems = with_stored_ml(frame.rows(slice(0, upto)), ASSET, bucket, asking)
    assert problems == (f"BTCUSDT: ML alpha is neutral: {problem}",)
    for model in models[3:]:  # the next one speaks again, and the hole is named
        save_ml_model(bucket, ASSET, model)
    again, problems = with_stored_ml(frame, ASSET, bucket, asking)
    assert np.isfinite(again["ml_score"][-1])
    assert problems == (f"BTCUSDT: ML model cannot be used, its bars are neutral: {problem}",)


def test_a_refused_model_is_not_replaced_by_an_older_one(frame: Frame, models: tuple[MlModel, ...]) -> None:
    foreign = MlModel(replace(models[1].card, contract="f-other"), models[1].onnx)
    scores = ml_scores(frame, [models[0], foreign], CURATION)
    assert np.isnan(scores.score[frame.close_time >= foreign.card.valid_from_ms]).all()
    assert "feature contract" in scores.problem


def test_models_are_copied_as_they_are(tmp_path, models: tuple[MlModel, ...]) -> None:
    lake, run = FolderBucket(tmp_path / "lake"), FolderBucket(tmp_path / "run")
    save_ml_model(lake, ASSET, models[0])
    assert copy_ml_models(lake, run, ASSET, Interval.H1) == 2
    assert load_ml_models(run, ASSET, Interval.H1).models == models[:1]
    assert run.list(folder(ASSET, Interval.H1)) == lake.list(folder(ASSET, Interval.H1))


def test_a_card_survives_json_and_refuses_what_was_altered(models: tuple[MlModel, ...]) -> None:
    card = models[0].card
    text = card.to_json()
    assert ModelCard.from_json(text) == card
    with pytest.raises(ModelError, match="altered"):
        ModelCard.from_json(text.replace(f'"samples":{card.samples}', '"samples":99999'))
    for broken in ("{", "[]", "{}"):
        with pytest.raises(ModelError, match="train again"):
            ModelCard.from_json(broken)


def test_bytes_that_are_no_model_are_refused() -> None:
    with pytest.raises(ModelError, match="onnxruntime cannot read"):
        probabilities_up(b"not a model", np.zeros((1, len(ML_FEATURES)), dtype=np.float32))


@pytest.mark.parametrize(
    "change", [{"horizon_bars": 0}, {"dead_band": -1.0}, {"full_edge": 0.0}, {"expiry_days": 7}, {"train_bars": 10}]
)
def test_settings_out_of_range_are_refused(change: dict) -> None:
    with pytest.raises(ConfigError, match="ml\\."):
        replace(PARAMS, **change)


def test_features_do_not_know_the_price_level(walk: Callable[..., Candles]) -> None:
    cheap, dear = (curate(walk(8, 1200, price=price), CURATION) for price in (0.02, 90_000.0))
    one, other = ml_features(cheap), ml_features(dear)
    known = np.isfinite(one).all(axis=1)
    assert np.abs(one[known] - other[known]).max() <= 2e-4  # one step of the rounding


def test_research_reads_stored_models_as_a_book_does_and_only_where_a_weight_asks(
    tmp_path, frame: Frame, models: tuple[MlModel, ...]
) -> None:
    bucket = FolderBucket(tmp_path)
    for model in models:
        save_ml_model(bucket, ASSET, model)
    silent = SystemParams()
    assert with_stored_ml(frame, ASSET, bucket, silent) == (frame, ())
    asking = with_changes(silent, {"strategy.trend_hunter.weights.ml_confidence": 0.5})
    scored, problems = with_stored_ml(frame, ASSET, bucket, asking)
    expected = with_ml_scores(frame, models, CURATION)["ml_score"]
    assert np.array_equal(scored["ml_score"], expected, equal_nan=True)
    assert problems == ()
    _, problems = with_stored_ml(frame, Asset("binanceusdm", "ETHUSDT"), bucket, asking)
    assert problems[0].startswith("ETHUSDT: ML alpha is neutral: no trained model")


def test_walk_forward_scores_do_not_know_later_bars(candles: Candles, frame: Frame) -> None:
    whole = with_walk_forward_ml(frame, ASSET, PARAMS, CURATION)["ml_score"]
    end = 2500
    part = with_walk_forward_ml(curate(candles[:end], CURATION), ASSET, PARAMS, CURATION)["ml_score"]
    assert np.isfinite(part[-1])
    assert np.array_equal(part, whole[:end], equal_nan=True)
