from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.candles import FloatArray
from shared.domain.errors import ModelError
from shared.regime.filter import emissions, filter_probabilities, filter_step, forward, stationary_alpha
from shared.regime.model import RegimeModel
from shared.regime.stored import nested_tuples


def drawn(model: RegimeModel, rows: int, seed: int = 1) -> FloatArray:
    rng = np.random.default_rng(seed)
    return rng.normal(model.mean, 1.5 * np.asarray(model.scale), (rows, 3))


def as_hmmlearn(model: RegimeModel):
    hmm = pytest.importorskip("hmmlearn.hmm")
    peer = hmm.GaussianHMM(n_components=3, covariance_type="full", init_params="")
    peer.startprob_, peer.transmat_ = model.stationary, model.transition_array
    peer.means_, peer.covars_ = np.asarray(model.means), np.asarray(model.covariances)
    return peer


def test_equals_the_last_row_of_hmmlearn_on_every_prefix(hand_model: RegimeModel) -> None:
    features = drawn(hand_model, 120)
    filtered = filter_probabilities(hand_model, features)
    peer, z = as_hmmlearn(hand_model), hand_model.standardise(features)
    for rows in range(1, len(z) + 1):
        np.testing.assert_allclose(filtered[rows - 1], peer.predict_proba(z[:rows])[-1], atol=1e-9)


def test_is_not_the_smoother(hand_model: RegimeModel) -> None:
    features = drawn(hand_model, 200)
    smoothed = as_hmmlearn(hand_model).predict_proba(hand_model.standardise(features))
    assert np.abs(filter_probabilities(hand_model, features) - smoothed).max() > 0.05


@given(cut=st.integers(1, 149), seed=st.integers(0, 10))
def test_cutting_off_the_future_changes_no_bit(hand_model: RegimeModel, cut: int, seed: int) -> None:
    features = drawn(hand_model, 150, seed)
    assert np.array_equal(filter_probabilities(hand_model, features)[:cut], filter_probabilities(hand_model, features[:cut]))


def test_steps_give_the_bits_of_the_array_form(hand_model: RegimeModel) -> None:
    features = drawn(hand_model, 60)
    features[17] = np.nan
    alpha = stationary_alpha(hand_model)
    for row, expected in zip(features, filter_probabilities(hand_model, features), strict=True):
        alpha = filter_step(hand_model, alpha, row)
        assert alpha == tuple(expected.tolist())


def test_a_missing_row_is_a_prediction(hand_model: RegimeModel) -> None:
    alpha = (0.7, 0.2, 0.1)
    predicted = np.asarray(alpha) @ hand_model.transition_array
    np.testing.assert_allclose(filter_step(hand_model, alpha, np.array([np.nan, 1.0, 1.0])), predicted, atol=1e-15)


@given(st.lists(st.tuples(*[st.floats(-1e9, 1e9) | st.just(float("nan"))] * 3), min_size=1, max_size=20))
def test_is_a_distribution_for_whatever_comes(hand_model: RegimeModel, rows: list[tuple[float, float, float]]) -> None:
    filtered = filter_probabilities(hand_model, np.asarray(rows))
    assert (filtered >= 0).all()
    np.testing.assert_allclose(filtered.sum(axis=1), 1.0, atol=1e-12)


def test_no_bars_give_no_rows(hand_model: RegimeModel) -> None:
    assert filter_probabilities(hand_model, np.empty((0, 3))).shape == (0, 3)


def test_wrong_number_of_features_is_named(hand_model: RegimeModel) -> None:
    with pytest.raises(ModelError, match=r"shape \(n, 3\)"):
        filter_probabilities(hand_model, np.zeros((5, 2)))


@given(seed=st.integers(0, 30), holes=st.integers(0, 30))
def test_compiled_loops_give_the_bits_of_the_plain_ones(hand_model: RegimeModel, seed: int, holes: int) -> None:
    pytest.importorskip("numba", reason="without numba there is only the plain form")
    from shared.speed import _compiled

    features = drawn(hand_model, 300, seed)
    features[np.random.default_rng(seed).integers(0, 300, holes), 1] = np.nan
    z = hand_model.standardise(features)
    loops = (
        (emissions, (hand_model.log_norm.tolist(), hand_model.means, nested_tuples(hand_model.whitening))),
        (forward, (hand_model.transition, stationary_alpha(hand_model))),
    )
    rows = z
    for loop, constants in loops:
        fast_rows = np.empty((len(rows), 3))
        _compiled(loop)(constants, rows, fast_rows)
        plain_rows = [[0.0] * 3 for _ in rows]
        loop(constants, rows.tolist(), plain_rows)
        assert np.array_equal(fast_rows, np.asarray(plain_rows))
        rows = np.exp(fast_rows)


def test_long_histories_give_the_bits_of_short_ones(hand_model: RegimeModel) -> None:
    features = drawn(hand_model, 2500)
    whole = filter_probabilities(hand_model, features)
    assert np.array_equal(whole[:100], filter_probabilities(hand_model, features[:100]))
    before = tuple(whole[2399].tolist())
    assert np.array_equal(whole[2400:], filter_probabilities(hand_model, features[2400:], before))
