"""Speed of the bootstraps that decide promotions, each beside arch doing the same work in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from shared.calibration.significance.overfitting import pbo
from shared.calibration.significance.params import SignificanceParams
from shared.calibration.significance.sharpe import sharpe_difference
from shared.calibration.significance.spa import superior_predictive_ability
from shared.calibration.significance.verdict import judge
from shared.domain.candles import FloatArray

arch = pytest.importorskip("arch.bootstrap", reason="arch is in the bench environment only")


def returns(days: int, series: int) -> FloatArray:
    return np.random.default_rng(1).normal(0.0005, 0.02, (days, series))


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def sharpe_gap(pair: FloatArray) -> float:
    mean, deviation = pair.mean(axis=0), pair.std(axis=0)
    return float(mean[0] / deviation[0] - mean[1] / deviation[1])


def test_sharpe_difference_10_000_resamples_of_500_returns(
    benchmark, median_s: Callable[[], float], at_least: Callable[[float, float], None]
) -> None:
    pair = returns(500, 2)
    test = partial(sharpe_difference, pair[:, 0], pair[:, 1], np.random.default_rng(1), block=5)
    test()
    benchmark(test)
    ours = median_s()
    if not benchmark.enabled:
        return
    # arch resamples and evaluates the plain difference; it has no studentised form of it
    theirs = min(seconds(lambda: arch.CircularBlockBootstrap(5, pair, seed=1).apply(sharpe_gap, 10_000)) for _ in range(3))
    print(
        f"\nSharpe difference, 10,000 x 500, studentised: {ours * 1e3:.1f} ms; arch, not studentised: {theirs * 1e3:.0f} ms; ",
        end="",
    )
    print(f"ratio {theirs / ours:.0f}")
    at_least(theirs, 55)


def test_spa_of_100_models_with_1_000_resamples_of_500_returns(
    benchmark, median_s: Callable[[], float], at_least: Callable[[float, float], None]
) -> None:
    panel = returns(500, 101)
    test = partial(superior_predictive_ability, panel[:, 1:], panel[:, 0], np.random.default_rng(1), resamples=1000)
    test()
    benchmark(test)
    ours = median_s()
    if not benchmark.enabled:
        return
    theirs = min(seconds(arch.SPA(-panel[:, 0], -panel[:, 1:], reps=1000, seed=seed).compute) for seed in range(3))
    print(f"\nSPA, 100 models, 1,000 x 500: {ours * 1e3:.1f} ms; arch {theirs * 1e3:.0f} ms; ratio {theirs / ours:.0f}")
    at_least(theirs, 8)


@pytest.mark.parametrize("models", [10, 100, 1000])
def test_spa_scales_with_the_number_of_models(models: int, benchmark, median_s: Callable[[], float]) -> None:
    panel = returns(500, models + 1)
    test = partial(superior_predictive_ability, panel[:, 1:], panel[:, 0], np.random.default_rng(1), resamples=1000)
    benchmark.pedantic(test, rounds=5, warmup_rounds=1)
    print(f"\nSPA, {models} models, 1,000 x 500: {median_s() * 1e3:.1f} ms")


def test_overfitting_of_100_variants_over_three_years(benchmark, median_s: Callable[[], float]) -> None:
    benchmark.pedantic(pbo, (returns(1095, 100),), rounds=5)
    print(f"\nPBO, 100 variants, 12,870 divisions of 1,095 days: {median_s() * 1e3:.0f} ms")


def test_a_whole_verdict_on_50_variants_over_three_years(benchmark, median_s: Callable[[], float]) -> None:
    panel = returns(1460, 51)
    candidates, champion = panel[:1095, 1:], panel[:1095, 0]
    trials = (candidates.mean(axis=0) / candidates.std(axis=0)).tolist()
    decide = partial(
        judge,
        candidates,
        champion,
        chosen=3,
        confirm=(panel[1095:, 4], panel[1095:, 0]),
        trials=trials,
        params=SignificanceParams(),
        rng=np.random.default_rng(1),
    )
    benchmark.pedantic(decide, rounds=5, warmup_rounds=1)
    print(f"\nverdict, 50 variants, 1,095 + 365 days: {median_s() * 1e3:.0f} ms")
