"""SPA and StepM: arch's plain form exactly on its resamples, ours within Monte Carlo error, and what studentising adds."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from shared.calibration.significance.resampling import new_seed
from shared.calibration.significance.returns import sharpe_contributions, sharpe_ratio
from shared.calibration.significance.spa import (
    CandidateBootstrap,
    bootstrap_candidates,
    describe,
    long_run_variance,
    stepped,
    stepwise,
    superior_ability,
    superior_predictive_ability,
)
from shared.domain.candles import FloatArray
from shared.domain.errors import MalformedData, NotEnoughData

Noise = Callable[..., FloatArray]
MASK = 2**64 - 1


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def set_with_edges(noise: Noise) -> tuple[FloatArray, FloatArray]:
    """Twelve candidates, of which the first two are better, some equal and the last two much worse; and a benchmark."""
    panel = noise(3, 400, 13, 0.3)
    panel[:, 1] += 0.004
    panel[:, 2] += 0.003
    panel[:, -2:] -= 0.006
    return panel[:, 1:], panel[:, 0]


def of_arch(candidates: FloatArray, benchmark: FloatArray, **options: object) -> object:
    bootstrap = pytest.importorskip("arch.bootstrap", reason="arch is in the bench environment only")
    return bootstrap.SPA(-benchmark, -candidates, **options)


def on_the_resamples_of(spa: object, *, studentize: bool) -> CandidateBootstrap:
    """Our statistics from the very indices that arch draws."""
    difference = spa._loss_diff  # type: ignore[attr-defined]
    block = spa.block_size  # type: ignore[attr-defined]
    means = np.array([data[0][0].mean(axis=0) for data in spa.bootstrap.bootstrap(spa.reps)])  # type: ignore[attr-defined]
    return describe(difference, np.sqrt(long_run_variance(difference, block)), means, block, studentize=studentize)


def test_plain_p_values_are_those_of_arch_on_the_same_resamples(noise: Noise) -> None:
    candidates, benchmark = set_with_edges(noise)
    for subset in (candidates, candidates[:, 2:]):
        peer = of_arch(subset, benchmark, reps=500, seed=4)
        peer.compute()
        ours = superior_ability(on_the_resamples_of(of_arch(subset, benchmark, reps=500, seed=4), studentize=False))
        # arch divides by B; our p-value counts the sample as one of the draws
        expected = [(1 + 500 * p) / 501 for p in peer.pvalues]
        assert [ours.p_lower, ours.p_consistent, ours.p_upper] == pytest.approx(expected, abs=1e-12)


def test_plain_stepm_is_that_of_arch_on_the_same_resamples(noise: Noise) -> None:
    bootstrap = pytest.importorskip("arch.bootstrap", reason="arch is in the bench environment only")
    candidates, benchmark = set_with_edges(noise)
    peer = bootstrap.StepM(-benchmark, -candidates, reps=500, seed=4)
    peer.compute()
    ours = stepped(on_the_resamples_of(of_arch(candidates, benchmark, reps=500, seed=4), studentize=False), 0.05)
    assert list(ours.superior) == peer.superior_models == [0, 1]


def test_plain_p_values_agree_with_arch_within_monte_carlo_error(noise: Noise) -> None:
    candidates, benchmark = set_with_edges(noise)
    peer = of_arch(candidates[:, 2:], benchmark, reps=1000, seed=1)
    peer.compute()
    ours = superior_predictive_ability(candidates[:, 2:], benchmark, rng(), resamples=10_000, studentize=False)
    for mine, theirs in zip((ours.p_lower, ours.p_consistent, ours.p_upper), peer.pvalues, strict=True):
        assert mine == pytest.approx(theirs, abs=3.5 * math.sqrt(0.25 / 1000))


def test_long_run_variance_is_that_of_arch_and_of_the_bootstrap_itself(noise: Noise) -> None:
    candidates, benchmark = set_with_edges(noise)
    peer = of_arch(candidates, benchmark, reps=10, seed=1)
    peer._compute_variance()  # type: ignore[attr-defined]
    difference = candidates - benchmark[:, None]
    assert long_run_variance(difference, 20) == pytest.approx(peer._loss_diff_var, rel=1e-9)  # type: ignore[attr-defined]
    drawn = bootstrap_candidates(candidates, benchmark, rng(), resamples=20_000)
    assert 400 * drawn.resampled.var(axis=0) == pytest.approx(long_run_variance(difference, 20), rel=0.06)


def test_the_kernel_draws_the_blocks_that_its_streams_say(noise: Noise) -> None:
    panel = noise(1, 60, 3)
    drawn = bootstrap_candidates(panel, noise(2, 60, 1)[:, 0], rng(5), resamples=20, block=6)
    difference = panel - noise(2, 60, 1)
    seed, golden = int(new_seed(rng(5))), 0x9E3779B97F4A7C15

    def mix(z: int) -> int:
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    for resample in range(20):
        state = mix((seed + mix((resample * golden + golden) & MASK)) & MASK)
        rows: list[int] = []
        while len(rows) < 60:
            state = (state + golden) & MASK
            start = ((mix(state) >> 32) * 60) >> 32
            state = (state + golden) & MASK
            length = 1 + int(math.log(((mix(state) >> 11) + 1) / 2**53) / math.log(1 - 1 / 6))
            rows += [(start + i) % 60 for i in range(length)]
        assert drawn.resampled[resample] == pytest.approx(difference[rows[:60]].mean(axis=0), abs=1e-14)


def test_studentising_finds_the_steady_improvement_beside_a_wild_one(noise: Noise) -> None:
    # Hansen (2005), section 2.3: without studentising, one very noisy candidate hides every other
    panel = noise(6, 500, 6)
    panel[:, 0] = panel[:, 5] + 0.002 + 0.2 * panel[:, 0]
    panel[:, 1] *= 30
    plain = superior_predictive_ability(panel[:, :5], panel[:, 5], rng(), studentize=False)
    studentised = superior_predictive_ability(panel[:, :5], panel[:, 5], rng())
    assert studentised.p_consistent < 0.01 < plain.p_consistent
    assert studentised.best == 0
    assert stepwise(panel[:, :5], panel[:, 5], rng()).superior == (0,)


def test_p_values_are_ordered_and_bad_candidates_weaken_only_the_upper_one(noise: Noise) -> None:
    candidates, benchmark = set_with_edges(noise)
    candidates = candidates.copy()
    candidates[:, 2:] -= 0.02
    one = superior_predictive_ability(candidates[:, 1:2], benchmark, rng(), resamples=4000)
    many = superior_predictive_ability(candidates[:, 1:], benchmark, rng(), resamples=4000)
    assert many.p_lower <= many.p_consistent <= many.p_upper
    assert many.p_consistent == pytest.approx(one.p_consistent, abs=0.01)


def test_size_for_equal_candidates_is_near_the_level(noise: Noise) -> None:
    repeats = 300
    rejected = 0
    for seed in range(repeats):
        panel = noise(seed, 300, 11, 0.5)
        rejected += (
            superior_predictive_ability(panel[:, 1:], panel[:, 0], rng(seed), resamples=300, block=5).p_consistent <= 0.05
        )
    assert rejected / repeats == pytest.approx(0.05, abs=3.5 * math.sqrt(0.05 * 0.95 / repeats))


def test_nothing_better_is_p_one_and_equal_candidates_are_no_division_by_zero(noise: Noise) -> None:
    panel = noise(1, 100, 3)
    worse = superior_predictive_ability(panel[:, :2] - 0.05, panel[:, 2], rng())
    assert (worse.statistic, worse.p_consistent) == (0.0, 1.0)
    same = superior_predictive_ability(panel[:, [2, 2]], panel[:, 2], rng())
    assert (same.statistic, same.p_consistent) == (0.0, 1.0)
    assert stepwise(panel[:, [2, 2]], panel[:, 2], rng()).superior == ()


def test_who_moves_with_the_benchmark_is_no_evidence_whatever_rounding_says(noise: Noise) -> None:
    for seed in range(40):
        base = noise(seed, 400, 1)[:, 0] + 0.001
        clones = base[:, None] * np.linspace(0.3, 3.0, 7)
        contributions = sharpe_contributions(clones), sharpe_contributions(base)
        found = superior_predictive_ability(*contributions, rng(), resamples=200)
        assert (found.statistic, found.p_consistent) == (0.0, 1.0)
        assert stepwise(*contributions, rng(), resamples=200).superior == ()
    lifted = superior_predictive_ability(base[:, None] + 1e-9, base, rng())
    assert (lifted.statistic, lifted.p_lower, lifted.p_upper) == (0.0, 1.0, 1.0)


def test_a_clone_beside_a_better_candidate_changes_nothing(noise: Noise) -> None:
    panel = noise(6, 500, 2)
    better = np.column_stack([panel[:, 1], panel[:, 1] + 0.004 + 0.1 * panel[:, 0]])
    found = superior_predictive_ability(better, panel[:, 1], rng())
    assert found.best == 1
    assert found.p_consistent == superior_predictive_ability(better[:, 1:], panel[:, 1], rng()).p_consistent


def test_the_same_generator_gives_the_same_result(noise: Noise) -> None:
    candidates, benchmark = set_with_edges(noise)
    assert superior_predictive_ability(candidates, benchmark, rng(2)) == superior_predictive_ability(
        candidates, benchmark, rng(2)
    )


def test_contributions_average_to_the_sharpe_ratio_and_ignore_leverage(noise: Noise) -> None:
    panel = noise(1, 500, 4) + 0.001
    contributions = sharpe_contributions(panel)
    assert contributions.mean(axis=0) * math.sqrt(499 / 500) == pytest.approx(sharpe_ratio(panel), rel=1e-12)
    assert sharpe_contributions(5 * panel) == pytest.approx(contributions, rel=1e-9)
    # the mean over a resample is the resample's Sharpe ratio to first order
    rows = rng().integers(0, 500, 500)
    assert contributions[rows].mean(axis=0) == pytest.approx(sharpe_ratio(panel[rows]), abs=2e-3)


def test_cash_is_a_benchmark(noise: Noise) -> None:
    panel = noise(1, 500, 3)
    panel[:, 1] += 0.004
    assert stepwise(panel, np.zeros(500), rng()).superior == (1,)


def test_bad_input_is_named(noise: Noise) -> None:
    panel = noise(1, 100, 3)
    broken = panel.copy()
    broken[7, 1] = np.inf
    with pytest.raises(MalformedData, match="candidate set, column 1, holds values that are not finite"):
        superior_predictive_ability(broken, panel[:, 0], rng())
    with pytest.raises(NotEnoughData, match="holds no series"):
        superior_predictive_ability(panel[:, :0], panel[:, 0], rng())
    with pytest.raises(MalformedData, match="100 and 99 days"):
        superior_predictive_ability(panel, panel[1:, 0], rng())
    with pytest.raises(MalformedData, match="shape"):
        superior_predictive_ability(panel[:, 0], panel[:, 0], rng())
