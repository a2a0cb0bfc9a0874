"""Probabilistic and Deflated Sharpe Ratio, Minimum Track Record Length: the examples of the papers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.calibration.significance.deflation import deflated_sharpe, deflation_benchmark, expected_maximum_sharpe
from shared.calibration.significance.sharpe import (
    minimum_track_record,
    minimum_track_record_of,
    probabilistic_sharpe,
    probabilistic_sharpe_of,
)
from shared.domain.errors import MalformedData, NotEnoughData

RATIOS = st.none() | st.floats(-0.3, 0.3)


@pytest.mark.parametrize(
    ("trials", "skewness", "kurtosis", "expected"),
    [(100, -3, 10, 0.9004), (46, -3, 10, 0.9505), (88, 0, 3, 0.9505)],
)
def test_the_numerical_example_of_the_deflated_sharpe_paper(
    trials: int, skewness: float, kurtosis: float, expected: float
) -> None:
    # Bailey and Lopez de Prado (2014), "A numerical example": annual SR 2.5, 1250 days of 250 a year, annual variance 1/2
    luck = expected_maximum_sharpe(trials, 0.5 / 250)
    assert probabilistic_sharpe_of(2.5 / math.sqrt(250), luck, 1250, skewness, kurtosis) == pytest.approx(expected, abs=5e-5)


def test_the_luck_of_the_numerical_example() -> None:
    # same example: SR0 = 0.1132
    assert expected_maximum_sharpe(100, 0.5 / 250) == pytest.approx(0.1132, abs=5e-5)


@pytest.mark.parametrize(("skewness", "kurtosis", "expected"), [(0, 3, 0.982), (-2.448, 10.164, 0.913)])
def test_the_hedge_fund_of_the_probabilistic_sharpe_paper(skewness: float, kurtosis: float, expected: float) -> None:
    # Bailey and Lopez de Prado (2012), section 5: 24 months, monthly SR 0.458
    assert probabilistic_sharpe_of(0.458, 0.0, 24, skewness, kurtosis) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(("periods_per_year", "years"), [(252, 2.73), (52, 2.83), (12, 3.24)])
def test_the_track_record_lengths_of_the_paper(periods_per_year: int, years: float) -> None:
    # Bailey and Lopez de Prado (2012), section 6: an annual SR of 2 above 1 with 95 %, normal returns
    scale = math.sqrt(periods_per_year)
    assert minimum_track_record_of(2 / scale, 1 / scale, 0, 3) / periods_per_year == pytest.approx(years, abs=5e-3)


def test_track_record_length_and_probability_are_inverses() -> None:
    days = minimum_track_record_of(0.1, 0.02, -1, 6)
    assert probabilistic_sharpe_of(0.1, 0.02, round(days), -1, 6) == pytest.approx(0.95, abs=5e-4)
    assert minimum_track_record_of(0.02, 0.02, 0, 3) == math.inf


def test_the_expected_maximum_is_that_of_normal_draws() -> None:
    draws = np.random.default_rng(1).standard_normal((20_000, 100)).max(axis=1)
    assert expected_maximum_sharpe(100, 1.0) == pytest.approx(draws.mean(), rel=0.01)
    assert expected_maximum_sharpe(1, 1.0) == 0.0


def test_kurtosis_is_raw() -> None:
    normal = np.random.default_rng(3).normal(0.002, 0.02, 5000)
    ratio = normal.mean() / normal.std(ddof=1)
    plain = 0.5 * math.erfc(-ratio * math.sqrt(4999) / math.sqrt(1 + ratio**2 / 2) / math.sqrt(2))  # Lo (2002), normal case
    assert probabilistic_sharpe(normal) == pytest.approx(plain, abs=1e-3)
    assert minimum_track_record(normal) < 5000


def test_more_trials_deflate_more_and_idle_trials_count() -> None:
    returns = np.random.default_rng(4).normal(0.002, 0.02, 1000)
    few, many = [0.1, 0.0, 0.05], [0.1, 0.0, 0.05] * 30
    assert deflated_sharpe(returns, [0.1]) == pytest.approx(probabilistic_sharpe(returns))
    assert deflated_sharpe(returns, [0.1]) > deflated_sharpe(returns, few) > deflated_sharpe(returns, many)
    assert deflation_benchmark([*few, None, None]) > deflation_benchmark(few)


@settings(deadline=None)  # the first example imports scipy
@given(st.lists(RATIOS, min_size=1, max_size=40), st.lists(RATIOS, max_size=40))
def test_appending_trials_never_lowers_the_benchmark(known: list[float | None], more: list[float | None]) -> None:
    assert deflation_benchmark([*known, *more]) >= deflation_benchmark(known) - 1e-12
    dated = deflation_benchmark([*known, *more], [len(known)])
    assert dated >= deflation_benchmark(known, [len(known)]) - 1e-12


def test_a_local_search_afterwards_buys_no_lower_bar() -> None:
    rng = np.random.default_rng(0)
    spread, local = rng.normal(0, 0.04, 48).tolist(), rng.normal(0.03, 0.005, 200).tolist()
    at_once = deflation_benchmark([*spread, *local], [248])
    assert at_once < deflation_benchmark(spread, [48]) == deflation_benchmark([*spread, *local], [48])


def test_trials_of_one_date_have_the_benchmark_of_the_paper() -> None:
    trials = np.random.default_rng(5).normal(1.0, 0.04, 100)
    paper = expected_maximum_sharpe(102, float(trials.var(ddof=1)))
    assert deflation_benchmark([None, *trials.tolist(), None], [102]) == pytest.approx(paper, rel=1e-12)
    assert deflation_benchmark([None, None]) == 0.0


def test_bad_trials_are_named() -> None:
    with pytest.raises(MalformedData, match="dates after 1 to 3 trials; expected 1 to 2"):
        deflation_benchmark([0.1, 0.2], [1, 3])
    with pytest.raises(NotEnoughData, match="no trial is recorded"):
        deflation_benchmark([])
    with pytest.raises(MalformedData, match="not finite"):
        deflation_benchmark([0.1, math.nan])
    with pytest.raises(MalformedData, match="expected raw kurtosis"):
        probabilistic_sharpe_of(1.0, 0.0, 100, 3.0, 0.0)
