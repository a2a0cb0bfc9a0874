"""The audit passes what is honest and names what cheats, with the first bar and the probable cause."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shared.backtest.market import AssetMarket
from shared.backtest.venue_rules import symbol_spec
from shared.calibration.audit import Audit, audit, refuse_lookahead
from shared.calibration.audit_checks import Finding
from shared.calibration.audit_near import telling_rows
from shared.calibration.audit_subjects import plugin_subjects, subjects_of
from shared.data.curation import Series, curate
from shared.data.params import CurationParams
from shared.data.rolling import window_mean
from shared.domain.asset import Asset
from shared.domain.candles import Candles, FloatArray
from shared.domain.errors import NotEnoughData, UsageError
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


def test_a_rare_look_into_the_future_is_not_taken_for_a_long_memory(judge: Callable[..., Audit], candles: Candles) -> None:
    rows = {int(row) for row in np.linspace(CURATION.lookback_bars + 60, len(candles) - 1, 8)}
    peeks = {int(candles.open_time[row]) for row in rows}  # at the windows' bars, at none of the cuts'

    def rare(frame: Frame) -> FloatArray:
        ahead = np.sign(np.append(np.diff(frame["close"]), 0.0))
        return np.where([int(time) in peeks for time in frame.open_time], ahead, 0.0)

    finding = only(judge(rare))
    assert finding.check == "prefix"
    assert "reads 1 bar ahead here" in finding.cause


def confirmed(frame: Frame) -> FloatArray:
    """A breakout that waits for the next close: long on few bars, and one bar too early."""
    close, score = frame["close"], np.zeros(len(frame))
    for row in range(72, len(frame) - 1):
        score[row] = float(close[row] > frame["high"][row - 72 : row].max() and close[row + 1] > close[row])
    return score


def peeking(frame: Frame) -> FloatArray:
    """Looks ahead on one of 97 bars."""
    close, score = frame["close"], np.zeros(len(frame))
    rows = np.arange(5, len(frame) - 1, 97)
    score[rows] = np.sign(close[rows + 1] - close[rows])
    return score


def blended(frame: Frame) -> FloatArray:
    """An honest score that is never silent, with a look ahead where the hour allows it."""
    honest = np.tanh(50 * np.nan_to_num(change(frame)))
    ahead = np.append(np.diff(frame["close"]), 0.0)
    return np.where(frame.open_time // frame.interval.ms % 50 == 0, np.sign(ahead), honest)


def vetoed(frame: Frame) -> FloatArray:
    """Keeps silent where the next close will fall: what it says is honest, what it does not say is not."""
    ahead = np.append(np.diff(frame["close"]), 0.0)
    rare = frame["close"] >= np.concatenate([[0.0], frame["close"][:-1]]) * 1.015
    return np.where(rare & (ahead >= 0), 1.0, 0.0)


@pytest.mark.parametrize(("compute", "lookback_bars"), [(confirmed, 80), (peeking, 5), (blended, 2), (vetoed, 2)])
def test_a_look_ahead_on_few_bars_is_found_behind_one_of_them(
    judge: Callable[..., Audit], candles: Candles, compute: Callable[[Frame], FloatArray], lookback_bars: int
) -> None:
    finding = only(judge(compute, lookback_bars))
    assert (finding.check, finding.column) == ("prefix", "score")
    assert "it reads 1 bar ahead here" in finding.cause
    row = int(np.searchsorted(candles.close_time, finding.bar_close_ms))
    values = [compute(curate(candles[:end], CURATION))[row] for end in (row + 1, row + 2, len(candles))]
    assert (values[0], values[1]) == (finding.cut, finding.full)
    assert values[1] == values[2]
    market = AssetMarket(Asset("binanceusdm", "BTCUSDT"), candles, symbol_spec("BTCUSDT", 100.0))
    with pytest.raises(UsageError, match="fails the prefix check"):
        refuse_lookahead([market], [Plugin("mine", compute, lookback_bars)], CURATION)


def test_a_rare_look_ahead_is_found_beside_a_look_back_that_is_too_short(judge: Callable[..., Audit]) -> None:
    def both(frame: Frame) -> FloatArray:
        return np.where(window_mean(change(frame), 300) > 0, confirmed(frame), 0.0)

    assert only(judge(both, lookback_bars=5)).check == "prefix"


def test_a_plugin_that_needs_more_rows_than_it_declares_is_asked_on_its_whole_past(judge: Callable[..., Audit]) -> None:
    def demanding(frame: Frame) -> FloatArray:
        if len(frame) < 100:
            raise ValueError("too few rows")
        return np.sign(np.nan_to_num(change(frame)))

    assert judge(demanding, lookback_bars=2).passed


def test_cuts_fall_behind_the_bars_that_tell_most() -> None:
    column = np.zeros(1000)
    column[[100, 101, 500]] = [1.0, 1.0, -1.0]
    rows = telling_rows({"score": column}, 50, 40)
    assert {100, 102, 500, 501} <= set(rows.tolist())  # where it begins, and where it ends
    assert rows.min() >= 50
    assert len(rows) == 40
    assert np.diff(rows).max() < 110
    assert telling_rows({"score": column}, 50, 5000).tolist() == list(range(50, 1000))


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
        (lambda frame: sys.exit(0), "failed at test_audit.py.*SystemExit"),
    ],
)
def test_an_answer_that_is_none_is_a_finding(judge: Callable[..., Audit], compute: Callable[..., Any], words: str) -> None:
    finding = only(judge(compute))
    assert finding.check == "answer"
    assert re.search(words, finding.cause)


def test_a_plugin_that_reads_what_another_one_saw_is_found(candles: Candles) -> None:
    seen: dict[int, float] = {}

    def honest(frame: Frame) -> FloatArray:
        seen.update(zip(frame.open_time.tolist(), frame["close"].tolist(), strict=True))
        return np.zeros(len(frame))

    def thief(frame: Frame) -> FloatArray:
        after = np.array([seen.get(time + frame.interval.ms, np.nan) for time in frame.open_time.tolist()])
        return np.nan_to_num(np.sign(after - frame["close"]))

    for order in (1, -1):
        seen.clear()
        plugins = [Plugin("honest", honest, 2), Plugin("thief", thief, 2)][::order]
        result = audit(candles, plugin_subjects(plugins), CURATION, cuts=8, windows=4)
        assert {finding.subject for finding in result.findings} == {"thief"}


@pytest.mark.parametrize("column", ["open_interest", "funding_rate"])
def test_a_shift_of_a_column_without_a_source_is_found(judge: Callable[..., Audit], column: str) -> None:
    def shifted(frame: Frame) -> FloatArray:
        values = frame[column]
        return np.sign(np.nan_to_num(np.append(values[8:], np.full(8, np.nan)) - values))

    assert only(judge(shifted)).check == "prefix"


def test_a_feature_that_reads_a_rate_before_it_is_known_is_found(candles: Candles, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaking(part: Candles, params: CurationParams, funding: Series, open_interest: Series) -> Frame:
        frame = curate(part, params, funding, open_interest)
        ahead = np.searchsorted(funding[0], frame.close_time, side="left")
        return replace(frame, columns={**frame.columns, "funding_rate": np.append(funding[1], np.nan)[ahead]})

    stamps = candles.close_time[::8]
    monkeypatch.setattr("shared.calibration.audit_checks.curate", leaking)
    features = subjects_of(CURATION, STRATEGY)[:1]
    result = audit(candles, features, CURATION, funding=(stamps, np.sin(stamps.astype(float))), cuts=8, windows=0)
    assert only(result).column == "funding_rate"


def lifted(frame: Frame) -> FloatArray:
    frame["close"].flags.writeable = True
    frame["close"][:] = 1.0
    return np.zeros(len(frame))


def reordered(frame: Frame) -> FloatArray:
    frame.open_time.flags.writeable = True
    frame.open_time[:] = frame.open_time[::-1].copy()
    return np.zeros(len(frame))


@pytest.mark.parametrize(("compute", "column"), [(lifted, "close"), (reordered, "open_time")])
def test_a_write_is_found_and_reaches_nobody_else(
    candles: Candles, compute: Callable[[Frame], FloatArray], column: str
) -> None:
    before = candles.close.copy(), candles.open_time.copy()
    plugins = [Plugin("vandal", compute, 2), Plugin("honest", lambda frame: np.sign(change(frame)), 2)]
    result = audit(candles, plugin_subjects(plugins), CURATION, cuts=4, windows=4)
    assert only(result).subject == "vandal"
    assert f"wrote into {column}" in only(result).cause
    assert np.array_equal(candles.close, before[0])
    assert np.array_equal(candles.open_time, before[1])


def test_an_oracle_is_refused_before_it_is_measured(candles: Candles) -> None:
    market = AssetMarket(Asset("binanceusdm", "BTCUSDT"), candles, symbol_spec("BTCUSDT", 100.0))
    oracle = Plugin("oracle", lambda frame: np.sign(np.append(np.diff(frame["close"]), 0.0)), 2)
    honest = Plugin("honest", lambda frame: np.sign(change(frame)), 2)
    refuse_lookahead([market], [honest], CURATION)
    with pytest.raises(UsageError, match=r"plug-in oracle fails the prefix check at .* of BTCUSDT: it reads 1 bar ahead"):
        refuse_lookahead([market], [honest, oracle], CURATION)
    refuse_lookahead([replace(market, candles=candles[:10])], [], CURATION)


def test_too_few_bars_are_refused(candles: Candles) -> None:
    with pytest.raises(NotEnoughData, match="needs"):
        audit(candles[:500], subjects_of(CURATION, STRATEGY), CURATION)
