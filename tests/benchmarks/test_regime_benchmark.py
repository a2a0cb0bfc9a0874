"""Throughput of the regime filter and of a refit, each beside hmmlearn doing the same work in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from shared.data.curation import curate
from shared.data.generated import generate_market
from shared.domain.candles import FloatArray
from shared.domain.interval import Interval
from shared.regime.features import regime_features
from shared.regime.filter import filter_probabilities
from shared.regime.fit import fit_regime_model
from shared.regime.model import RegimeModel
from shared.regime.params import RegimeParams

hmm = pytest.importorskip("hmmlearn.hmm")
hmmlearn_c = pytest.importorskip("hmmlearn._hmmc")
PARAMS = RegimeParams()


@pytest.fixture(scope="module")
def features() -> FloatArray:
    market = generate_market(np.random.default_rng(0), ["BTCUSDT"], Interval.H1, 0, 5000)
    return regime_features(curate(market.history["BTCUSDT"]))[-4320:]


def fit(features: FloatArray) -> RegimeModel:
    return fit_regime_model(
        features, asset="binanceusdm:BTCUSDT", interval=Interval.H1, valid_from_ms=0, train_start_ms=0, params=PARAMS
    )


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@pytest.mark.slow
def test_filter_of_a_year_of_minutes_against_hmmlearn_forward(
    benchmark, median_s: Callable[[], float], features: FloatArray
) -> None:
    model = fit(features)
    year = np.tile(features, (122, 1))[:525_600]
    peer = hmm.GaussianHMM(3, "full", init_params="")
    peer.startprob_, peer.transmat_ = model.stationary, model.transition_array
    peer.means_, peer.covars_ = np.asarray(model.means), np.asarray(model.covariances)
    z = model.standardise(year)
    forward = hmmlearn_c.forward_log
    theirs = seconds(lambda: forward(peer.startprob_, peer.transmat_, peer._compute_log_likelihood(z)))
    benchmark.pedantic(filter_probabilities, (model, year), rounds=3)
    ours = median_s()
    print(f"\nfilter, 525,600 bars: {ours:.2f} s; hmmlearn forward pass {theirs:.2f} s; ratio {theirs / ours:.2f}")


@pytest.mark.slow
def test_refit_of_4320_bars_against_hmmlearn_with_as_many_restarts(
    benchmark, median_s: Callable[[], float], features: FloatArray
) -> None:
    model = fit(features)
    z = model.standardise(features)

    def peer() -> float:
        with threadpool_limits(1):
            return max(hmm.GaussianHMM(3, "full", n_iter=100, random_state=s).fit(z).score(z) for s in range(PARAMS.restarts))

    theirs = seconds(peer)
    benchmark.pedantic(fit, (features,), rounds=3)
    ours = median_s()
    print(f"\nrefit, 4,320 bars: {ours:.2f} s; hmmlearn, {PARAMS.restarts} restarts {theirs:.2f} s; ratio {theirs / ours:.1f}")
