from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from shared.data.generated import generate_market
from shared.domain.candles import FloatArray
from shared.domain.errors import FitRejected, NotEnoughData
from shared.domain.interval import Interval
from shared.regime.filter import filter_probabilities
from shared.regime.fit import _split_starts, acceptance_problem, fit_regime_model, training_window
from shared.regime.model import RegimeModel
from shared.regime.params import RegimeParams

PARAMS = RegimeParams(restarts=3)


def fitted(features: FloatArray, previous: RegimeModel | None = None, params: RegimeParams = PARAMS) -> RegimeModel:
    return fit_regime_model(
        features,
        asset="binanceusdm:BTCUSDT",
        interval=Interval.H1,
        valid_from_ms=0,
        train_start_ms=0,
        params=params,
        previous=previous,
    )


def states(model: RegimeModel, features: FloatArray) -> np.ndarray:
    return np.argmax(filter_probabilities(model, features), axis=1)


@pytest.fixture(scope="module")
def model(known_market) -> RegimeModel:
    return fitted(known_market.features[:2000])


def test_filtered_states_are_right_on_85_percent_of_bars(known_market, model: RegimeModel) -> None:
    right = states(model, known_market.features) == known_market.states
    assert right[200:2000].mean() >= 0.85
    assert right[2000:].mean() >= 0.85


@pytest.mark.slow
def test_filtered_states_are_right_out_of_sample_on_any_market() -> None:
    from shared.data.curation import curate
    from shared.regime.features import regime_features

    accuracy = []
    for seed in range(8):
        market = generate_market(np.random.default_rng(seed), ["BTCUSDT"], Interval.H1, 0, 8000)
        features = regime_features(curate(market.history["BTCUSDT"]))
        right = states(fitted(features[:5000], params=RegimeParams()), features) == market.states
        accuracy.append(float(right[5000:].mean()))
    assert min(accuracy) >= 0.85, accuracy


@pytest.mark.parametrize("factor", [100.0, 1e-4])
def test_the_unit_of_the_features_does_not_matter(known_market, model: RegimeModel, factor: float) -> None:
    features = known_market.features[:2000]
    scaled = fitted(factor * features)
    assert np.array_equal(states(scaled, factor * features), states(model, features))
    np.testing.assert_allclose(np.asarray(scaled.transition), np.asarray(model.transition), atol=1e-6)


def test_states_are_ordered_by_volatility_and_keep_their_meaning(known_market, model: RegimeModel) -> None:
    later = fitted(known_market.features[168:2168], previous=model)
    for one in (model, later):
        volatility = np.asarray(one.means)[:, 0]
        assert volatility[0] < volatility[1] < volatility[2]
    assert later.match == (0, 1, 2)
    assert later.previous_id == model.id
    agreement = states(model, known_market.features[300:2000]) == states(later, known_market.features[300:2000])
    assert agreement.mean() > 0.95


def test_the_same_window_gives_the_same_bits(known_market, model: RegimeModel) -> None:
    assert fitted(known_market.features[:2000]).id == model.id


def test_is_as_likely_as_the_best_of_random_starts(known_market, model: RegimeModel) -> None:
    from hmmlearn.hmm import GaussianHMM

    rows = known_market.features[:2000]
    z = model.standardise(rows[np.isfinite(rows).all(axis=1)])
    with threadpool_limits(1):
        peers = [GaussianHMM(3, "full", n_iter=40, random_state=seed, covars_prior=0.0).fit(z) for seed in range(3)]
        best = max(peer.score(z) for peer in peers)
    assert model.log_likelihood > best - 0.01 * abs(best)


def test_a_search_starts_from_the_moments_of_the_ranges_of_the_first_feature(known_market) -> None:
    z = training_window(known_market.features[:2000], "BTCUSDT", PARAMS).z
    edges = np.array([[-0.4, 0.4], [-9.0, 0.4], [-9.0, -8.0]])  # the last two leave states without bars
    for start, (low, high) in zip(_split_starts(z, edges), edges, strict=True):
        for state, chosen in enumerate((z[:, 0] <= low, (z[:, 0] > low) & (z[:, 0] <= high), z[:, 0] > high)):
            members = z[chosen] if chosen.any() else z
            np.testing.assert_allclose(start.means[state], members.mean(axis=0), atol=1e-12)
            np.testing.assert_allclose(start.covariances[state], np.cov(members.T) + 0.1 * np.eye(3), atol=1e-12)


def test_few_bars_are_not_enough(known_market) -> None:
    with pytest.raises(NotEnoughData, match="at least 500"):
        fitted(known_market.features[:400])


def test_a_market_that_stands_still_has_no_regimes() -> None:
    with pytest.raises(FitRejected, match="previous model stays"):
        fitted(np.zeros((800, 3)))


def test_noise_without_persistence_is_rejected() -> None:
    rng = np.random.default_rng(3)
    level = rng.choice([-4.0, 0.0, 4.0], 1500)  # three states that change at every bar
    features = np.column_stack([level, level, level]) + 0.3 * rng.standard_normal((1500, 3))
    with pytest.raises(FitRejected, match="stays with probability"):
        fitted(features)


def test_rare_states_are_named(known_market, hand_model: RegimeModel) -> None:
    calm = np.tile(np.asarray(hand_model.mean) - 1.5 * np.asarray(hand_model.scale), (600, 1))
    assert "holds 0.0% of the bars" in str(acceptance_problem(hand_model, hand_model.standardise(calm), PARAMS))


def test_fit_leaves_its_input_alone(known_market) -> None:
    features = known_market.features[:700].copy()
    before = features.copy()
    with contextlib.suppress(FitRejected):
        fitted(features)
    assert np.array_equal(features, before, equal_nan=True)


def test_settings_are_echoed(model: RegimeModel) -> None:
    assert dict(model.params) == PARAMS.fit_settings
    assert dataclasses.replace(PARAMS, ema_alpha=0.5).fit_version == model.fit_version
