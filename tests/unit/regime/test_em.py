"""The compiled expectation-maximisation against hmmlearn, which is its specification."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.data.curation import curate
from shared.data.generated import generate_market
from shared.domain.candles import FloatArray
from shared.domain.errors import FitRejected
from shared.domain.interval import Interval
from shared.regime import em_hmmlearn, fit
from shared.regime.features import regime_features
from shared.regime.mixture import Engine, Mixture
from shared.regime.model import RegimeModel
from shared.regime.params import RegimeParams

em = pytest.importorskip("shared.regime.em", reason="numba is not installed: hmmlearn fits")
PARAMS = RegimeParams()


def model_by(engine: Engine, features: FloatArray, previous: RegimeModel | None = None) -> RegimeModel:
    return fit.fit_regime_model(
        features,
        asset="binanceusdm:BTCUSDT",
        interval=Interval.H1,
        valid_from_ms=0,
        train_start_ms=0,
        params=PARAMS,
        previous=previous,
        engine=engine,
    )


def drawn_features(seed: int, bars: int = 2600) -> FloatArray:
    return regime_features(
        curate(generate_market(np.random.default_rng(seed), ["BTCUSDT"], Interval.H1, 0, bars).history["BTCUSDT"])
    )


def start_of(z: FloatArray) -> Mixture:
    return fit._split_starts(z, np.quantile(z[:, 0], [(0.33, 0.67)]))[0]


@pytest.mark.parametrize("seed", range(3))
def test_is_hmmlearn_to_rounding_from_the_same_start(seed: int) -> None:
    z = fit.training_window(drawn_features(seed), "BTCUSDT", PARAMS).z
    theirs = em_hmmlearn.run(z, start_of(z), PARAMS, 30)
    ours = em.run(z, start_of(z), PARAMS, 30)
    assert ours.log_likelihood == pytest.approx(theirs.log_likelihood, abs=1e-8)
    assert ours.converged == theirs.converged
    for part in ("start", "transition", "means", "covariances"):
        np.testing.assert_allclose(getattr(ours.mixture, part), getattr(theirs.mixture, part), atol=1e-9)


@pytest.mark.parametrize("seed", [3, 4])
def test_both_engines_give_the_same_model_id(seed: int) -> None:
    features = drawn_features(seed)
    first = model_by(em.run, features[:2400])
    assert first.id == model_by(em_hmmlearn.run, features[:2400]).id
    assert model_by(em.run, features[200:], first).id == model_by(em_hmmlearn.run, features[200:], first).id


def test_both_engines_give_the_same_model_id_on_real_bars(real_candles) -> None:
    for name in ("BTCUSDT", "SOLUSDT"):
        features = regime_features(curate(real_candles(f"binance_spot/{name}/1h", slice(-3000, None))))
        assert model_by(em.run, features).id == model_by(em_hmmlearn.run, features).id


@given(st.lists(st.floats(-1e6, 700), min_size=1, max_size=40))
def test_exponentials_are_those_of_numpy_to_the_last_place(values: list[float]) -> None:
    ours = np.array(values)
    em.exponentials(ours, np.empty_like(ours))
    theirs = np.where(np.array(values) < -708, 0.0, np.exp(values))
    np.testing.assert_array_max_ulp(ours, theirs, maxulp=1)


@pytest.mark.parametrize("density", [1e-200, 0.1, 1e30])
def test_likelihood_is_the_sum_of_logarithms_however_small_the_densities(density: float) -> None:
    b, bars = np.full((3, 100), density), 100
    ours = em.forward_pass(np.full(3, 1 / 3), np.full((3, 3), 1 / 3), b, np.empty((3, bars)), np.empty(bars))
    assert ours == pytest.approx(bars * np.log(density), rel=1e-12)


def test_leaves_its_start_alone() -> None:
    z = fit.training_window(drawn_features(0, 900), "BTCUSDT", PARAMS).z
    start, before = start_of(z), start_of(z)
    em.run(z, start, PARAMS, 3)
    for part in ("start", "transition", "means", "covariances"):
        assert np.array_equal(getattr(start, part), getattr(before, part))


@pytest.mark.parametrize("engine", [em.run, em_hmmlearn.run])
def test_a_state_without_bars_leads_to_no_model(engine: Engine) -> None:
    z = np.zeros((600, 3))
    nowhere = Mixture(np.full(3, 1 / 3), np.full((3, 3), 1 / 3), np.full((3, 3), 1e3), np.stack([np.eye(3)] * 3))
    assert engine(z, nowhere, PARAMS, 5) is None


def test_noise_is_rejected_by_both_for_the_same_reason() -> None:
    rng = np.random.default_rng(3)
    features = rng.choice([-4.0, 0.0, 4.0], 1500)[:, None] + 0.3 * rng.standard_normal((1500, 3))
    reasons = []
    for engine in (em.run, em_hmmlearn.run):
        with pytest.raises(FitRejected) as refused:
            model_by(engine, features)
        reasons.append(str(refused.value))
    assert reasons[0] == reasons[1]
