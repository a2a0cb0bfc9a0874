from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.data.curation import curate
from shared.data.params import CurationParams
from shared.domain.errors import ModelError, NotEnoughData
from shared.domain.records import RegimeState
from shared.domain.regime import Regime
from shared.regime.classify import RegimeTracker, bars_needed, classify, track
from shared.regime.params import RegimeParams
from shared.regime.schedule import fit_history

RELAXED = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_rows_before_the_first_model_have_none(known_market, weekly_models, weekly_params) -> None:
    path = classify(known_market.frame, weekly_models, weekly_params)
    first = int(np.searchsorted(known_market.frame.close_time, weekly_models[0].valid_from_ms))
    assert path.bars_without_model == first
    assert np.isnan(path.probabilities[:first]).all()
    assert path.at(0) is None
    assert path.model_id(0) is None
    assert np.isfinite(path.probabilities[first:]).all()
    assert path.model_id(first) == weekly_models[0].id


def test_each_bar_uses_the_newest_model_that_is_valid_at_its_close(known_market, weekly_models, weekly_params) -> None:
    path = classify(known_market.frame, tuple(reversed(weekly_models)), weekly_params)
    for row in range(2100, len(known_market.frame), 37):
        close = int(known_market.frame.close_time[row])
        valid = [model for model in weekly_models if model.valid_from_ms <= close]
        assert path.model_id(row) == valid[-1].id


@RELAXED
@given(cut=st.integers(1, 3000))
def test_cutting_off_the_future_changes_no_row(known_market, weekly_models, weekly_params, cut: int) -> None:
    whole = classify(known_market.frame, weekly_models, weekly_params).probabilities[:cut]
    prefix = classify(known_market.frame.rows(slice(0, cut)), weekly_models, weekly_params).probabilities
    assert np.array_equal(whole, prefix, equal_nan=True)


@RELAXED
@given(end=st.integers(2200, 3000))
def test_a_trailing_window_gives_the_last_row(known_market, weekly_models, weekly_params, end: int) -> None:
    whole = classify(known_market.frame, weekly_models, weekly_params).probabilities
    window = known_market.frame.rows(slice(end - bars_needed(known_market.frame.interval, weekly_params), end))
    np.testing.assert_allclose(classify(window, weekly_models, weekly_params).probabilities[-1], whole[end - 1], atol=1e-9)


def test_windows_and_prefixes_of_real_candles_agree_across_refits(real_candles) -> None:
    candles = real_candles("binance_usdm/SOLUSDT/1h", slice(-2400, None))
    params = RegimeParams(train_bars=1000, burn_in_bars=200, restarts=2)
    from shared.domain.asset import Asset

    curation = CurationParams()
    frame = curate(candles, curation)
    since = int(frame.close_time[1500])
    models = [r.model for r in fit_history(frame, Asset("binanceusdm", "SOLUSDT"), params, since_ms=since) if r.fitted]
    assert len(models) >= 3
    whole = classify(frame, models, params).probabilities
    need = bars_needed(frame.interval, params) + curation.lookback_bars
    for end in range(1800, 2400, 83):
        prefix = classify(curate(candles[:end], curation), models, params).probabilities
        np.testing.assert_allclose(prefix, whole[:end], atol=1e-9)
        window = curate(candles[max(0, end - need) : end], curation)
        np.testing.assert_allclose(classify(window, models, params).probabilities[-1], whole[end - 1], atol=1e-9)


def test_models_of_a_shorter_history_are_the_same_models(known_market, weekly_models, weekly_params) -> None:
    frame = known_market.frame.rows(slice(0, 2500))
    results = fit_history(frame, known_market.asset, weekly_params, since_ms=int(frame.close_time[1900]))
    ids = [result.model.id for result in results if result.fitted]
    assert ids == [model.id for model in weekly_models[: len(ids)]]
    assert len(ids) >= 2


@pytest.mark.parametrize("stride", [1, 7])
def test_the_tracker_gives_the_bits_of_classify(known_market, weekly_models, weekly_params, stride: int) -> None:
    frame, size = known_market.frame, bars_needed(known_market.frame.interval, weekly_params)
    path = classify(frame, weekly_models, weekly_params)
    tracker = None
    for end in range(2300, 2900, stride):
        window = frame.rows(slice(end - size, end))
        tracker = track(tracker, window, path.models[path.model_index[end - 1]], weekly_params)
        assert tracker.alpha == tuple(path.probabilities[end - 1].tolist())
        assert tracker.bar_close_ms == int(frame.close_time[end - 1])


def test_the_same_bar_again_changes_nothing(known_market, weekly_models, weekly_params) -> None:
    window = known_market.frame.rows(slice(1900, 2900))
    tracker = RegimeTracker.started(window, weekly_models[-2], weekly_params)
    assert tracker.update(window, weekly_models[-2], weekly_params) is tracker
    assert tracker.update(window.rows(slice(0, 990)), weekly_models[-2], weekly_params) is tracker


def test_a_restart_from_the_ledger_goes_on_with_the_same_bits(known_market, weekly_models, weekly_params) -> None:
    model, frame = weekly_models[-2], known_market.frame
    before = RegimeTracker.started(frame.rows(slice(1900, 2900)), model, weekly_params)
    state = RegimeState(
        known_market.asset, before.bar_close_ms, before.probabilities, Regime.CALM, before.model_id, before.alpha, 5, 0
    )
    window = frame.rows(slice(1901, 2901))
    assert RegimeTracker.restored(state).update(window, model, weekly_params) == before.update(window, model, weekly_params)


def test_after_a_long_absence_the_burn_in_runs_again(known_market, weekly_models, weekly_params) -> None:
    frame, model = known_market.frame, weekly_models[0]
    old = RegimeTracker.started(frame.rows(slice(1500, 2150)), model, weekly_params)
    window = frame.rows(slice(2400, 2900))
    assert old.update(window, model, weekly_params) == RegimeTracker.started(window, model, weekly_params)


def test_a_model_of_the_future_is_refused(known_market, weekly_models, weekly_params) -> None:
    with pytest.raises(ModelError, match="use the model of the day"):
        RegimeTracker.started(known_market.frame.rows(slice(0, 500)), weekly_models[0], weekly_params)
    with pytest.raises(NotEnoughData, match="window is empty"):
        RegimeTracker.started(known_market.frame.rows(slice(0, 0)), weekly_models[0], weekly_params)


def test_no_models_give_no_probabilities(known_market, weekly_params) -> None:
    path = classify(known_market.frame, (), weekly_params)
    assert path.bars_without_model == len(known_market.frame)
