"""Cross-validation of overlapping, dependent data: which bars may train a model that is tested on others?

Lopez de Prado, Advances in Financial Machine Learning (2018), chapters 7 and 12. Bars whose label reaches into a test block, or
whose features look back into one, are purged; so is an embargo of bars behind each block. The combinatorial form tests every
choice of k groups out of n, which gives several complete out-of-sample paths instead of one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from shared.domain.candles import IntArray
from shared.domain.errors import NotEnoughData, UsageError


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers of one division, rising."""

    train: IntArray
    test: IntArray
    groups: tuple[int, ...]
    """the groups that are tested"""


def purged_k_fold(rows: int, folds: int, *, horizon: int = 0, look_back: int = 0, embargo: int = 0) -> Iterator[Split]:
    """Each of `folds` consecutive groups of `rows` tested once, trained on the others. Arguments as `combinatorial_purged`."""
    return combinatorial_purged(rows, folds, 1, horizon=horizon, look_back=look_back, embargo=embargo)


def combinatorial_purged(
    rows: int, groups: int, tested: int, *, horizon: int = 0, look_back: int = 0, embargo: int = 0
) -> Iterator[Split]:
    """Every way to test `tested` of `groups` consecutive groups of `rows`, in lexicographic order.

    In rows: `horizon` is how far a label looks ahead, `look_back` how far a feature looks back, `embargo` the additional
    distance behind a test block. A training row keeps more than `horizon` rows before a test block and more than
    max(horizon, look_back) + `embargo` rows behind it: nearer ones share bars with tested rows.

    Raises: `UsageError` for impossible numbers, `NotEnoughData` where a division would train on nothing.
    """
    _check(rows, groups, tested, horizon, look_back, embargo)
    edges = np.linspace(0, rows, groups + 1).astype(int)
    behind = max(horizon, look_back) + embargo
    for chosen in combinations(range(groups), tested):
        allowed = np.ones(rows, dtype=bool)
        is_test = np.zeros(rows, dtype=bool)
        for group in chosen:
            is_test[edges[group] : edges[group + 1]] = True
            allowed[max(0, edges[group] - horizon) : edges[group + 1] + behind] = False
        if not allowed.any():
            raise NotEnoughData(
                f"nothing is left to train on when groups {chosen} of {rows} rows are tested: the distances ({horizon} before, "
                f"{behind} behind) cover the rest; expected fewer groups or more data"
            )
        yield Split(np.flatnonzero(allowed), np.flatnonzero(is_test), chosen)


def path_count(groups: int, tested: int) -> int:
    """Complete out-of-sample paths of the combinatorial form: C(n, k) k / n."""
    return math.comb(groups, tested) * tested // groups


def paths(groups: int, tested: int) -> IntArray:
    """Which split provides each group of each path, (paths, groups), by the number of the split in lexicographic order.

    Each (split, tested group) is used exactly once. Lopez de Prado (2018), section 12.4.
    """
    table = np.empty((path_count(groups, tested), groups), dtype=np.int64)
    filled = [0] * groups
    for split, chosen in enumerate(combinations(range(groups), tested)):
        for group in chosen:
            table[filled[group], group] = split
            filled[group] += 1
    return table


def _check(rows: int, groups: int, tested: int, horizon: int, look_back: int, embargo: int) -> None:
    if groups < 2 or not 1 <= tested < groups:
        raise UsageError(f"{tested} of {groups} groups are to be tested; expected at least two groups and 1 <= tested < groups")
    if rows < groups:
        raise NotEnoughData(f"{rows} rows cannot be divided into {groups} groups; expected at least one row in each")
    if min(horizon, look_back, embargo) < 0:
        raise UsageError(f"horizon {horizon}, look_back {look_back}, embargo {embargo}; expected numbers of rows >= 0")
