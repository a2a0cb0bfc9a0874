"""Purged and combinatorial cross-validation: nothing that is trained on touches what is tested."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.calibration.significance.splits import combinatorial_purged, path_count, paths, purged_k_fold
from shared.domain.errors import NotEnoughData, UsageError


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(40, 120),
    groups=st.integers(2, 6),
    horizon=st.integers(0, 5),
    look_back=st.integers(0, 5),
    embargo=st.integers(0, 3),
    data=st.data(),
)
def test_no_training_row_shares_a_bar_with_a_tested_one(rows, groups, horizon, look_back, embargo, data) -> None:
    tested = data.draw(st.integers(1, groups - 1))
    try:
        splits = list(combinatorial_purged(rows, groups, tested, horizon=horizon, look_back=look_back, embargo=embargo))
    except NotEnoughData:
        return
    assert len(splits) == math.comb(groups, tested)
    for split in splits:
        assert not np.intersect1d(split.train, split.test).size
        for row in split.train:
            before = split.test[split.test < row]
            after = split.test[split.test > row]
            # its label does not reach into a test block; a tested row's label or its own features do not reach it from there
            assert not after.size or after[0] - row > horizon
            assert not before.size or row - before[-1] > max(horizon, look_back) + embargo


def test_each_row_is_tested_once_by_k_fold_and_k_paths_cover_everything() -> None:
    tested = np.concatenate([split.test for split in purged_k_fold(103, 5, horizon=2, embargo=1)])
    assert np.array_equal(np.sort(tested), np.arange(103))


def test_a_small_case_by_hand() -> None:
    first, second, third = purged_k_fold(12, 3, horizon=1, look_back=2, embargo=1)
    assert (first.train.tolist(), first.test.tolist()) == ([7, 8, 9, 10, 11], [0, 1, 2, 3])
    assert (second.train.tolist(), second.test.tolist()) == ([0, 1, 2, 11], [4, 5, 6, 7])
    assert (third.train.tolist(), third.test.tolist()) == ([0, 1, 2, 3, 4, 5, 6], [8, 9, 10, 11])


def test_path_numbers_of_the_book() -> None:
    # Lopez de Prado (2018), section 12.4.1: 6 groups, 2 tested: 15 splits, 5 paths
    assert path_count(6, 2) == 5
    table = paths(6, 2)
    assert table.shape == (5, 6)
    chosen = list(combinations(range(6), 2))
    used = [(int(split), group) for path in table for group, split in enumerate(path)]
    assert len(set(used)) == 30
    assert all(group in chosen[split] for split, group in used)
    # figure 12.1: path 1 takes group 1 from split 1, group 2 from split 1, group 3 from split 2, …
    assert table[0].tolist() == [0, 0, 1, 2, 3, 4]


def test_impossible_divisions_are_named() -> None:
    for groups, tested in ((1, 1), (5, 5), (5, 0)):
        with pytest.raises(UsageError, match="at least two groups"):
            list(combinatorial_purged(100, groups, tested))
    with pytest.raises(UsageError, match=">= 0"):
        list(purged_k_fold(100, 5, horizon=-1))
    with pytest.raises(NotEnoughData, match="cannot be divided"):
        list(purged_k_fold(3, 5))
    with pytest.raises(NotEnoughData, match="nothing is left to train on"):
        list(purged_k_fold(10, 2, embargo=20))
