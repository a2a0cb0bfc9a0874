from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.regime import RegimeProbabilities
from shared.regime.drift import Cusum, StressLevel, count_stress, cusum_step, drift_from_mean, drift_path, stress_level
from shared.regime.params import RegimeParams

PARAMS = RegimeParams(drift_window=10)


def shifted(before: float, after: float, rows: int = 60) -> np.ndarray:
    stress = np.where(np.arange(rows) < rows // 2, before, after)
    return np.column_stack([1 - stress, np.zeros(rows), stress])


def test_drift_is_the_distance_from_the_mean_of_the_bars_before() -> None:
    drift = drift_from_mean(shifted(0.1, 0.9), 10)
    assert np.isnan(drift[:10]).all()
    np.testing.assert_allclose(drift[30], [-0.8, 0.0, 0.8])
    np.testing.assert_allclose(drift[31], [-0.72, 0.0, 0.72])
    np.testing.assert_allclose(drift[29], 0.0, atol=1e-12)


def test_short_histories_have_no_drift() -> None:
    assert np.isnan(drift_from_mean(shifted(0.1, 0.9, 10), 10)).all()


def test_a_shift_alarms_in_its_direction_and_silence_does_not() -> None:
    path = drift_path(shifted(0.1, 0.9), PARAMS)
    assert path.alarm_up[30:, 2].any()
    assert path.alarm_down[30:, 0].any()
    assert not path.alarm_down[:, 2].any()
    assert not path.alarm_up[:30].any()
    quiet = drift_path(shifted(0.3, 0.3), PARAMS)
    assert not quiet.alarm_up.any()
    assert not quiet.alarm_down.any()


def test_an_alarm_resets_its_sum() -> None:
    state, up, down = cusum_step(Cusum(1.9, 0.0), 0.9, PARAMS)
    assert (state.up, up, down) == (0.0, True, False)


@given(st.lists(st.floats(-1, 1), max_size=60))
def test_cusum_mirrors(drifts: list[float]) -> None:
    one, other = Cusum(), Cusum()
    for drift in drifts:
        one, up, down = cusum_step(one, drift, PARAMS)
        other, mirrored_up, mirrored_down = cusum_step(other, -drift, PARAMS)
        assert (one.up, one.down, up, down) == (other.down, other.up, mirrored_down, mirrored_up)
        assert one.up >= 0
        assert one.down >= 0


def test_missing_probabilities_change_no_sum() -> None:
    assert cusum_step(Cusum(1.0, 0.5), float("nan"), PARAMS) == (Cusum(1.0, 0.5), False, False)


def test_stress_counts_consecutive_closed_bars() -> None:
    levels, count = [], 0
    for p in (0.7, 0.7, 0.7, 0.7, 0.7, 0.61, 0.6, 0.7):
        count = count_stress(count, RegimeProbabilities(1 - p, 0.0, p), PARAMS)
        levels.append(stress_level(count, PARAMS))
    assert levels == [
        *[StressLevel.NONE] * 2,
        *[StressLevel.WARNING] * 3,
        StressLevel.CRITICAL,
        StressLevel.NONE,
        StressLevel.NONE,
    ]
