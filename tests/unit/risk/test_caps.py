"""The cap by the value at risk: a hand-computed one, and the same bits in a window and in a history."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.interval import Interval
from shared.risk.caps import exposure_cap
from shared.risk.caps_compiled import exposure_caps
from shared.risk.params import RiskParams

PARAMS = RiskParams(var_bars=101, var_limit=0.10)


def closes(seed: int, n: int, *, coarse: bool) -> np.ndarray:
    """Prices; coarse ones move by few different amounts, so that moves are equal."""
    rng = np.random.default_rng(seed)
    moves = rng.integers(-2, 3, n) * 0.01 if coarse else rng.standard_t(3, n) * 0.01
    return np.asarray(100.0 * np.cumprod(1.0 + np.clip(moves, -0.5, 0.5)))


def test_a_cap_by_hand() -> None:
    # 101 returns: the quantile of 0.99 is the second largest move, 4 %; a day of 24 bars moves √24 times that
    prices = np.cumprod([100.0, *([1.001] * 99), 0.96, 1.08])
    assert exposure_cap(prices, Interval.H1, PARAMS) == pytest.approx(0.10 / (0.04 * math.sqrt(24)))
    assert exposure_cap(prices, Interval.D1, PARAMS) == pytest.approx(0.10 / 0.04)


def test_too_few_bars_and_a_still_market_cap_nothing() -> None:
    assert exposure_cap(np.full(101, 100.0), Interval.H1, PARAMS) == math.inf
    assert exposure_cap(np.full(102, 100.0), Interval.H1, PARAMS) == math.inf


@settings(deadline=None)  # the first call may compile
@given(st.integers(0, 10**6), st.integers(0, 400), st.integers(0, 250), st.booleans())
def test_a_window_and_a_history_give_the_same_bits(seed: int, n: int, more: int, coarse: bool) -> None:
    prices = closes(seed, n, coarse=coarse)
    history = exposure_caps(prices, Interval.H1, PARAMS)
    for row in {n // 2, n - 1} & set(range(n)):
        window = prices[max(0, row - PARAMS.var_bars - more) : row + 1]
        assert exposure_cap(window, Interval.H1, PARAMS).hex() == float(history[row]).hex()


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(110, 300), st.integers(0, 100))
def test_the_future_changes_no_earlier_cap(seed: int, n: int, cut: int) -> None:
    prices = closes(seed, n, coarse=False)
    np.testing.assert_array_equal(
        exposure_caps(prices[: n - cut], Interval.H1, PARAMS), exposure_caps(prices, Interval.H1, PARAMS)[: n - cut]
    )
