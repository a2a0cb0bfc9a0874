from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shared.data.curation import curate
from shared.data.generated import generate_market
from shared.domain.interval import DAY_MS, WEEK_MS, Interval, parse_date_ms
from shared.regime.params import RegimeParams
from shared.regime.schedule import (
    fit_history,
    fit_jump_history,
    last_instant,
    refit,
    refit_due,
    refit_instants,
    search_due,
    training_rows,
)

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


@given(days=st.integers(1, 30), search=st.integers(1, 60), weeks=st.integers(0, 50))
def test_each_search_period_has_one_search_at_its_first_instant(days: int, search: int, weeks: int) -> None:
    params = RegimeParams(refit_days=days, search_days=search)
    start = MONDAY + weeks * WEEK_MS
    instants = refit_instants(start, start + 200 * DAY_MS, params)
    due = [search_due(instant, params) for instant in instants]
    if days >= search:
        assert all(due)
    searched = [instant for instant, wanted in zip(instants, due, strict=True) if wanted]
    assert all(after - before > (search - days) * DAY_MS for before, after in itertools.pairwise(searched))


def test_between_searches_a_fit_goes_on_from_the_model_before(known_market, weekly_params) -> None:
    params = dataclasses.replace(weekly_params, search_days=28)
    since_ms = int(known_market.frame.close_time[1900])
    results = fit_history(known_market.frame, known_market.asset, params, since_ms=since_ms)
    models = [result.model for result in results]
    for before, after in itertools.pairwise(models):
        assert after.previous_id == (None if search_due(after.valid_from_ms, params) else before.id)
    assert any(model.previous_id for model in models)


def test_chains_that_began_at_different_times_meet_at_the_next_search(known_market, weekly_params) -> None:
    params = dataclasses.replace(weekly_params, search_days=14)
    frame, close = known_market.frame, known_market.frame.close_time
    early = fit_history(frame, known_market.asset, params, since_ms=int(close[1500]))
    late = fit_history(frame, known_market.asset, params, since_ms=int(close[1900]))
    known = {result.instant_ms: result.model.id for result in early}
    searched = [result.instant_ms for result in late if search_due(result.instant_ms, params)]
    after = [result for result in late if result.instant_ms >= searched[0]]
    assert after
    assert all(known[result.instant_ms] == result.model.id for result in after)


def test_progress_is_told_of_every_instant(known_market, weekly_params) -> None:
    told: list[tuple[int, int]] = []
    since_ms = int(known_market.frame.close_time[2200])
    results = fit_history(
        known_market.frame, known_market.asset, weekly_params, since_ms=since_ms, on_progress=lambda *at: told.append(at)
    )
    assert told == [(done, len(results)) for done in range(1, len(results) + 1)]


def test_a_live_window_gives_the_model_of_the_whole_history(known_market, weekly_params) -> None:
    """The same id, although rolling features of a window differ in their last bits from those of the history."""
    candles = generate_market(np.random.default_rng(2), ["BTCUSDT"], Interval.H1, MONDAY, 2600).history["BTCUSDT"]
    whole, window = curate(candles), curate(candles[-1700:])
    for fit_all in (fit_history, fit_jump_history):
        newest = fit_all(whole, known_market.asset, weekly_params)[-1]
        alone = fit_all(window, known_market.asset, weekly_params, since_ms=newest.instant_ms)[-1]
        assert alone.model.id == newest.model.id
