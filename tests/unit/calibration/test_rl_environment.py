"""The world of the RL agent: rewards are the kernel's, observations are causal, episodes are the calendar's."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from shared.backtest.engine import backtest
from shared.backtest.market import AssetMarket
from shared.backtest.params import BacktestParams
from shared.backtest.venue_rules import symbol_spec
from shared.calibration.rl_environment import Episodes, World, training_rows
from shared.calibration.rl_evaluate import evaluate, targets
from shared.data.curation import curate
from shared.data.params import CurationParams
from shared.domain.asset import Asset
from shared.domain.candles import Candles
from shared.domain.errors import ModelError, NotEnoughData
from shared.domain.interval import HOUR_MS
from shared.risk.params import RiskParams
from shared.strategy.rl_observation import fitted_scaler, raw_columns
from shared.strategy.rl_policy import RlPolicy, follow

ASSET = Asset("binanceusdm", "BTCUSDT")
ACCOUNT, RISK, CURATION = BacktestParams(), RiskParams(), CurationParams()
LOOKBACK = CURATION.lookback_bars


def market_of(candles: Candles) -> AssetMarket:
    stamps = candles.open_time[::8].astype(np.int64)
    return AssetMarket(ASSET, candles, symbol_spec("BTCUSDT", float(candles.open[0])), (stamps, np.full(len(stamps), 1e-4)))


@pytest.fixture(scope="module")
def candles(walk: Callable[..., Candles]) -> Candles:
    return walk(6, LOOKBACK + 400, price=50_000.0, volatility=0.004)


@pytest.fixture(scope="module")
def policy(candles: Candles, rl_policy: Callable[..., RlPolicy]) -> RlPolicy:
    return rl_policy(curate(candles), seed=4)


@pytest.fixture
def world(candles: Candles, policy: RlPolicy) -> World:
    card = policy.card
    return World(market_of(candles), curate(candles), card.observation, card.shadow, card.action_threshold, ACCOUNT, RISK)


def played(world: World, policy: RlPolicy, seed: int) -> tuple[list[float], list[float], int]:
    """Rewards and positions of one episode that `policy` plays, and the row at which it began."""
    play, rewards, positions = Episodes(world), [], []
    seen = play.reset(np.random.default_rng(seed))
    first = play._episode.row if play._episode else -1
    while True:
        seen, step = play.step(policy.action(seen["market"], seen["portfolio"]))
        rewards.append(step.reward)
        positions.append(step.done.position)
        if step.ended or step.cut_off:
            return rewards, positions, first


def test_the_rewards_of_an_episode_are_the_log_return_of_the_kernel(world: World, policy: RlPolicy) -> None:
    rewards, positions, first = played(world, policy, 1)
    rows = slice(first, first + len(rewards) + 1)
    candles = world.market.candles[rows]
    path = follow(world.frame, policy)
    assert positions == path.position[first : first + len(positions)].tolist()
    signal = targets(path, 1.0)
    fraction = signal.fraction[rows].copy()
    fraction[-1] = np.nan
    result = backtest(
        [replace(world.market, candles=candles)],
        [replace(signal, fraction=fraction, stop_distance=signal.stop_distance[rows])],
        ACCOUNT,
        RISK,
        start_ms=int(candles.close_time[0]),
        end_ms=int(candles.close_time[-1]),
    )
    assert len(result.fills.time_ms) > 3
    assert sum(rewards) == pytest.approx(math.log(result.equity[-1] / ACCOUNT.capital), abs=1e-12)


def test_the_shadow_tells_nearly_what_the_kernel_says(world: World, policy: RlPolicy) -> None:
    rewards, _, first = played(world, policy, 2)
    shadow = follow(world.frame, policy).equity[first + len(rewards) - 1]
    assert math.exp(sum(rewards[:-1])) == pytest.approx(shadow, abs=0.01)


def test_doing_nothing_earns_nothing_and_costs_are_negative_rewards(world: World) -> None:
    play = Episodes(world)
    play.reset(np.random.default_rng(0))
    assert [play.step(0.0)[1].reward for _ in range(5)] == [0.0] * 5
    flat = replace(world, market=replace(world.market, candles=still(world.market.candles), funding=None))
    play = Episodes(flat)
    play.reset(np.random.default_rng(0))
    assert play.step(1.0)[1].reward < -5e-4
    assert play.step(0.0)[1].reward == pytest.approx(0.0, abs=1e-12)


def still(candles: Candles) -> Candles:
    price = np.full(len(candles), 50_000.0)
    return Candles(candles.interval, candles.open_time, price, price, price, price, candles.volume)


def test_the_observation_is_what_live_sees(world: World, policy: RlPolicy) -> None:
    play = Episodes(world)
    seen = play.reset(np.random.default_rng(3))
    spec = policy.card.observation
    assert seen["market"].shape == spec.market_shape
    assert seen["market"].dtype == seen["portfolio"].dtype == np.float32
    assert seen["portfolio"].tolist() == [0.0, 0.0, 0.0]
    seen, step = play.step(0.6)
    assert seen["portfolio"][2] == pytest.approx(0.6)
    assert step.done.operation.value == "open_long"


def test_an_account_that_is_latched_ends_the_episode(world: World) -> None:
    nervous = replace(world, risk=replace(RISK, max_drawdown=0.0004, pause_drawdowns=(), pause_hours=()))
    play = Episodes(nervous)
    play.reset(np.random.default_rng(0))
    steps = [play.step(1.0)[1] for _ in range(2)]
    assert any(step.ended for step in steps)


def test_episodes_with_a_gap_are_not_played(world: World, walk: Callable[..., Candles]) -> None:
    holed = walk(6, LOOKBACK + 400, price=50_000.0, missing=slice(LOOKBACK + 100, LOOKBACK + 110))
    other = replace(world, market=market_of(holed), frame=curate(holed))
    assert len(Episodes(world)) - len(Episodes(other)) in (1, 2)
    with pytest.raises(NotEnoughData, match="an episode takes 48 without a gap"):
        Episodes(replace(world, frame=world.frame.rows(slice(0, 40))))


def test_a_scaler_leaves_unknown_rows_out_and_constants_alone(candles: Candles) -> None:
    frame = curate(candles)
    means, scales = fitted_scaler(raw_columns(frame, ("rsi", "funding_rate")))
    known = frame["rsi"][np.isfinite(frame["rsi"])]
    assert (means[0], scales[0]) == pytest.approx((known.mean(), known.std()))
    assert (means[1], scales[1]) == (0.0, 1.0)
    with pytest.raises(NotEnoughData, match="the scaler needs 2"):
        fitted_scaler(np.full((5, 2), np.nan))


def test_training_rows_lie_wholly_inside_the_period(candles: Candles) -> None:
    times = candles.open_time
    rows = training_rows(candles, int(times[10]), int(times[20]))
    assert (rows.start, rows.stop) == (10, 20)
    assert training_rows(candles, int(times[10]) + 1, int(times[20]) + HOUR_MS - 1) == slice(11, 20)


def test_an_evaluation_counts_only_bars_after_the_training(
    walk: Callable[..., Candles], rl_policy: Callable[..., RlPolicy]
) -> None:
    candles = walk(8, LOOKBACK + 2600, price=50_000.0, volatility=0.004)
    market, row = market_of(candles), LOOKBACK + 300
    policy = rl_policy(curate(candles), seed=4, train_end_ms=int(candles.close_time[row]))
    result = evaluate(market, policy, CURATION, ACCOUNT, RISK, np.random.default_rng(0))
    assert result.start_ms == int(candles.close_time[row]) + HOUR_MS
    assert result.end_ms == int(candles.close_time[-1])
    assert result.policy.bars == result.buy_and_hold.bars
    assert sum(result.operations.values()) == len(candles) - row - 1
    assert result.judgement[0].startswith("out of sample the policy returned ")
    assert result.difference is not None
    assert result.difference.days >= 90
    other = replace(market, asset=Asset("binanceusdm", "ETHUSDT"))
    with pytest.raises(ModelError, match="was trained on"):
        evaluate(other, policy, CURATION, ACCOUNT, RISK, np.random.default_rng(0))
    with pytest.raises(NotEnoughData, match="fewer than two days are out of sample"):
        evaluate(replace(market, candles=candles[: row + 20]), policy, CURATION, ACCOUNT, RISK, np.random.default_rng(0))


def test_few_days_and_a_policy_that_never_trades_get_honest_words(
    walk: Callable[..., Candles], rl_policy: Callable[..., RlPolicy]
) -> None:
    candles = walk(8, LOOKBACK + 500, price=50_000.0)
    policy = rl_policy(curate(candles), seed=4)
    few = evaluate(market_of(candles), policy, CURATION, ACCOUNT, RISK, np.random.default_rng(0))
    assert few.judgement[-1].endswith("days are too few to tell skill from luck: do not trade on this")
    idle = RlPolicy(replace(policy.card, action_threshold=0.999999), policy.onnx)
    none = evaluate(market_of(candles), idle, CURATION, ACCOUNT, RISK, np.random.default_rng(0))
    if none.policy.trades == 0:
        assert none.judgement[-1] == "the policy closed no trade: there is nothing to judge"
