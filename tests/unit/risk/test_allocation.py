from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.regime import RegimeProbabilities
from shared.risk.allocation import size_multiplier, size_multipliers
from shared.risk.params import RiskParams
from shared.speed import LONG_ROWS, SHORT_ROWS

PARAMS = RiskParams()
weights = st.tuples(*[st.floats(0.0, 1.0)] * 3).filter(lambda w: sum(w) > 1e-3)


def of(calm: float, balanced: float, stress: float) -> RegimeProbabilities:
    total = calm + balanced + stress
    return RegimeProbabilities(calm / total, balanced / total, stress / total)


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ((1, 0, 0), 1.2),
        ((0, 1, 0), 1.0),
        ((0, 0, 1), 0.5),
        ((0.6, 0.4, 0), 1.0),  # the calm bonus starts here
        ((0.8, 0.2, 0), 0.8 * 1.1 + 0.2),  # half of the bonus
        ((0, 0.6, 0.4), 0.8),  # below the ramp: the blend
        ((0, 0.5, 0.5), 0.5 * 0.75 + 0.5 * 0.5),  # in its middle
        ((0, 0.4, 0.6), 0.5),  # above it: the stress multiplier
    ],
)
def test_golden_sizes(probabilities: tuple[float, float, float], expected: float) -> None:
    """Computed by hand from the formula in the module's opening lines."""
    assert size_multiplier(RegimeProbabilities(*probabilities), PARAMS) == pytest.approx(expected)


@given(start=weights, share=st.floats(0.0, 1.0), giver=st.integers(0, 1))
def test_moving_probability_to_stress_never_increases_the_size(
    start: tuple[float, float, float], share: float, giver: int
) -> None:
    before = of(*start)
    values = [before.calm, before.balanced, before.stress]
    moved = values[giver] * share
    values[giver] -= moved
    values[2] += moved
    assert size_multiplier(RegimeProbabilities(*values), PARAMS) <= size_multiplier(before, PARAMS) + 1e-12


@given(one=weights, step=st.floats(0.0, 1e-4), giver=st.integers(0, 2), taker=st.integers(0, 2))
def test_a_small_step_of_probability_is_a_small_step_of_size(
    one: tuple[float, float, float], step: float, giver: int, taker: int
) -> None:
    before = of(*one)
    values = [before.calm, before.balanced, before.stress]
    step = min(step, values[giver])
    values[giver] -= step
    values[taker] += step
    change = size_multiplier(RegimeProbabilities(*values), PARAMS) - size_multiplier(before, PARAMS)
    assert abs(change) <= 10 * step + 1e-12


@given(weights)
def test_size_stays_between_its_bounds(one: tuple[float, float, float]) -> None:
    tight = RiskParams(minimum_multiplier=0.7, maximum_multiplier=1.1)
    assert 0.7 <= size_multiplier(of(*one), tight) <= 1.1


@settings(deadline=None)  # the first long one may have to be compiled
@given(rows=st.lists(weights, min_size=1, max_size=20))
def test_the_sizes_of_a_history_are_those_of_its_bars_to_the_bit(rows: list[tuple[float, float, float]]) -> None:
    bars = [of(*row) for row in rows]
    history = np.array([[bar.calm, bar.balanced, bar.stress] for bar in bars])
    for times in (1, 1 + SHORT_ROWS // len(bars)):  # plain and compiled, once numba is there
        expected = [size_multiplier(bar, PARAMS) for bar in bars] * times
        assert size_multipliers(np.tile(history, (times, 1)), PARAMS).tolist() == expected


def test_unknown_probabilities_have_no_size() -> None:
    for rows in (2, LONG_ROWS):
        assert np.isnan(size_multipliers(np.full((rows, 3), np.nan), PARAMS)).all()
