from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from shared.risk.kelly import kelly_cap, kelly_exposure
from shared.risk.params import RiskParams

PARAMS = RiskParams()


def record(mean: float, deviation: float, bars: int) -> np.ndarray:
    """Exactly this mean and deviation: half the bars above, half below."""
    return mean + deviation * np.where(np.arange(bars) % 2 == 0, 1.0, -1.0)


def test_a_quarter_of_the_shrunk_mean_over_the_variance() -> None:
    # 0.25 · (0.0004 · 1000/2000) / 0.01² = 0.5
    assert kelly_exposure(record(0.0004, 0.01, 1000), PARAMS) == pytest.approx(0.5)


def test_more_evidence_shrinks_less() -> None:
    sizes = [kelly_exposure(record(0.0002, 0.01, bars), PARAMS) for bars in (100, 1000, 100_000)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == pytest.approx(0.25 * 0.0002 / 0.0001, rel=0.02)


def test_losses_get_nothing_and_luck_is_capped() -> None:
    assert kelly_exposure(record(-0.001, 0.01, 1000), PARAMS) == 0.0
    assert kelly_exposure(record(0.05, 0.01, 1000), PARAMS) == PARAMS.max_leverage
    assert kelly_exposure(np.empty(0), PARAMS) == 0.0


@given(arrays(np.float64, st.integers(0, 50), elements=st.floats(-0.5, 0.5)))
def test_is_never_negative_and_never_beyond_the_leverage_limit(returns: np.ndarray) -> None:
    assert 0.0 <= kelly_exposure(returns, PARAMS) <= PARAMS.max_leverage
    assert 0.0 <= kelly_cap(returns, PARAMS) <= PARAMS.max_leverage


def test_the_cap_waits_for_a_record_and_keeps_a_floor() -> None:
    assert kelly_cap(record(-0.001, 0.01, 499), PARAMS) == PARAMS.max_leverage
    assert kelly_cap(record(-0.001, 0.01, 500), PARAMS) == PARAMS.kelly_floor
    assert kelly_cap(np.full(1000, np.nan), PARAMS) == PARAMS.max_leverage
