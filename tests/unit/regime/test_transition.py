from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.asset import Asset
from shared.domain.records import RegimeState
from shared.domain.regime import REGIMES, Regime, RegimeProbabilities
from shared.regime.params import RegimeParams
from shared.regime.transition import NOTHING_HELD, TransitionRecord, TransitionState, advance, held_regimes
from shared.speed import LOOP_ROWS

PARAMS = RegimeParams()
CALM, MIXED, STRESS = (
    RegimeProbabilities(0.9, 0.1, 0.0),
    RegimeProbabilities(0.3, 0.4, 0.3),
    RegimeProbabilities(0.05, 0.1, 0.85),
)
weights = st.tuples(*[st.floats(0.001, 1.0)] * 3)
paths = st.lists(weights.map(lambda w: RegimeProbabilities(*(x / sum(w) for x in w))), min_size=1, max_size=60)


def run(
    path: list[RegimeProbabilities], state: TransitionState | None = None, first: int = 1
) -> tuple[TransitionState, list[TransitionRecord]]:
    state, records = state or TransitionState(), []
    for close, probabilities in enumerate(path, first):
        state, record = advance(state, probabilities, close, PARAMS)
        records.append(record)
    return state, records


def test_the_record_has_the_fields_of_the_reference_document() -> None:
    _, records = run([STRESS] * 3)
    assert records[-1].as_dict() == {
        "transition_detected": True,
        "current_regime": "stress",
        "dominant_regime": "stress",
        "ema_probability": pytest.approx(0.85),
        "raw_probabilities": {"calm": 0.05, "balanced": 0.1, "stress": 0.85},
        "reason": "persistent_transition_to_stress",
    }


def test_three_observations_come_before_the_first_transition() -> None:
    _, records = run([CALM] * 4)
    assert [record.transition_detected for record in records] == [False, False, True, False]
    assert [record.reason for record in records] == [
        "warming_up",
        "warming_up",
        "persistent_transition_to_calm",
        "holding_calm",
    ]


def test_one_loud_bar_is_no_transition() -> None:
    state, _ = run([*[CALM] * 10, STRESS, *[CALM] * 3])
    assert state.regime is Regime.CALM


def test_the_last_regime_holds_when_none_is_clear() -> None:
    state, records = run([*[CALM] * 5, *[MIXED] * 50])
    assert state.regime is Regime.CALM
    assert not any(record.transition_detected for record in records[5:])


def test_ema_and_hysteresis_decide_the_bar_of_the_change() -> None:
    # From EMA 0.9 calm: stress averages 0.85 (1 − 0.7^k), 0.607 at k = 4 (0.6 exceeded; calm 0.254 < 0.35).
    _, records = run([*[CALM] * 5, *[STRESS] * 5])
    assert [record.transition_detected for record in records[5:]] == [False, False, False, True, False]
    assert records[7].ema_probability == pytest.approx(0.85 * (1 - 0.7**3))


def test_exit_hysteresis_holds_a_regime_that_is_not_yet_gone() -> None:
    reluctant = RegimeParams(exit_threshold=0.1)
    state, path = TransitionState(Regime.CALM, (0.9, 0.1, 0.0), 10, 0), RegimeProbabilities(0.2, 0.0, 0.8)
    for close in range(1, 30):
        state, _ = advance(state, path, close, reluctant)
    assert state.regime is Regime.CALM  # stress is at 0.8, but calm never falls below 0.1


def test_the_same_bar_counts_once() -> None:
    state, _ = run([STRESS] * 2)
    again, record = advance(state, STRESS, 2, PARAMS)
    assert again is state
    assert record.reason == "same_bar"


@given(path=paths, cut=st.integers(0, 60))
def test_a_restart_from_the_ledger_changes_nothing(path: list[RegimeProbabilities], cut: int) -> None:
    cut = min(cut, len(path))
    whole, records = run(path)
    state, first = run(path[:cut])
    if cut:
        assert state.ema is not None
        row = RegimeState(
            Asset("binanceusdm", "BTCUSDT"), cut, path[cut - 1], state.regime, "m", state.ema, state.observations, 0
        )
        state = TransitionState.restored(row)
    resumed, rest = run(path[cut:], state, cut + 1)
    assert resumed == whole
    assert first + rest == records


@given(path=paths)
def test_a_held_regime_was_entered_above_the_threshold(path: list[RegimeProbabilities]) -> None:
    _, records = run(path)
    for record in records:
        assert not record.transition_detected or (
            record.ema_probability > PARAMS.enter_threshold and record.current_regime is record.dominant_regime
        )


@settings(deadline=None)  # the first long one may have to be compiled
@given(path=paths, first=st.integers(0, 5), long=st.booleans())
def test_held_regimes_of_a_history_are_those_of_a_bar_by_bar_session(
    path: list[RegimeProbabilities], first: int, long: bool
) -> None:
    path = path * (1 + LOOP_ROWS // len(path)) if long else path
    rows = np.array([list(probabilities.as_dict().values()) for probabilities in path])
    held = held_regimes(rows, PARAMS, first)
    assert set(held[:first].tolist()) <= {NOTHING_HELD}
    state = TransitionState()
    for row, probabilities in enumerate(path[first:300], start=first):
        state, _ = advance(state, probabilities, row, PARAMS)
        assert held[row] == REGIMES.index(state.regime)


def test_no_bars_hold_nothing() -> None:
    assert held_regimes(np.empty((0, 3)), PARAMS).tolist() == []
    assert held_regimes(np.full((4, 3), np.nan), PARAMS, first=4).tolist() == [NOTHING_HELD] * 4
