"""Difference of two Sharpe ratios: published numbers, size by simulation, invariances, bad input."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shared.calibration.significance.block_size import calibrated_block
from shared.calibration.significance.hac import hac_standard_error
from shared.calibration.significance.resampling import new_seed
from shared.calibration.significance.sharpe import sharpe_difference
from shared.calibration.significance.sharpe_bootstrap import studentised_differences
from shared.domain.candles import FloatArray
from shared.domain.errors import MalformedData, NotEnoughData

Noise = Callable[..., FloatArray]
MASK = 2**64 - 1


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


class Stream:
    """SplitMix64 in plain integers, seeded as `resampling.stream` says."""

    def __init__(self, seed: int, resample: int) -> None:
        golden = 0x9E3779B97F4A7C15
        self.state = self.mix((seed + self.mix((resample * golden + golden) & MASK)) & MASK)

    @staticmethod
    def mix(z: int) -> int:
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def next(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        return self.mix(self.state)

    def below(self, bound: int) -> int:
        return ((self.next() >> 32) * bound) >> 32


def direct_statistic(returns: FloatArray, block: int, seed: int, resample: int) -> float:
    """Ledoit and Wolf (2008), section 3.2.2, on the resampled rows themselves, with the uncentred moments of the paper."""
    stream = Stream(seed, resample)
    rows: list[int] = []
    for _ in range(len(returns) // block):
        start = stream.below(len(returns))
        rows += [(start + i) % len(returns) for i in range(block)]
    drawn = returns[rows]
    length, blocks = len(drawn), len(drawn) // block
    mean, second = drawn.mean(axis=0), (drawn**2).mean(axis=0)
    cubed = (second - mean**2) ** 1.5
    gradient = np.array([second[0] / cubed[0], -second[1] / cubed[1], -mean[0] / (2 * cubed[0]), mean[1] / (2 * cubed[1])])
    y = np.hstack([drawn - mean, drawn**2 - second])
    zeta = np.sqrt(block) * y.reshape(blocks, block, 4).mean(axis=1)
    error = math.sqrt(gradient @ (zeta.T @ zeta / blocks) @ gradient / length)
    ratio, base = drawn.mean(axis=0) / drawn.std(axis=0, ddof=1), returns.mean(axis=0) / returns.std(axis=0, ddof=1)
    return float(((ratio[0] - ratio[1]) - (base[0] - base[1])) / error)


@pytest.mark.parametrize("block", [1, 5, 7])
def test_the_kernel_does_what_the_algorithm_says(funds: dict[str, FloatArray], block: int) -> None:
    for returns in funds.values():
        drawn = studentised_differences(returns, block, 40, rng(3))
        seed = int(new_seed(rng(3)))
        assert drawn == pytest.approx([direct_statistic(returns, block, seed, k) for k in range(40)], rel=1e-8)


def test_hedge_funds_give_the_p_value_of_the_authors_r_code(funds: dict[str, FloatArray]) -> None:
    # boot.time.inference(ret.hedge, b=5, M=499) printed 0.25 (Monte Carlo error 0.02), an edited form 0.298:
    # github.com/pfnaibert/LW-SR-VAR, DEMO.md. The statistic is |Δ| over the prewhitened error in percent, as there.
    returns = funds["hedge"]
    drawn = studentised_differences(returns, 5, 20_000, rng())
    p = np.mean(np.abs(drawn) >= 0.4463183 / 0.3872694)
    assert 0.24 < p < 0.31


def test_published_ratios_and_the_t_test_that_gets_them_wrong(funds: dict[str, FloatArray]) -> None:
    hedge = funds["hedge"]
    found = sharpe_difference(hedge[:, 0], hedge[:, 1], rng(), block=5)
    # SR1.hat, SR2.hat of hac.inference(ret.hedge), same source
    assert (found.first, found.second, found.difference) == pytest.approx((1.014228, 1.460547, -0.4463183), abs=5e-7)
    assert found.p_one_sided > 0.8
    # a t-test of the returns prefers the fund with the lower Sharpe ratio, overwhelmingly
    assert stats.ttest_rel(hedge[:, 0], hedge[:, 1]).pvalue < 1e-10
    assert hedge[:, 0].mean() > hedge[:, 1].mean()


def test_memmel_is_its_closed_form(funds: dict[str, FloatArray]) -> None:
    one, two = funds["mutual"].T
    found = sharpe_difference(one, two, rng(), method="jkm")
    a, b, rho = found.first, found.second, np.corrcoef(one, two)[0, 1]
    error = math.sqrt((2 - 2 * rho + 0.5 * (a * a + b * b - 2 * a * b * rho**2)) / 120)  # Memmel (2003)
    assert found.standard_error == pytest.approx(error, rel=1e-12)
    assert found.p_two_sided == pytest.approx(2 * stats.norm.sf(abs(a - b) / error), rel=1e-9)


@pytest.mark.parametrize("method", ["bootstrap", "hac", "jkm"])
@settings(max_examples=10, deadline=None)
@given(scale=st.floats(1e-4, 1e4), seed=st.integers(0, 100))
def test_units_and_leverage_change_nothing(method, scale: float, seed: int) -> None:
    pair = np.random.default_rng(seed).normal(0.001, 0.02, (120, 2))
    plain = sharpe_difference(pair[:, 0], pair[:, 1], rng(), method=method, block=5, resamples=200)
    levered = sharpe_difference(pair[:, 0] * scale, pair[:, 1], rng(), method=method, block=5, resamples=200)
    assert levered.p_one_sided == pytest.approx(plain.p_one_sided, abs=1e-6)
    assert levered.difference == pytest.approx(plain.difference, abs=1e-9)


@pytest.mark.parametrize("method", ["bootstrap", "hac", "jkm"])
def test_size_under_equal_ratios_is_the_level_within_its_error(method, noise: Noise) -> None:
    repeats = 400
    rejected = 0
    for seed in range(repeats):
        pair = noise(seed, 250, 2, 0.5) + 0.001
        rejected += (
            sharpe_difference(pair[:, 0], pair[:, 1], rng(seed), method=method, block=3, resamples=299).p_one_sided <= 0.05
        )
    assert rejected / repeats == pytest.approx(0.05, abs=3 * math.sqrt(0.05 * 0.95 / repeats))


def test_a_clear_improvement_is_found_and_the_minimum_effect_can_hide_it(noise: Noise) -> None:
    pair = noise(5, 1000, 2, 0.9)
    better = pair[:, 0] + 0.002
    assert sharpe_difference(better, pair[:, 1], rng(), block=5).p_one_sided < 0.001
    assert sharpe_difference(better, pair[:, 1], rng(), block=5, minimum_effect=0.15).p_one_sided > 0.5
    found = sharpe_difference(better, pair[:, 1], rng(), block=5)
    assert 0 < found.lower_bound < found.difference
    assert found.annual == pytest.approx(found.difference * math.sqrt(365))


def test_the_same_generator_gives_the_same_result_whatever_the_threads(noise: Noise) -> None:
    pair = noise(1, 200, 2)
    assert np.array_equal(studentised_differences(pair, 4, 1000, rng(9)), studentised_differences(pair, 4, 1000, rng(9)))
    # a resample depends on its own number only
    assert np.array_equal(studentised_differences(pair, 4, 100, rng(9)), studentised_differences(pair, 4, 1000, rng(9))[:100])
    assert not np.array_equal(studentised_differences(pair, 4, 100, rng(9)), studentised_differences(pair, 4, 100, rng(8)))


def test_a_series_that_rarely_moves_counts_against_the_candidate(noise: Noise) -> None:
    pair = noise(1, 100, 2)
    pair[1:, 0] = 0.0  # one trade only: most resamples do not contain it
    drawn = studentised_differences(pair, 1, 2000, rng())
    assert np.mean(np.isinf(drawn)) == pytest.approx((1 - 1 / 100) ** 100, abs=0.05)
    assert sharpe_difference(pair[:, 0], pair[:, 1], rng(), block=1).p_one_sided > 0.3


def test_the_same_strategy_at_another_size_is_no_improvement(noise: Noise) -> None:
    one = noise(1, 100, 1)[:, 0]
    for method in ("bootstrap", "hac", "jkm"):
        found = sharpe_difference(3 * one, one, rng(), method=method)
        assert (found.difference, found.p_one_sided) == (0.0, 1.0)


def test_calibration_prefers_longer_blocks_for_returns_that_persist() -> None:
    generator = rng(2)
    shocks = generator.standard_normal((400, 2))
    persistent = np.empty_like(shocks)
    value = np.zeros(2)
    for at, shock in enumerate(shocks):
        value = 0.6 * value + shock
        persistent[at] = value
    assert calibrated_block(persistent, generator) > 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x: x[:20], NotEnoughData, "has 20 days; expected at least 30"),
        (lambda x: x[:-1], MalformedData, "have 99 and 100 days"),
        (lambda x: x * np.nan, MalformedData, "not finite"),
        (lambda x: x * 0 + 0.01, MalformedData, "constant"),
        (lambda x: x[:, None], MalformedData, "shape (100, 1)"),
        (lambda x: ["a"] * 100, MalformedData, "not numeric"),
    ],
)
def test_bad_input_is_named(change, error, message: str, noise: Noise) -> None:
    pair = noise(1, 100, 2)
    with pytest.raises(error) as caught:
        sharpe_difference(change(pair[:, 0]), pair[:, 1], rng(), block=5)
    assert message in str(caught.value)


def test_blocks_must_fit(noise: Noise) -> None:
    pair = noise(1, 100, 2)
    with pytest.raises(NotEnoughData, match="fewer than three blocks of 40"):
        sharpe_difference(pair[:, 0], pair[:, 1], rng(), block=40)
    with pytest.raises(MalformedData, match="0 days long"):
        sharpe_difference(pair[:, 0], pair[:, 1], rng(), block=0)


def test_errors_of_both_forms_are_alike_for_well_behaved_returns(noise: Noise) -> None:
    pair = noise(7, 2000, 2)
    scaled = pair / pair.std(axis=0)
    assert hac_standard_error(scaled) == pytest.approx(math.sqrt(2 / 2000), rel=0.15)
