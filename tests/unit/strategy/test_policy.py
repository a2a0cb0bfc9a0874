import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.strategy.params import PolicyParams, StrategyParams
from shared.strategy.policy import PolicyTarget, target_position

PARAMS = StrategyParams(
    entry_threshold=0.3, exit_threshold=0.1, full_score=0.6, target_volatility=0.4, max_leverage=1.5, rebalance_band=0.2
).policy
HOURS = 8760.0
VOLATILITY = 0.8 / math.sqrt(HOURS)  # 80 % a year: the whole budget is half of equity

SCORES = st.floats(-1, 1)
HELD = st.floats(-3, 3)
MARKET = st.tuples(st.floats(0, 0.1), st.floats(0, 0.2), st.floats(0, 2), st.floats(0, 3))


def target(score: float, held: float = 0.0, *, multiplier: float = 1.0, cap: float = 9.0, atr: float = 0.01) -> PolicyTarget:
    return target_position(score, held, VOLATILITY, HOURS, atr, multiplier, cap, PARAMS)


def test_size_is_the_volatility_target_times_conviction() -> None:
    assert target(0.6).fraction == pytest.approx(0.5)
    assert target(1.0).fraction == pytest.approx(0.5)
    assert target(-0.45).fraction == pytest.approx(-0.375)
    assert target(0.6, multiplier=0.5).fraction == pytest.approx(0.25)


def test_twice_the_volatility_is_half_the_position() -> None:
    calm = target_position(0.6, 0.0, VOLATILITY, HOURS, 0.01, 1.0, 9.0, PARAMS).fraction
    wild = target_position(0.6, 0.0, 2 * VOLATILITY, HOURS, 0.01, 1.0, 9.0, PARAMS).fraction
    assert wild == pytest.approx(calm / 2)


def test_leverage_and_kelly_cap_the_size() -> None:
    assert target(0.6, multiplier=100.0).fraction == 1.5
    assert target(0.6, cap=0.2).fraction == 0.2
    assert target(0.6, cap=0.0) == PolicyTarget(0.0, 0.0)
    assert target(0.6, held=0.45, cap=0.2).fraction == 0.2


def test_a_position_opens_at_the_entry_threshold_and_stays_down_to_the_exit_threshold() -> None:
    assert target(0.29).fraction == 0
    assert target(0.31).fraction > 0
    assert target(0.15, held=0.2).fraction == 0.2
    assert target(0.09, held=0.2).fraction == 0
    assert target(-0.15, held=0.2).fraction == 0


def test_a_reversal_takes_the_entry_threshold_of_the_other_side() -> None:
    assert target(-0.29, held=0.2).fraction == 0
    assert target(-0.31, held=0.2).fraction < 0


def test_a_small_change_is_not_worth_a_trade() -> None:
    assert target(0.6, held=0.45).fraction == 0.45
    assert target(0.6, held=0.35).fraction == pytest.approx(0.5)


def test_the_stop_is_a_multiple_of_atr_within_bounds() -> None:
    assert target(0.6, atr=0.02).stop_distance == pytest.approx(0.06)
    assert target(0.6, atr=0.0).stop_distance == PARAMS.minimum_stop
    assert target(0.6, atr=0.5).stop_distance == PARAMS.maximum_stop
    assert target(0.0).stop_distance == 0


@pytest.mark.parametrize("position", range(7))
def test_an_unknown_input_ends_in_no_position(position: int) -> None:
    inputs = [0.6, 0.2, VOLATILITY, HOURS, 0.01, 1.0, 1.0]
    inputs[position] = math.nan
    assert target_position(*inputs, PARAMS) == PolicyTarget(0.0, 0.0)


@settings(max_examples=300, deadline=None)
@given(score=SCORES, held=HELD, market=MARKET)
def test_the_target_is_bounded_and_has_the_side_of_the_score(
    score: float, held: float, market: tuple[float, float, float, float]
) -> None:
    volatility, atr, multiplier, cap = market
    fraction, stop = target_position(score, held, volatility, HOURS, atr, multiplier, cap, PARAMS)
    assert abs(fraction) <= min(cap, PARAMS.max_leverage)
    assert fraction * score >= 0
    assert abs(fraction) == 0 or abs(fraction) >= PARAMS.minimum_fraction or fraction == held
    assert (stop == 0) if fraction == 0 else PARAMS.minimum_stop <= stop <= PARAMS.maximum_stop
    if held * fraction <= 0 and fraction != 0:
        assert abs(score) >= PARAMS.entry_threshold


@settings(max_examples=300, deadline=None)
@given(scores=st.tuples(SCORES, SCORES), held=HELD, market=MARKET)
def test_a_higher_score_never_gives_a_smaller_position(
    scores: tuple[float, float], held: float, market: tuple[float, float, float, float]
) -> None:
    volatility, atr, multiplier, cap = market
    low, high = (
        target_position(score, held, volatility, HOURS, atr, multiplier, cap, PARAMS).fraction for score in sorted(scores)
    )
    assert low <= high


@settings(max_examples=200, deadline=None)
@given(score=SCORES, held=HELD, market=MARKET)
def test_long_and_short_are_mirror_images_and_a_reached_target_stays(
    score: float, held: float, market: tuple[float, float, float, float]
) -> None:
    volatility, atr, multiplier, cap = market
    here = target_position(score, held, volatility, HOURS, atr, multiplier, cap, PARAMS)
    there = target_position(-score, -held, volatility, HOURS, atr, multiplier, cap, PARAMS)
    assert there == PolicyTarget(-here.fraction, here.stop_distance)
    assert target_position(score, here.fraction, volatility, HOURS, atr, multiplier, cap, PARAMS) == here


def test_the_policy_numbers_are_the_fields_of_the_strategy() -> None:
    params = replace(StrategyParams(), stop_atr=2.0)
    assert isinstance(params.policy, PolicyParams)
    assert params.policy.stop_atr == 2.0
    assert all(isinstance(number, float) for number in params.policy)
