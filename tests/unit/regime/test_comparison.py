from __future__ import annotations

import numpy as np
import pytest

from shared.domain.errors import MalformedData
from shared.domain.interval import Interval
from shared.regime.comparison import agreement, detection_lags, persistence

NONE = -1


def held(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int8)


def one_hot(states: np.ndarray) -> np.ndarray:
    return np.eye(3)[np.maximum(states, 0)]


def test_counts_switches_and_shares_of_the_bars_with_a_regime() -> None:
    seen = persistence(held(NONE, 1, 1, 0, 0, 0, 2, 2), Interval.H1)
    assert (seen.bars, seen.switches) == (7, 2)
    assert seen.switches_per_year == pytest.approx(2 / (7 / 8760))
    assert seen.mean_duration_bars == pytest.approx(7 / 3)
    assert seen.shares == pytest.approx((3 / 7, 2 / 7, 2 / 7))


def test_lag_is_counted_from_the_true_change_and_ends_at_the_next_one() -> None:
    states = np.array([1, 1, 0, 0, 0, 2, 2, 1, 1, 1])
    seen = held(NONE, 1, 1, 1, 0, 0, 0, 1, 1, 1)  # calm two bars late, stress never, balanced at once
    assert detection_lags(seen, states).tolist() == [2, -1, 0]


def test_changes_before_the_first_regime_do_not_count() -> None:
    states = np.array([0, 1, 1, 2, 2, 2])
    assert detection_lags(held(NONE, NONE, 1, 1, 2, 2), states).tolist() == [1]


def test_the_truth_itself_is_always_right() -> None:
    states = np.array([1, 1, 0, 0, 2, 2, 2])
    seen = agreement(one_hot(states), states.astype(np.int8), states)
    assert (seen.accuracy, seen.held_accuracy, seen.changes, seen.noticed, seen.median_lag_bars) == (1.0, 1.0, 2, 2, 0.0)


def test_a_market_that_never_changes_has_no_lag() -> None:
    states = np.zeros(5, dtype=np.int64)
    assert agreement(one_hot(states), states.astype(np.int8), states).median_lag_bars is None


def test_nothing_held_is_named() -> None:
    nothing = held(NONE, NONE)
    with pytest.raises(MalformedData, match="no bar has a regime"):
        persistence(nothing, Interval.H1)
    with pytest.raises(MalformedData, match="no bar has a regime"):
        agreement(np.full((2, 3), np.nan), nothing, np.zeros(2, dtype=np.int64))
