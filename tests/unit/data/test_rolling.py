import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shared.data.rolling import bars_since, window_mean, window_mean_std, window_means, window_skewness, window_zscore


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), length=st.integers(0, 300), bars=st.integers(2, 60), scale=st.sampled_from([1e-8, 1.0, 1e6]))
def test_statistics_equal_those_of_each_window_on_its_own(seed: int, length: int, bars: int, scale: float) -> None:
    values = scale * (1 + np.random.default_rng(seed).standard_normal(length))
    mean, std = window_mean_std(values, bars)
    assert np.array_equal(mean, window_mean(values, bars), equal_nan=True)
    assert np.isnan(mean[: bars - 1]).all()
    for row in range(bars - 1, length, 7):
        window = values[row - bars + 1 : row + 1]
        assert mean[row] == pytest.approx(window.mean(), rel=1e-11, abs=1e-13 * scale)
        assert std[row] == pytest.approx(window.std(), rel=1e-11)
        assert window_zscore(values, bars)[row] == pytest.approx((window[-1] - window.mean()) / window.std(), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), length=st.integers(0, 300), bars=st.integers(1, 60), missing=st.sampled_from([0.0, 0.05]))
def test_means_of_several_columns_are_those_of_each_by_itself(seed: int, length: int, bars: int, missing: float) -> None:
    rng = np.random.default_rng(seed)
    columns = rng.standard_normal((3, length))
    columns[rng.random((3, length)) < missing] = np.nan
    for together, alone in zip(window_means(list(columns), bars), columns, strict=True):
        assert np.array_equal(together, window_mean(alone, bars), equal_nan=True)


def test_skewness_is_scipys_population_skewness() -> None:
    values = np.random.default_rng(3).gamma(2.0, size=200) * 0.01
    expected = [stats.skew(values[row - 49 : row + 1]) for row in range(49, 200)]
    assert window_skewness(values, 50)[49:] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("value", [113883.3, 1.59, 1e-7, 0.0])
def test_a_constant_window_after_a_large_past_deviates_by_exactly_zero(value: float) -> None:
    values = np.concatenate([np.random.default_rng(0).uniform(1, 1e6, 500), np.full(100, value)])
    mean, std = window_mean_std(values, 24)
    assert (std[-70:] == 0).all()
    assert (mean[-70:] == value).all()
    assert (window_zscore(values, 24)[-70:] == 0).all()
    assert (window_skewness(values, 24)[-70:] == 0).all()


def test_a_missing_value_makes_only_the_windows_with_it_unknown() -> None:
    values = np.arange(20.0)
    values[5] = np.nan
    assert np.flatnonzero(np.isnan(window_mean(values, 4))).tolist() == [0, 1, 2, 5, 6, 7, 8]
    assert np.flatnonzero(np.isnan(window_zscore(values, 4))).tolist() == [0, 1, 2, 5, 6, 7, 8]
    assert np.flatnonzero(np.isnan(window_skewness(values, 4))).tolist() == [0, 1, 2, 5, 6, 7, 8]


def test_a_value_does_not_depend_on_the_future_and_hardly_on_where_the_series_starts() -> None:
    values = np.random.default_rng(1).standard_normal(20_000)
    whole = window_skewness(values, 96)
    assert np.array_equal(window_skewness(values[:5_000], 96), whole[:5_000], equal_nan=True)
    for start, end in ((1_234, 1_500), (9_999, 20_000)):
        part = window_skewness(values[start:end], 96)
        assert part[95:] == pytest.approx(whole[start + 95 : end], abs=1e-12)


def test_bars_since_counts_from_the_last_event_and_from_before_the_start() -> None:
    event = np.array([False, False, True, False, True, True, False])
    assert bars_since(event).tolist() == [1, 2, 0, 1, 0, 0, 1]
    assert bars_since(np.zeros(0, dtype=np.bool_)).tolist() == []
