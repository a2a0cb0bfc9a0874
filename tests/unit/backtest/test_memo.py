"""A memo changes nothing but the time: every variant of a sweep has the score that it has alone."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.backtest.market import AssetMarket
from shared.backtest.memo import SignalMemo
from shared.backtest.system import PreparedAsset, RegimeMode, playbooks, prepare, signal_path
from shared.backtest.venue_rules import symbol_spec
from shared.domain.asset import Asset
from shared.domain.candles import Candles
from shared.domain.regime import REGIMES, Regime
from shared.risk.params import RiskParams
from shared.speed import LONG_ROWS
from shared.strategy.agents import AGENTS
from shared.strategy.orchestrator import consensus
from shared.strategy.params import AgentParams, AgentWeights, StrategyParams
from shared.trading.params import SystemParams

RISK = RiskParams()


def prepared_from(candles: Candles, seed: int, funding: tuple[np.ndarray, np.ndarray] | None = None) -> PreparedAsset:
    """An asset whose regimes and probabilities are random: every playbook gets its rows."""
    market = AssetMarket(Asset("binanceusdm", "BTCUSDT"), candles, symbol_spec("BTCUSDT", 100.0), funding)
    rng, n = np.random.default_rng(seed), len(candles)
    probabilities = rng.dirichlet([0.5, 0.5, 0.5], n)
    held = np.repeat(rng.integers(0, 3, n // 10 + 1), 10)[:n].astype(np.int8)
    probabilities[:50], held[:60] = np.nan, -1
    return replace(prepare(market, SystemParams(), mode=RegimeMode.OFF), probabilities=probabilities, held=held)


@pytest.fixture(scope="module")
def prepared(walk: Callable[..., Candles]) -> PreparedAsset:
    candles = walk(4, 2200)
    rates = np.random.default_rng(1).normal(1e-4, 5e-5, len(candles.open_time[::8]))
    return prepared_from(candles, 4, (candles.open_time[::8], rates))


def plain_score(prepared: PreparedAsset, strategy: StrategyParams) -> np.ndarray:
    """The score by the orchestrator alone, one playbook after the other."""
    score, merged = np.full(len(prepared.frame), np.nan), playbooks(strategy)
    for place, params in enumerate(merged):
        rows = prepared.held == place
        score[rows] = consensus(prepared.frame, prepared.probabilities, params).score[rows]
    score[: prepared.curation_bars + max(params.lookback_bars for params in merged)] = np.nan
    return score


WEIGHT = st.sampled_from([0.0, 0.25, 1.0, -0.5]) | st.floats(-2, 2)
AGENT = st.builds(
    AgentParams,
    st.builds(AgentWeights, WEIGHT, WEIGHT, WEIGHT, WEIGHT, WEIGHT, WEIGHT),
    st.lists(st.sampled_from(list(Regime)), min_size=0, max_size=3, unique=True).map(tuple),
    st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 4),
)
STRATEGY = st.builds(
    StrategyParams,
    breakout_bars=st.integers(2, 100),
    volatility_long_bars=st.integers(30, 300),
    liquidity_bars=st.integers(2, 60),
    funding_bars=st.integers(24, 400),
    surge_volume=st.floats(0.0, 2.0),
    minimum_regime_probability=st.floats(0, 1),
    stop_atr=st.floats(1, 5),
    trend_hunter=AGENT,
    mean_reversion=AGENT,
    volatility_filter=AGENT,
    liquidity_surfer=AGENT,
)


@settings(max_examples=25, deadline=None)
@given(strategy=STRATEGY)
def test_any_strategy_scores_as_the_orchestrator_says_to_the_bit(prepared: PreparedAsset, strategy: StrategyParams) -> None:
    assert np.array_equal(signal_path(prepared, strategy, RISK).score, plain_score(prepared, strategy), equal_nan=True)


VARIANTS = [
    StrategyParams(),
    StrategyParams(entry_threshold=0.3, stop_atr=2.0),
    StrategyParams(breakout_bars=72),
    StrategyParams(breakout_bars=72, volatility_long_bars=240),
    replace(StrategyParams(), trend_hunter=AgentParams(AgentWeights(momentum=2.0), share=0.5)),
    replace(StrategyParams(), mean_reversion=AgentParams(target_regimes=(Regime.STRESS,))),
    StrategyParams(minimum_regime_probability=0.6),
    StrategyParams(),
]


@pytest.mark.parametrize("max_bytes", [0, 200_000, 1 << 30])
def test_variants_share_a_memo_and_nothing_changes_whatever_is_forgotten(prepared: PreparedAsset, max_bytes: int) -> None:
    memo = SignalMemo(max_bytes)
    for strategy in VARIANTS:
        shared = signal_path(prepared, strategy, RISK, memo)
        alone = signal_path(prepared, strategy, RISK)
        for name in ("score", "volatility", "atr_fraction", "size_multiplier", "policy_index", "tradable"):
            assert np.array_equal(getattr(shared, name), getattr(alone, name), equal_nan=True), name
        assert shared.policies == alone.policies
    assert memo.held_bytes <= max(max_bytes, 8 * len(prepared.frame))


def test_a_threshold_costs_no_array_and_a_look_back_only_its_own(prepared: PreparedAsset) -> None:
    memo = SignalMemo()
    first = signal_path(prepared, StrategyParams(), RISK, memo)
    held = memo.held_bytes
    moved = signal_path(prepared, StrategyParams(entry_threshold=0.4, target_volatility=0.5, stop_atr=1.0), RISK, memo)
    assert moved.score is first.score
    assert memo.held_bytes == held
    signal_path(prepared, replace(StrategyParams(), trend_hunter=AgentParams(share=3.0)), RISK, memo)
    one_array = 8 * len(prepared.frame)
    assert memo.held_bytes - held <= 2 * one_array, "a new score and the votes of the reweighted agent"


def test_two_assets_do_not_mix(prepared: PreparedAsset, walk: Callable[..., Candles]) -> None:
    memo, other = SignalMemo(), prepared_from(walk(9, 2200), 9)
    one, two = signal_path(prepared, StrategyParams(), RISK, memo), signal_path(other, StrategyParams(), RISK, memo)
    assert np.array_equal(one.score, plain_score(prepared, StrategyParams()), equal_nan=True)
    assert np.array_equal(two.score, plain_score(other, StrategyParams()), equal_nan=True)


def test_a_playbook_that_never_comes_costs_nothing(prepared: PreparedAsset) -> None:
    memo, all_of_them = SignalMemo(), SignalMemo()
    calm = replace(prepared, held=np.minimum(prepared.held, REGIMES.index(Regime.CALM)))
    score = signal_path(calm, StrategyParams(), RISK, memo).score
    signal_path(prepared, StrategyParams(), RISK, all_of_them)
    assert np.array_equal(score, plain_score(calm, StrategyParams()), equal_nan=True)
    assert memo.held_bytes < all_of_them.held_bytes


def test_a_long_history_on_two_threads_scores_the_same(walk: Callable[..., Candles]) -> None:
    prepared = prepared_from(walk(2, LONG_ROWS + 100), 2)
    assert np.array_equal(
        signal_path(prepared, StrategyParams(), RISK).score, plain_score(prepared, StrategyParams()), equal_nan=True
    )


def test_every_agent_takes_part_somewhere(prepared: PreparedAsset) -> None:
    voted = consensus(prepared.frame, prepared.probabilities, StrategyParams())
    assert voted.active.any(axis=0).tolist() == [True] * len(AGENTS)


def test_a_memo_that_nobody_holds_frees_its_arrays_at_once(prepared: PreparedAsset) -> None:
    gc.collect()
    gc.disable()  # no cycle may keep hundreds of megabytes until a collection
    try:
        memo = SignalMemo()
        signal_path(prepared, StrategyParams(), RISK, memo)
        memory = weakref.ref(memo._memory)
        del memo
        assert memory() is None
    finally:
        gc.enable()
