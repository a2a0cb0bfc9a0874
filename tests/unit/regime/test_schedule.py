from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.interval import DAY_MS, WEEK_MS, parse_date_ms
from shared.regime.params import RegimeParams
from shared.regime.schedule import last_instant, refit, refit_due, refit_instants, training_rows

MONDAY = parse_date_ms("2025-07-07")
PARAMS = RegimeParams()


def test_instants_are_mondays_at_midnight() -> None:
    assert last_instant(MONDAY, PARAMS) == MONDAY
    assert last_instant(MONDAY - 1, PARAMS) == MONDAY - WEEK_MS
    assert last_instant(MONDAY + WEEK_MS - 1, PARAMS) == MONDAY
    assert refit_instants(MONDAY, MONDAY + WEEK_MS, PARAMS) == (MONDAY,)
    assert refit_instants(MONDAY + 1, MONDAY + WEEK_MS + 1, PARAMS) == (MONDAY + WEEK_MS,)


@given(start=st.integers(0, 400), middle=st.integers(0, 400), end=st.integers(0, 400), days=st.integers(1, 30))
def test_instants_do_not_depend_on_where_the_series_ends(start: int, middle: int, end: int, days: int) -> None:
    params = RegimeParams(refit_days=days)
    a, b, c = (MONDAY + day * DAY_MS for day in sorted((start, middle, end)))
    assert refit_instants(a, b, params) + refit_instants(b, c, params) == refit_instants(a, c, params)


def test_a_refit_is_due_once_per_instant() -> None:
    assert refit_due(None, MONDAY + 5, PARAMS) == MONDAY
    assert refit_due(MONDAY, MONDAY + 5, PARAMS) is None
    assert refit_due(MONDAY - WEEK_MS, MONDAY + 5, PARAMS) == MONDAY


def test_training_ends_at_the_last_bar_closed_by_the_instant(known_market, weekly_models, weekly_params) -> None:
    frame, instant = known_market.frame, weekly_models[1].valid_from_ms
    rows = training_rows(frame, instant, weekly_params)
    assert int(frame.close_time[rows.stop - 1]) <= instant < int(frame.close_time[rows.stop])
    assert rows.stop - rows.start == weekly_params.train_bars
    assert weekly_models[1].train_start_ms == int(frame.open_time[rows.start])


def test_too_little_data_keeps_the_previous_model_and_says_so(known_market, weekly_models, weekly_params) -> None:
    short = known_market.frame.rows(slice(0, 300))
    result = refit(short, known_market.asset, int(short.close_time[-1]), weekly_params, weekly_models[0])
    assert (result.model, result.fitted) == (weekly_models[0], False)
    assert "at least 500" in result.reason
    empty = refit(known_market.frame.rows(slice(0, 0)), known_market.asset, MONDAY, weekly_params)
    assert empty.model is None


def test_a_rejected_fit_keeps_the_previous_model(known_market, weekly_models, weekly_params) -> None:
    still = {name: np.zeros(len(known_market.frame)) for name in ("range_volatility", "skewness", "volume_z")}
    frame = dataclasses.replace(known_market.frame, columns=still)
    result = refit(frame, known_market.asset, int(frame.close_time[-1]), weekly_params, weekly_models[0])
    assert (result.model, result.fitted) == (weekly_models[0], False)
    assert "no fit is acceptable" in result.reason
