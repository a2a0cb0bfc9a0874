"""Holm and Benjamini-Hochberg against numbers of statsmodels, and their invariants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.calibration.significance.multiple import benjamini_hochberg, holm
from shared.domain.errors import MalformedData

# the 15 p-values of Benjamini and Hochberg (1995), section 3.2, adjusted by multipletests of statsmodels 0.15
P = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
HOLM = [0.0015, 0.0056, 0.0247, 0.114, 0.2211, 0.278, 0.278, 0.278, 0.3213, 1, 1, 1, 1, 1, 1]
FDR = [0.0015, 0.003, 0.0095, 0.035625, 0.0603, 0.0638571429, 0.0638571429, 0.0645, 0.0765, 0.486, 0.5811818182, 0.714875]
FDR += [0.7532307692, 0.8132142857, 1]

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


def test_numbers_of_statsmodels() -> None:
    assert holm(P) == pytest.approx(HOLM, abs=1e-9)
    assert benjamini_hochberg(P) == pytest.approx(FDR, abs=1e-9)


def test_the_four_discoveries_of_the_paper() -> None:
    # Benjamini and Hochberg (1995), section 3.2: four at 0.05, where Bonferroni (and Holm) give three
    assert np.count_nonzero(benjamini_hochberg(P) <= 0.05) == 4
    assert np.count_nonzero(holm(P) <= 0.05) == 3


@given(P_VALUES, st.randoms())
def test_order_does_not_matter_and_adjusting_only_raises(p: list[float], random) -> None:
    order = list(range(len(p)))
    random.shuffle(order)
    for adjust in (holm, benjamini_hochberg):
        adjusted = adjust(p)
        assert (adjusted >= np.array(p) - 1e-15).all()
        assert (adjusted <= 1).all()
        assert adjust([p[i] for i in order]) == pytest.approx(adjusted[order], abs=1e-15)
    assert (benjamini_hochberg(p) <= holm(p) + 1e-15).all()


@pytest.mark.parametrize("p", [[], [1.2], [-0.1], [float("nan")], [[0.1]]])
def test_bad_input_is_named(p) -> None:
    for adjust in (holm, benjamini_hochberg):
        with pytest.raises(MalformedData, match="p-value"):
            adjust(p)
