"""The regime filter, refits, histories of refits, the jump model: each beside a named peer doing the same work in one run."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from shared.data.curation import curate
from shared.data.generated import generate_market
from shared.domain.asset import Asset
from shared.domain.candles import FloatArray
from shared.domain.frame import Frame
from shared.domain.interval import Interval
from shared.regime.features import regime_features
from shared.regime.filter import filter_probabilities
from shared.regime.fit import fit_regime_model
from shared.regime.jump_fit import descend
from shared.regime.model import RegimeModel
from shared.regime.params import RegimeParams
from shared.regime.schedule import fit_history

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


def seconds(work: Callable[[], object], rounds: int = 1) -> float:
    """The best of `rounds`."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.mark.slow
def test_filter_of_a_year_of_minutes_against_hmmlearn_forward(
    benchmark, median_s: Callable[[], float], at_least: Callable[[float, float], None], features: FloatArray
) -> None:
    model = fit(features)
    year = np.tile(features, (122, 1))[:525_600]
    peer = hmm.GaussianHMM(3, "full", init_params="")
    peer.startprob_, peer.transmat_ = model.stationary, model.transition_array
    peer.means_, peer.covars_ = np.asarray(model.means), np.asarray(model.covariances)
    z = model.standardise(year)
    forward = hmmlearn_c.forward_log
    theirs = seconds(
        lambda: forward(peer.startprob_, peer.transmat_, peer._compute_log_likelihood(z)), 3 if not benchmark.disabled else 1
    )
    benchmark.pedantic(filter_probabilities, (model, year), rounds=7, warmup_rounds=1)
    ours = median_s()
    print(f"\nfilter, 525,600 bars: {ours * 1e3:.0f} ms; hmmlearn {theirs * 1e3:.0f} ms; ratio {theirs / ours:.1f}")
    at_least(theirs, 6)


@pytest.mark.slow
def test_refit_of_4320_bars_against_hmmlearn_with_as_many_restarts(
    benchmark, median_s: Callable[[], float], at_least: Callable[[float, float], None], features: FloatArray
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
    at_least(theirs, 29)


def market_frame(interval: Interval, bars: int) -> Frame:
    return curate(generate_market(np.random.default_rng(0), ["BTCUSDT"], interval, 0, bars).history["BTCUSDT"])


@pytest.mark.slow
@pytest.mark.parametrize("search_days", [7, 28])
def test_daily_bars_refitted_at_every_bar_against_fit_predict_at_every_bar(
    benchmark, median_s: Callable[[], float], at_least: Callable[[float, float], None], search_days: int
) -> None:
    """730 refits on 500 bars. The naive way fits hmmlearn to everything so far at each bar and takes the last row."""
    frame = market_frame(Interval.D1, 1400)
    params = RegimeParams(refit_days=1, search_days=search_days, train_bars=500)
    asset, since_ms = Asset("generated", "BTCUSDT"), int(frame.close_time[-730])
    instants = 730 if not benchmark.disabled else 3
    z = regime_features(frame)
    z = (z - np.nanmean(z, axis=0)) / np.nanstd(z, axis=0)

    def naive() -> None:
        with threadpool_limits(1):
            for end in range(len(z) - instants + 1, len(z) + 1):
                rows = z[:end][np.isfinite(z[:end, 0])]
                hmm.GaussianHMM(3, "full", n_iter=10, random_state=0).fit(rows).predict_proba(rows)[-1]

    theirs = seconds(naive)
    refits = benchmark.pedantic(
        fit_history, (frame, asset, params), {"since_ms": since_ms}, rounds=3, warmup_rounds=int(not benchmark.disabled)
    )
    assert len(refits) == 730
    ours = median_s()
    print(
        f"\ndaily, 730 refits, search every {search_days} days: {ours:.2f} s; "
        f"naive, {instants} fits {theirs:.1f} s; ratio {theirs / ours:.0f}"
    )
    at_least(theirs, 20)


@pytest.mark.slow
def test_five_years_of_hours_refitted_weekly(
    benchmark, median_s: Callable[[], float], at_least: Callable[[float, float], None]
) -> None:
    """261 refits on a rolling year; the peer is hmmlearn from as many starts, timed on one window and multiplied."""
    years = 6 if not benchmark.disabled else 2
    frame = market_frame(Interval.H1, 8760 * years)
    params, asset = RegimeParams(train_bars=8760), Asset("generated", "BTCUSDT")
    since_ms = int(frame.close_time[8760])
    if benchmark.disabled:
        since_ms = int(frame.close_time[-400])
    window = regime_features(frame)[-8760:]
    z = (window - np.nanmean(window, axis=0)) / np.nanstd(window, axis=0)
    tries = params.restarts if not benchmark.disabled else 1
    with threadpool_limits(1):
        one = seconds(lambda: [hmm.GaussianHMM(3, "full", n_iter=100, random_state=s).fit(z) for s in range(tries)])
    refits = benchmark.pedantic(fit_history, (frame, asset, params), {"since_ms": since_ms}, rounds=1)
    theirs, ours = one * len(refits), median_s()
    print(f"\nhourly, {len(refits)} refits on 8,760 bars: {ours:.1f} s; hmmlearn {theirs:.0f} s; ratio {theirs / ours:.0f}")
    at_least(theirs, 47)


@pytest.mark.slow
def test_jump_model_against_jumpmodels(
    benchmark, median_s: Callable[[], float], at_least: Callable[[float, float], None], features: FloatArray
) -> None:
    """Coordinate descent with the penalty 5 from ten starting points on 4,320 bars."""
    peer = pytest.importorskip("jumpmodels.jump", reason="jumpmodels, the peer, is not installed")
    z = (features - features.mean(axis=0)) / features.std(axis=0)
    starts = [z[row : row + 3] for row in range(0, 4300, 430)]
    model = peer.JumpModel(n_components=3, jump_penalty=5.0, n_init=10, random_state=0)
    theirs = seconds(lambda: model.fit(z))
    best = benchmark.pedantic(
        lambda: min(descend(z, start, 5.0, 1000).objective for start in starts), rounds=3, warmup_rounds=1
    )
    assert best <= float(model.val_) * 1.01
    ours = median_s()
    print(f"\njump model, 4,320 bars: {ours * 1e3:.0f} ms; jumpmodels {theirs * 1e3:.0f} ms; ratio {theirs / ours:.0f}")
    at_least(theirs, 55)
