from __future__ import annotations

import json
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.candles import FloatArray
from shared.domain.errors import FitRejected, ModelError, NotEnoughData
from shared.domain.interval import Interval
from shared.regime.classify import RegimeTracker, classify
from shared.regime.jump import JumpModel, forward_max, jump_losses, jump_probabilities
from shared.regime.jump_fit import best_path, descend, fit_jump_model
from shared.regime.params import RegimeParams
from shared.regime.schedule import fit_jump_history

PARAMS = RegimeParams(train_bars=1500, burn_in_bars=200, restarts=3)


def fitted(features: FloatArray, **more: object) -> JumpModel:
    return fit_jump_model(
        features, asset="binanceusdm:BTCUSDT", interval=Interval.H1, valid_from_ms=0, train_start_ms=0, params=PARAMS, **more
    )


@pytest.fixture(scope="module")
def model(known_market) -> JumpModel:
    return fitted(known_market.features[:2000])


@pytest.fixture(scope="module")
def models(known_market) -> tuple[JumpModel, ...]:
    since_ms = int(known_market.frame.close_time[1900])
    results = fit_jump_history(known_market.frame, known_market.asset, PARAMS, since_ms=since_ms)
    return tuple(result.model for result in results if result.model is not None)


def cost(states: np.ndarray, losses: FloatArray, penalty: float) -> float:
    return float(losses[np.arange(len(losses)), states].sum() + penalty * sum(a != b for a, b in pairwise(states.tolist())))


def test_probabilities_follow_the_definition_of_the_value_function(model: JumpModel, known_market) -> None:
    features = known_market.features[500:560]
    losses = jump_losses(model.standardise(features), np.asarray(model.centres))
    value = losses[0]
    rows = [value]
    for loss in losses[1:]:
        value = loss + np.minimum(value, value.min() + model.penalty)
        rows.append(value)
    values = np.asarray(rows)
    expected = np.exp(-(values - values.min(axis=1, keepdims=True)) / model.temperature)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(jump_probabilities(model, features), expected, atol=1e-12)


@given(st.integers(0, 10_000), st.integers(1, 6), st.floats(1e-6, 1.0))
def test_a_step_weighs_the_best_of_all_paths(seed: int, rows: int, jump: float) -> None:
    """Brute force: p_T(k) is the largest product over all 3^T paths that end in k, of α, likelihoods and `jump` per change."""
    rng = np.random.default_rng(seed)
    # Over many powers of ten, so that each of the nine changes of state is the best one somewhere.
    alpha, likelihoods = rng.dirichlet([0.1, 0.1, 0.1]) + 1e-12, 10.0 ** rng.uniform(-6, 0, (rows, 3))
    expected = np.zeros(3)
    for path in product(range(3), repeat=rows + 1):
        weight = alpha[path[0]] * jump ** sum(one != other for one, other in pairwise(path))
        weight *= np.prod([likelihoods[row, state] for row, state in enumerate(path[1:])])
        expected[path[-1]] = max(expected[path[-1]], weight)
    found = [[0.0] * 3 for _ in range(rows)]
    forward_max((jump, tuple(alpha.tolist())), likelihoods.tolist(), found)
    np.testing.assert_allclose(found[-1], expected / expected.sum(), rtol=1e-9)


@pytest.mark.parametrize("start", range(3))
@pytest.mark.parametrize("end", range(3))
def test_every_state_is_left_for_every_other_at_the_same_price(start: int, end: int) -> None:
    """Worked by hand: certain of `start`, then a bar that only `end` explains (likelihood 1 against 0.001), at jump = 0.1."""
    alpha, likelihoods = np.full(3, 0.0), np.full((1, 3), 0.001)
    alpha[start], likelihoods[0, end] = 1.0, 1.0
    found = [[0.0] * 3]
    forward_max((0.1, tuple(alpha.tolist())), likelihoods.tolist(), found)
    weights = np.full(3, 0.1 * 0.001)  # whoever is neither
    weights[start], weights[end] = 0.001, 0.1
    if start == end:
        weights[end] = 1.0
    np.testing.assert_allclose(found[0], weights / weights.sum(), rtol=1e-12)


def test_online_state_is_the_end_of_the_best_path_so_far(model: JumpModel, known_market) -> None:
    features = known_market.features[700:760]
    online = np.argmax(jump_probabilities(model, features), axis=1)
    losses = jump_losses(model.standardise(features), np.asarray(model.centres))
    for rows in range(1, len(features) + 1):
        assert best_path(losses[:rows], model.penalty)[0][-1] == online[rows - 1]


@given(st.integers(0, 1000), st.integers(1, 7), st.floats(0.0, 3.0))
def test_no_other_path_is_cheaper(seed: int, rows: int, penalty: float) -> None:
    losses = np.random.default_rng(seed).random((rows, 3))
    states, value = best_path(losses, penalty)
    paths = np.stack(np.meshgrid(*[np.arange(3)] * rows), axis=-1).reshape(-1, rows)
    assert value == pytest.approx(min(cost(path, losses, penalty) for path in paths))
    assert cost(states, losses, penalty) == pytest.approx(value)


def test_compiled_recursion_gives_the_bits_of_the_plain_one() -> None:
    pytest.importorskip("numba", reason="without numba there is only the plain form")
    from shared.compiled import compiled

    likelihoods = np.random.default_rng(0).random((3000, 3))
    compiled_rows, constants = np.empty_like(likelihoods), (0.02, (0.2, 0.5, 0.3))
    compiled(forward_max)(constants, likelihoods, compiled_rows)
    plain_rows = [[0.0] * 3 for _ in likelihoods]
    forward_max(constants, likelihoods.tolist(), plain_rows)
    assert np.array_equal(compiled_rows, np.asarray(plain_rows))


@given(cut=st.integers(1, 149), start=st.integers(300, 900))
def test_cutting_off_the_future_changes_no_bit(model: JumpModel, known_market, cut: int, start: int) -> None:
    features = known_market.features[start : start + 150]
    assert np.array_equal(jump_probabilities(model, features)[:cut], jump_probabilities(model, features[:cut]))


def test_steps_give_the_bits_of_the_array_form(model: JumpModel, known_market) -> None:
    features = known_market.features[600:660].copy()
    features[17] = np.nan
    alpha = (1 / 3, 1 / 3, 1 / 3)
    for row, expected in zip(features, jump_probabilities(model, features), strict=True):
        alpha = tuple(jump_probabilities(model, row[None, :], alpha)[0].tolist())
        assert alpha == tuple(expected.tolist())


@given(st.lists(st.tuples(*[st.floats(-1e9, 1e9) | st.just(float("nan"))] * 3), min_size=1, max_size=20))
def test_is_a_distribution_for_whatever_comes(model: JumpModel, rows: list[tuple[float, float, float]]) -> None:
    probabilities = jump_probabilities(model, np.asarray(rows))
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-12)


def test_states_are_ordered_by_volatility_and_mostly_right(model: JumpModel, known_market) -> None:
    volatility = np.asarray(model.centres)[:, 0]
    assert volatility[0] < volatility[1] < volatility[2]
    right = np.argmax(jump_probabilities(model, known_market.features), axis=1) == known_market.states
    assert right[2000:].mean() > 0.8


@pytest.mark.parametrize("factor", [100.0, 1e-4])
def test_the_unit_of_the_features_does_not_matter(known_market, model: JumpModel, factor: float) -> None:
    features = known_market.features[:2000]
    scaled = jump_probabilities(fitted(factor * features), factor * features)
    np.testing.assert_allclose(scaled, jump_probabilities(model, features), atol=1e-6)


def test_a_dearer_jump_is_made_less_often(known_market) -> None:
    features = known_market.features[:2500]
    z = ((features - np.nanmean(features, axis=0)) / np.nanstd(features, axis=0))[~np.isnan(features[:, 0]), :1]
    start = np.array([[-1.0], [0.0], [1.0]])
    jumps = [np.count_nonzero(np.diff(descend(z, start, penalty, 100).states)) for penalty in (0.0, 1.0, 10.0, 1e6)]
    assert jumps == sorted(jumps, reverse=True)
    assert jumps[-1] == 0


def test_window_and_tracker_see_what_the_history_shows(known_market, models: tuple[JumpModel, ...]) -> None:
    frame = known_market.frame
    path = classify(frame, models, PARAMS)
    row = len(frame) - 1
    tracker = RegimeTracker.started(frame.rows(slice(row - 500, row - 9)), models[-1], PARAMS)
    for last in range(row - 9, row + 1):
        tracker = tracker.update(frame.rows(slice(last - 20, last + 1)), models[-1], PARAMS)
    np.testing.assert_allclose(tracker.alpha, path.probabilities[row], atol=1e-9)
    assert path.model_id(row) == models[-1].id


def test_cutting_off_the_future_changes_no_model(known_market, models: tuple[JumpModel, ...]) -> None:
    frame = known_market.frame
    since_ms = int(frame.close_time[1900])
    earlier = fit_jump_history(frame.rows(slice(0, 2600)), known_market.asset, PARAMS, since_ms=since_ms)
    ids = [result.model.id for result in earlier if result.model is not None]
    assert ids == [model.id for model in models][: len(ids)]


def test_json_gives_back_the_identical_model(model: JumpModel) -> None:
    again = JumpModel.from_json(model.to_json())
    assert again == model
    assert again.id == model.id


def test_an_altered_file_is_refused(model: JumpModel) -> None:
    stored = json.loads(model.to_json())
    with pytest.raises(ModelError, match="it was altered"):
        JumpModel.from_json(json.dumps({**stored, "penalty": stored["penalty"] + 1}))
    with pytest.raises(ModelError, match="not among"):
        JumpModel.from_json(json.dumps({**stored, "feature_names": ["moon"]}))


def test_few_bars_are_not_enough(known_market) -> None:
    with pytest.raises(NotEnoughData, match="at least 500"):
        fitted(known_market.features[:400])


def test_a_market_that_stands_still_has_no_regimes() -> None:
    with pytest.raises(FitRejected, match="previous model stays"):
        fitted(np.zeros((800, 3)))


def test_wrong_number_of_features_is_named(model: JumpModel) -> None:
    with pytest.raises(ModelError, match=r"shape \(n, 3\)"):
        jump_probabilities(model, np.zeros((5, 2)))


@pytest.mark.parametrize("penalty", [0.5, 5.0, 50.0])
def test_agrees_with_the_reference_package(known_market, penalty: float) -> None:
    reference = pytest.importorskip("jumpmodels.jump", reason="jumpmodels, an independent implementation, is not installed")
    features = known_market.features[:1500]
    z = (features - np.nanmean(features, axis=0)) / np.nanstd(features, axis=0)
    z = z[np.isfinite(z).all(axis=1)]
    theirs = reference.JumpModel(n_components=3, jump_penalty=penalty, n_init=20, random_state=0).fit(z, sort_by="freq")
    centres = np.asarray(theirs.centers_)
    states, value = best_path(jump_losses(z, centres), penalty)
    assert value == pytest.approx(float(theirs.val_), rel=1e-9)
    assert np.array_equal(states, np.asarray(theirs.labels_))
    online = np.asarray(theirs.predict_online(z))
    ours = [best_path(jump_losses(z[:rows], centres), penalty)[0][-1] for rows in range(1, len(z), 50)]
    assert ours == online[0 : len(z) - 1 : 50].tolist()
    best = min(descend(z, z[start : start + 3], penalty, 100).objective for start in range(0, 1200, 100))
    assert best <= float(theirs.val_) * 1.01
