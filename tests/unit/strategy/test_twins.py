"""The machine-code twins of the alphas' helpers give the bits of the numpy form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from shared import speed
from shared.data.curation import curate
from shared.domain.candles import Candles
from shared.domain.frame import Frame
from shared.domain.interval import Interval
from shared.speed import LONG_ROWS, SHORT_ROWS
from shared.strategy import series, series_compiled
from shared.strategy.agents import AGENTS
from shared.strategy.alphas import ALPHAS
from shared.strategy.alphas.order_block_quality import _compiled_support, _support, find_order_blocks
from shared.strategy.orchestrator import consensus
from shared.strategy.params import StrategyParams

NUMBERS = st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, float("nan")])
COLUMN = arrays(np.float64, 40, elements=NUMBERS)


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.array_equal(one, other, equal_nan=True))


@pytest.mark.filterwarnings("ignore:overflow encountered")  # a quotient of extremes, in both forms
@settings(max_examples=60, deadline=None)
@given(one=COLUMN, other=COLUMN, low=st.floats(-5, 5), width=st.floats(0.1, 50), bars=st.integers(1, 30))
def test_helpers(one: np.ndarray, other: np.ndarray, low: float, width: float, bars: int) -> None:
    assert len(one) < SHORT_ROWS
    assert same(series.ratio(one, other), series_compiled.ratio(one, other))
    assert same(series.known_ratio(one, other), series_compiled.known_ratio(one, other))
    assert same(series.ramp(one, low, low + width), series_compiled.ramp(one, low, low + width))
    assert same(series.bounded(one), series_compiled.bounded(one))
    assert same(series.fading(one > other, bars), series_compiled.fading(one > other, bars))
    close = np.abs(np.nan_to_num(other)) + 1.0
    frame = Frame(Interval.H1, np.arange(40, dtype=np.int64), {"atr": np.abs(other), "close": close})
    assert same(series.in_atr(one, frame), series_compiled.in_atr(one, np.abs(other), close, series.STILL))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    tick=st.sampled_from([0.0, 0.1, 2.0]),
    frozen_bars=st.sampled_from([0, 40, 400]),
    swing_bars=st.integers(1, 6),
    displacement_atr=st.sampled_from([0.2, 0.8, 1.5]),
    max_age_bars=st.sampled_from([1, 7, 96, 2000]),
)
def test_order_blocks(
    walk: Callable[..., Candles],
    seed: int,
    tick: float,
    frozen_bars: int,
    swing_bars: int,
    displacement_atr: float,
    max_age_bars: int,
) -> None:
    frame = curate(walk(seed, 1200, tick=tick, frozen=slice(500, 500 + frozen_bars)))
    params = StrategyParams(swing_bars=swing_bars, displacement_atr=displacement_atr, order_block_max_age_bars=max_age_bars)
    for bullish in (True, False):
        assert find_order_blocks(frame, params, bullish=bullish) or displacement_atr > 1 or max_age_bars < 10
        assert same(_support(frame, bullish=bullish, params=params), _compiled_support(frame, bullish=bullish, params=params))


def test_a_history_and_its_pieces_in_numpy_agree_to_the_bit(
    walk: Callable[..., Candles], funding_for: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    candles = walk(7, LONG_ROWS + 500)
    funding, params = funding_for(candles), StrategyParams()
    probabilities = np.full((len(candles), 3), 1 / 3)
    whole_frame = curate(candles, funding=funding)
    whole = consensus(whole_frame, probabilities, params)
    monkeypatch.setattr(speed, "SHORT_ROWS", 1 << 60)
    short = curate(candles[:4000], funding=funding)
    part = consensus(short, probabilities[: len(short)], params)
    for name in short.columns:
        assert same(short[name], whole_frame[name][: len(short)]), name
    assert same(part.score, whole.score[: len(short)])
    assert same(part.votes, whole.votes[: len(short)])


CHANGED = {
    name: value * 1.1 if isinstance(value, float) else value + 1
    for name in StrategyParams.__dataclass_fields__
    if isinstance(value := getattr(StrategyParams(), name), int | float)
}
CHANGED |= {"exit_threshold": 0.12, "adx_full": 40.0}


def _read(part: Any, frame: Frame, params: StrategyParams) -> tuple[np.ndarray, Any]:
    if part.name in ALPHAS:
        return part.compute(frame, params), 0.0
    reading = part.read(frame, params)
    return reading.entry, reading.conviction


@pytest.mark.parametrize("part", [*ALPHAS.values(), *AGENTS], ids=lambda part: part.name)
def test_what_a_part_does_not_declare_it_does_not_read(part: Any, walk: Callable[..., Candles], funding_for: Any) -> None:
    candles = walk(5, 1500)
    frame, base = curate(candles, funding=funding_for(candles), open_interest=funding_for(candles, 2)), StrategyParams()
    value, conviction = _read(part, frame, base)
    assert part.reads is not None
    assert set(part.reads) <= set(CHANGED)
    for name, changed in CHANGED.items():
        other, other_conviction = _read(part, frame, StrategyParams(**{name: changed}))
        unchanged = same(value, other) and np.array_equal(conviction, other_conviction)
        if name in part.reads:
            assert not unchanged or name in ("funding_floor",), f"{part.name} declares {name}, which changes nothing"
        else:
            assert unchanged, f"{part.name} reads {name} and does not declare it"


def test_no_part_reads_how_agents_are_weighted(walk: Callable[..., Candles]) -> None:
    frame, base = curate(walk(5, 900)), StrategyParams()
    changed = replace(base, **{agent.name: replace(agent.settings(base), share=9.0) for agent in AGENTS})
    for part in (*ALPHAS.values(), *AGENTS):
        assert same(_read(part, frame, base)[0], _read(part, frame, changed)[0])
