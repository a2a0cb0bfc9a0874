"""Information coefficients: the right numbers where they are known, and no discoveries in noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from shared.calibration.information import (
    ScoredAsset,
    coefficient,
    correlations,
    forward_returns,
    information,
    newey_west_error,
)
from shared.data.curation import curate
from shared.domain.candles import Candles
from shared.domain.frame import Frame


@pytest.fixture(scope="module")
def frame(walk: Callable[..., Candles]) -> Frame:
    return curate(walk(3, 3000, missing=slice(1000, 1010)))


def asset_of(frame: Frame, **scores: np.ndarray) -> ScoredAsset:
    held = (np.arange(len(frame)) // 500 % 3).astype(np.int8)
    return ScoredAsset(frame, held, np.ones(len(frame), dtype=np.bool_), scores)


def test_the_return_begins_at_the_next_open_and_no_gap_is_crossed(frame: Frame) -> None:
    forward = forward_returns(frame, 4)
    assert forward[10] == pytest.approx(np.log(frame["open"][15] / frame["open"][11]))
    assert np.isnan(forward[-5:]).all()
    assert np.isnan(forward[995:999]).all()
    assert np.isfinite(forward[100:990]).all()


def test_the_coefficient_is_spearmans(frame: Frame) -> None:
    score = np.random.default_rng(1).integers(-3, 4, len(frame)) / 3.0  # with ties
    forward = forward_returns(frame, 4)
    known = np.isfinite(forward)
    found = coefficient("s", [asset_of(frame, s=score)], 4)
    assert found is not None
    assert found.value == pytest.approx(stats.spearmanr(score[known], forward[known]).statistic, abs=1e-12)
    assert found.bars == int(known.sum())


def test_newey_west_is_the_textbook_formula() -> None:
    x = np.random.default_rng(2).standard_normal(200)
    centred = x - x.mean()
    gamma = [sum(centred[j:] * centred[: 200 - j]) / 200 for j in range(4)]
    expected = np.sqrt((gamma[0] + 2 * sum((1 - j / 4) * gamma[j] for j in (1, 2, 3))) / 200)
    assert newey_west_error(x, 3) == pytest.approx(expected, rel=1e-12)
    assert newey_west_error(x, 0) == pytest.approx(x.std() / np.sqrt(200), rel=1e-12)


def test_perfect_foresight_is_one_and_its_opposite_minus_one(frame: Frame) -> None:
    forward = np.nan_to_num(forward_returns(frame, 1))
    known = information("s", [asset_of(frame, s=forward)], (1, 4), 1)
    assert known.by_horizon[1] is not None
    assert known.by_horizon[1].value == pytest.approx(1.0, abs=0.01)
    assert known.hit_rate == pytest.approx(1.0)
    against = coefficient("s", [asset_of(frame, s=-forward)], 1)
    assert against is not None
    assert against.value == pytest.approx(-1.0, abs=0.01)


def test_persistent_noise_is_seldom_significant_at_overlapping_horizons(walk: Callable[..., Candles]) -> None:
    rejected = 0
    for seed in range(60):
        frame = curate(walk(100 + seed, 1500))
        noise = np.random.default_rng(seed).standard_normal(len(frame))
        score = np.convolve(noise, np.ones(24) / 24, mode="same")
        found = coefficient("s", [asset_of(frame, s=score)], 24)
        assert found is not None
        rejected += found.p < 0.05
    assert rejected <= 11  # i.i.d. errors would reject about half; Newey-West is known to reject a little too often


def test_assets_that_are_copies_of_each_other_are_counted_once(frame: Frame) -> None:
    score = np.random.default_rng(5).standard_normal(len(frame))
    one = coefficient("s", [asset_of(frame, s=score)], 4)
    three = coefficient("s", [asset_of(frame, s=score)] * 3, 4)
    assert one is not None
    assert three is not None
    assert three.t == pytest.approx(one.t)


def test_a_score_that_never_speaks_has_no_coefficient(frame: Frame) -> None:
    silent = information("s", [asset_of(frame, s=np.full(len(frame), np.nan))], (1, 24), 24)
    assert set(silent.by_horizon.values()) == {None}
    assert silent.hit_rate is None
    assert (silent.coverage, silent.turnover) == (0.0, 0.0)


def test_regimes_are_judged_apart(frame: Frame) -> None:
    held = (np.arange(len(frame)) // 500 % 3).astype(np.int8)
    score = np.where(held == 1, np.nan_to_num(forward_returns(frame, 1)), 0.0)
    known = information("s", [asset_of(frame, s=score)], (1,), 1)
    assert known.by_regime["balanced"] is not None
    assert known.by_regime["balanced"].value == pytest.approx(1.0, abs=0.01)
    assert known.by_regime["calm"] is None


def test_correlations_are_pearsons(frame: Frame) -> None:
    rng = np.random.default_rng(6)
    a, b = rng.standard_normal((2, len(frame)))
    table = correlations(("a", "b", "c"), [asset_of(frame, a=a, b=a + b, c=np.zeros(len(frame)))])
    assert table[0, 1] == pytest.approx(np.corrcoef(a, a + b)[0, 1])
    assert np.isnan(table[2]).all()
