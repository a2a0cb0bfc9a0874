"""Prefix and window invariance of every alpha, agent and the consensus, on generated and real candles."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.data.curation import curate
from shared.data.params import CurationParams
from shared.domain.candles import Candles
from shared.strategy.orchestrator import Consensus, consensus
from shared.strategy.params import StrategyParams

PARAMS = StrategyParams()
LOOKBACK = CurationParams().lookback_bars + PARAMS.lookback_bars


@pytest.fixture(scope="session")
def evaluate(probabilities_for: Callable[..., Any]) -> Callable[..., Consensus]:
    def run(candles: Candles, funding: Any, interest: Any = None) -> Consensus:
        frame = curate(candles, funding=funding, open_interest=interest)
        return consensus(frame, probabilities_for(frame), PARAMS)

    return run


def assert_same_row(whole: Consensus, row: int, part: Consensus, part_row: int, tolerance: float) -> None:
    for name in whole.alphas:
        assert abs(part.alphas[name][part_row] - whole.alphas[name][row]) <= tolerance, (name, row)
    assert np.abs(part.votes[part_row] - whole.votes[row]).max() <= tolerance, row
    assert (part.active[part_row] == whole.active[row]).all(), row
    assert np.abs(part.weights[part_row] - whole.weights[row]).max() <= tolerance, row
    assert abs(part.score[part_row] - whole.score[row]) <= tolerance, row


SHAPES = given(
    seed=st.integers(0, 10**6),
    tick=st.sampled_from([0.0, 0.1, 2.0]),
    drift=st.sampled_from([0.0, 0.001, -0.002]),
    frozen_bars=st.sampled_from([0, 40, 400]),
)


def generated(walk: Callable[..., Candles], seed: int, tick: float, drift: float, frozen_bars: int) -> Candles:
    start = 700 + seed % 500
    frozen, missing = slice(start, start + frozen_bars), slice(start + 420, start + 430)
    return walk(seed, 2000, tick=tick, drift=drift, frozen=frozen, missing=missing)


@settings(max_examples=15, deadline=None)
@SHAPES
def test_cutting_off_the_future_changes_nothing(
    walk: Callable[..., Candles],
    funding_for: Callable[..., Any],
    evaluate: Callable[..., Consensus],
    seed: int,
    tick: float,
    drift: float,
    frozen_bars: int,
) -> None:
    candles = generated(walk, seed, tick, drift, frozen_bars)
    funding = funding_for(candles, seed)
    whole = evaluate(candles, funding, funding)
    for end in np.random.default_rng(seed).integers(1, len(candles), 5).tolist():
        part = evaluate(candles[:end], funding, funding)
        for row in range(max(0, end - 20), end):
            assert_same_row(whole, row, part, row, tolerance=0.0)


@settings(max_examples=15, deadline=None)
@SHAPES
def test_a_trailing_window_gives_the_row_of_the_full_history(
    walk: Callable[..., Candles],
    funding_for: Callable[..., Any],
    evaluate: Callable[..., Consensus],
    seed: int,
    tick: float,
    drift: float,
    frozen_bars: int,
) -> None:
    candles = generated(walk, seed, tick, drift, frozen_bars)
    funding = funding_for(candles, seed)
    whole = evaluate(candles, funding, funding)
    for row in np.random.default_rng(seed).integers(LOOKBACK, len(candles), 6).tolist():
        part = evaluate(candles[row + 1 - LOOKBACK : row + 1], funding, funding)
        assert_same_row(whole, row, part, -1, tolerance=1e-9)


@pytest.mark.parametrize(
    ("name", "symbol"),
    [("binance_usdm/BTCUSDT/1h", "BTCUSDT"), ("binance_usdm/SOLUSDT/1h", "SOLUSDT"), ("binance_usdm/FTTUSDT/1h", "ETHUSDT")],
)
def test_real_candles_are_invariant_to_prefix_and_window(
    real_candles: Callable[..., Candles],
    real_funding: Callable[[str], Any],
    evaluate: Callable[..., Consensus],
    name: str,
    symbol: str,
) -> None:
    rows = slice(2_500, 8_500) if "FTT" in name else slice(-6_000, None)
    candles, funding = real_candles(name, rows), real_funding(symbol)
    whole = evaluate(candles, funding)
    rng = np.random.default_rng(5)
    for end in rng.integers(100, len(candles), 3).tolist():
        part = evaluate(candles[:end], funding)
        for row in range(0, end, 97):
            assert_same_row(whole, row, part, row, tolerance=0.0)
    for row in rng.integers(LOOKBACK, len(candles), 60).tolist():
        assert_same_row(whole, row, evaluate(candles[row + 1 - LOOKBACK : row + 1], funding), -1, tolerance=1e-9)


def test_a_live_window_is_small() -> None:
    assert LOOKBACK <= 1200
