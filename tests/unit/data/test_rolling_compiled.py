"""The machine-code twins of the rolling statistics give the bits of the numpy form."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.data import rolling, rolling_compiled
from shared.speed import LONG_ROWS


def same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    """Equal bits; every NaN is the same NaN."""
    known = ~np.isnan(one)
    return bool((np.isnan(other) == ~known).all() and (one[known].view(np.int64) == other[known].view(np.int64)).all())


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(0, 3000),
    bars=st.integers(1, 500),
    level=st.sampled_from([0.0, 1.0, 5e4, -1e-8]),
    tick=st.sampled_from([0.0, 0.5]),
    missing=st.sampled_from([0.0, 0.01]),
)
def test_window_moments(seed: int, rows: int, bars: int, level: float, tick: float, missing: float) -> None:
    rng = np.random.default_rng(seed)
    values = level + rng.standard_normal(rows)
    values = np.round(values / tick) * tick if tick else values
    values[rng.random(rows) < missing] = np.nan
    for order in (1, 2, 3):
        plain = rolling._moments_in_chunks(values, bars, order)
        fast = rolling_compiled.window_moments(values, bars, order)
        assert all(same_bits(one, other) for one, other in zip(plain, fast, strict=True))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), max_size=300))
def test_bars_since(events: list[bool]) -> None:
    event = np.array(events, dtype=np.bool_)
    assert rolling.bars_since(event).tolist() == rolling_compiled.bars_since(event).tolist()


def test_long_arrays_take_the_twin_and_nobody_can_tell() -> None:
    values = np.random.default_rng(1).standard_normal(LONG_ROWS + 1)
    for order in (1, 2, 3):
        taken = rolling._moments(values, 72, order)
        plain = rolling._moments_in_chunks(values, 72, order)
        assert all(same_bits(one, other) for one, other in zip(taken, plain, strict=True))


def test_a_strided_array_is_read_in_its_order() -> None:
    values = np.random.default_rng(1).standard_normal((500, 2))
    assert same_bits(rolling_compiled.window_moments(values[:, 1], 7, 1)[0], rolling._moments_in_chunks(values[:, 1], 7, 1)[0])
