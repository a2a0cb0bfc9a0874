"""The audit passes what is honest and names what cheats, with the first bar and the probable cause."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from shared.calibration.audit import Audit, Finding, audit, subjects_of
from shared.data.params import CurationParams
from shared.data.rolling import window_mean
from shared.domain.candles import Candles, FloatArray
from shared.domain.errors import NotEnoughData
from shared.domain.frame import Frame
from shared.strategy.params import StrategyParams
from shared.strategy.plugins import Plugin

CURATION, STRATEGY = CurationParams(), StrategyParams()
OURS = len(subjects_of(CURATION, STRATEGY))


@pytest.fixture(scope="module")
def candles(walk: Callable[..., Candles]) -> Candles:
    return walk(5, 2200, volatility=0.01)


@pytest.fixture
def judge(candles: Candles) -> Callable[..., Audit]:
    """The audit of one plug-in alone."""

    def run(compute: Callable[[Frame], Any], lookback_bars: int = 60) -> Audit:
        subjects = subjects_of(CURATION, STRATEGY, [Plugin("mine", compute, lookback_bars)])[OURS:]
        return audit(candles, subjects, CURATION, cuts=8, windows=8)

    return run


def only(result: Audit) -> Finding:
    assert len(result.findings) == 1
    return result.findings[0]


def change(frame: Frame, bars: int = 1) -> FloatArray:
    """Log return over `bars`; NaN in the first rows."""
    moved = np.full(len(frame), np.nan)
    moved[bars:] = np.log(frame["close"][bars:] / frame["close"][:-bars])
    return moved


def test_our_own_features_alphas_and_agents_pass(candles: Candles) -> None:
    result = audit(candles, subjects_of(CURATION, STRATEGY), CURATION, cuts=5, windows=4)
    assert result.passed, result.findings
    assert {subject.kind for subject in result.subjects} == {"features", "alpha", "agent"}


def test_an_honest_plugin_passes(judge: Callable[..., Audit]) -> None:
    assert judge(lambda frame: np.tanh(100 * window_mean(change(frame), 50))).passed


def test_a_shift_into_the_future_is_named_with_its_bar(judge: Callable[..., Audit], candles: Candles) -> None:
    def shifted(frame: Frame) -> FloatArray:
        return np.sign(np.append(change(frame)[1:], np.nan))

    finding = only(judge(shifted))
    assert (finding.check, finding.column) == ("prefix", "score")
    assert "1 bar ahead: a shift by -1" in finding.cause
    first_cut = (CURATION.lookback_bars + 60) // 2
    assert finding.bar_close_ms == int(candles.close_time[first_cut - 1])
    assert finding.cut is None
    assert finding.full in (-1.0, 1.0)


def test_a_centred_window_is_named(judge: Callable[..., Audit]) -> None:
    def centred(frame: Frame) -> FloatArray:
        mean = window_mean(change(frame), 9)
        return np.tanh(100 * np.append(mean[4:], np.full(4, np.nan)))

    finding = only(judge(centred))
    assert finding.check == "prefix"
    assert "4 bars ahead: a shift by -4, or a centred window of 9 bars" in finding.cause


def test_a_statistic_of_the_whole_series_is_named(judge: Callable[..., Audit]) -> None:
    finding = only(judge(lambda frame: np.tanh((frame["close"] - frame["close"].mean()) / frame["close"].std())))
    assert finding.check == "prefix"
    assert "statistic of the whole series" in finding.cause
    assert finding.difference is not None
    assert finding.difference > 0


def test_a_cumulative_mean_has_no_bounded_memory(judge: Callable[..., Audit]) -> None:
    def cumulative(frame: Frame) -> FloatArray:
        moved = np.nan_to_num(change(frame))
        return np.tanh(500 * np.cumsum(moved) / np.arange(1, len(moved) + 1))

    finding = only(judge(cumulative))
    assert finding.check == "window"
    assert "remembers everything" in finding.cause


def test_a_lookback_that_is_too_short_is_told_apart_from_none(judge: Callable[..., Audit]) -> None:
    def long(frame: Frame) -> FloatArray:
        return np.tanh(100 * window_mean(change(frame), 900))

    finding = only(judge(long, lookback_bars=5))
    assert finding.check == "window"
    assert "more than the declared look-back of 5 bars" in finding.cause
    assert judge(long, lookback_bars=910).passed


def test_global_state_is_found_where_it_changes_answers(judge: Callable[..., Audit]) -> None:
    calls: list[int] = []

    def counting(frame: Frame) -> FloatArray:
        calls.append(1)
        return np.full(len(frame), np.tanh(len(calls) / 50))

    finding = only(judge(counting))
    assert finding.check == "repetition"
    assert "global state" in finding.cause


def test_a_memory_of_longer_histories_does_not_hide_the_future(judge: Callable[..., Audit]) -> None:
    seen: dict[int, FloatArray] = {}

    def peeking(frame: Frame) -> FloatArray:
        first = int(frame.open_time[0])
        if len(seen.get(first, ())) < len(frame):
            seen[first] = np.sign(np.append(np.diff(frame["close"]), 0.0))
        return seen[first][: len(frame)]

    assert only(judge(peeking)).check == "prefix"


@pytest.mark.parametrize(
    ("compute", "words"),
    [
        (lambda frame: frame["close"], "expected values in \\[-1, 1\\]"),
        (lambda frame: np.zeros(3), "shape \\(3,\\)"),
        (lambda frame: frame["close"] + {}, "failed at test_audit.py"),
        (lambda frame: frame["close"].sort(), "read-only"),
    ],
)
def test_an_answer_that_is_none_is_a_finding(judge: Callable[..., Audit], compute: Callable[..., Any], words: str) -> None:
    finding = only(judge(compute))
    assert finding.check == "answer"
    assert re.search(words, finding.cause)


def test_too_few_bars_are_refused(candles: Candles) -> None:
    with pytest.raises(NotEnoughData, match="needs"):
        audit(candles[:500], subjects_of(CURATION, STRATEGY), CURATION)
