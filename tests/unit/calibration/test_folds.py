"""Walk-forward folds: nothing of a test is seen in training, and nothing of the confirmation anywhere."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.calibration.folds import plan_folds, purge_days
from shared.calibration.params import CampaignParams
from shared.domain.errors import ConfigError, NotEnoughData
from shared.domain.interval import DAY_MS, Interval, parse_date_ms

START = parse_date_ms("2021-01-01")


@st.composite
def plans(draw):
    interval = draw(st.sampled_from([Interval.M15, Interval.H1, Interval.H4, Interval.D1]))
    lookback = draw(st.integers(0, 2500))
    params = CampaignParams(
        train_days=draw(st.integers(30, 400)),
        test_days=draw(st.integers(5, 120)),
        label_days=draw(st.integers(1, 5)),
        embargo_days=draw(st.integers(0, 10)),
        confirm_share=draw(st.floats(0.05, 0.5)),
        min_folds=1,
        min_confirm_days=draw(st.integers(5, 100)),
    )
    start = START + draw(st.integers(0, 2 * DAY_MS))
    return interval, lookback, params, start, start + draw(st.integers(100, 4000)) * DAY_MS + draw(st.integers(0, DAY_MS))


@given(plans())
def test_no_training_label_reaches_the_look_back_of_a_test_or_of_the_confirmation(case):
    interval, lookback, params, start, end = case
    try:
        plan = plan_folds(start, end, lookback, interval, params)
    except NotEnoughData:
        return
    for window, before in [
        *((fold.test, fold.train.end_ms) for fold in plan.folds),
        (plan.confirm, plan.folds[-1].test.end_ms),
    ]:
        first_seen = window.start_ms - lookback * interval.ms
        last_answer = before + params.label_days * DAY_MS
        assert last_answer <= first_seen - params.embargo_days * DAY_MS


@given(plans())
def test_tests_tile_the_selection_without_overlap_and_everything_lies_in_whole_days_of_the_period(case):
    interval, lookback, params, start, end = case
    try:
        plan = plan_folds(start, end, lookback, interval, params)
    except NotEnoughData:
        return
    for fold in plan.folds:
        assert fold.train.days == params.train_days
        assert fold.train.end_ms < fold.test.start_ms < fold.test.end_ms <= plan.confirm.start_ms
    for one, two in itertools.pairwise(plan.folds):
        assert one.test.end_ms == two.test.start_ms
    instants = [plan.folds[0].train.start_ms, plan.confirm.end_ms, plan.confirm.start_ms]
    assert all(instant % DAY_MS == 0 for instant in instants)
    assert start <= plan.folds[0].train.start_ms
    assert plan.confirm.end_ms <= end
    assert plan.confirm.days >= params.min_confirm_days


def test_five_years_of_hours_give_the_documented_plan():
    params = CampaignParams()
    plan = plan_folds(START, parse_date_ms("2025-01-01"), 1133, Interval.H1, params)
    assert purge_days(1133, Interval.H1, params) == 49  # ⌈1133 / 24⌉ + 1
    assert plan.gap_days == 51
    assert plan.confirm.days == 292  # 20 % of 1461
    assert plan.folds[0].test.start_ms == START + (365 + 51) * DAY_MS
    assert len(plan.folds) == 12
    assert plan.test_days == 702


def test_too_little_data_says_how_much_is_needed_and_that_much_is_enough():
    params = CampaignParams()
    with pytest.raises(NotEnoughData, match="give 0 folds, a campaign needs 3 and about") as caught:
        plan_folds(START, START + 300 * DAY_MS, 1133, Interval.H1, params)
    needed = int(str(caught.value).split("about ")[1].split()[0])
    assert len(plan_folds(START, START + (needed + 1) * DAY_MS, 1133, Interval.H1, params).folds) == 3
    with pytest.raises(NotEnoughData):
        plan_folds(START, START + (needed - 40) * DAY_MS, 1133, Interval.H1, params)


def test_an_empty_or_reversed_period_has_no_folds():
    with pytest.raises(NotEnoughData, match="0 days"):
        plan_folds(START, START - DAY_MS, 100, Interval.H1, CampaignParams())


@pytest.mark.parametrize("wrong", [{"train_days": 2}, {"confirm_share": 0.0}, {"test_days": 7.5}, {"seed": -1}])
def test_settings_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(ConfigError, match=f"campaign.{next(iter(wrong))}"):
        CampaignParams(**wrong)
