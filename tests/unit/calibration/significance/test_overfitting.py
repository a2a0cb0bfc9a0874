"""Probability of Backtest Overfitting: a direct implementation, and what it must say about noise and about skill."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import rankdata

from shared.calibration.significance.overfitting import logits, pbo
from shared.domain.candles import FloatArray
from shared.domain.errors import MalformedData, NotEnoughData, UsageError

Noise = Callable[..., FloatArray]


def direct_pbo(panel: FloatArray, slices: int) -> tuple[float, float]:
    """PBO and median logit after Bailey et al. (2017), section 2.2, on the rows themselves."""
    parts = np.split(panel, slices)
    found = []
    for chosen in combinations(range(slices), slices // 2):
        inside = np.concatenate([parts[i] for i in chosen])
        outside = np.concatenate([parts[i] for i in range(slices) if i not in chosen])
        best = (inside.mean(axis=0) / inside.std(axis=0)).argmax()
        relative = rankdata(outside.mean(axis=0) / outside.std(axis=0))[best] / (panel.shape[1] + 1)
        found.append(math.log(relative / (1 - relative)))
    return float(np.mean(np.array(found) <= 0)), float(np.median(found))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_agrees_with_a_direct_implementation(noise: Noise, seed: int) -> None:
    panel = noise(seed, 240, 7, 0.4)
    found = pbo(panel, slices=8)
    assert (found.pbo, found.median_logit) == pytest.approx(direct_pbo(panel, 8), abs=1e-12)
    assert (found.divisions, found.variants) == (math.comb(8, 4), 7)


def test_choosing_among_noise_is_a_coin_flip(noise: Noise) -> None:
    assert np.mean([pbo(noise(seed, 400, 20), slices=8).pbo for seed in range(40)]) == pytest.approx(0.5, abs=0.1)


def test_a_variant_with_skill_is_not_overfitted(noise: Noise) -> None:
    panel = noise(1, 800, 20)
    panel[:, 4] += 0.006
    found = pbo(panel)
    assert found.pbo < 0.01
    assert found.loss_probability < 0.01
    assert found.median_logit > 2


def test_leverage_changes_nothing(noise: Noise) -> None:
    panel = noise(1, 320, 5)
    scaled, plain = pbo(panel * np.array([1, 2, 5, 0.1, 7])), pbo(panel)
    assert (scaled.pbo, scaled.median_logit) == (plain.pbo, plain.median_logit)


def test_identical_variants_share_their_rank(noise: Noise) -> None:
    one = noise(1, 160, 1)
    assert pbo(np.hstack([one, one, one]), slices=4).median_logit == 0.0


def test_days_that_fill_no_slice_are_left_out_at_the_start(noise: Noise) -> None:
    panel = noise(1, 165, 4)
    assert pbo(panel, slices=8).pbo == pbo(panel[5:], slices=8).pbo


def test_bad_input_is_named(noise: Noise) -> None:
    with pytest.raises(NotEnoughData, match="one variant"):
        pbo(noise(1, 100, 1))
    with pytest.raises(NotEnoughData, match="fewer than two days each; expected at least 40"):
        pbo(noise(1, 35, 3), slices=20)
    with pytest.raises(UsageError, match="even number"):
        pbo(noise(1, 100, 3), slices=5)
    with pytest.raises(MalformedData, match="column 1, is constant"):
        pbo(noise(1, 100, 2) * np.array([1.0, 0.0]))


def test_the_logits_are_what_the_probability_is_the_share_of(noise: Noise) -> None:
    panel = noise(1, 160, 7)
    drawn = logits(panel, slices=8)
    assert len(drawn) == math.comb(8, 4)
    assert np.mean(drawn <= 0) == pbo(panel, slices=8).pbo
    assert np.median(drawn) == pbo(panel, slices=8).median_logit
