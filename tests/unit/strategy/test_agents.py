from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shared.data.curation import curate
from shared.domain.candles import Candles, FloatArray
from shared.domain.frame import Frame
from shared.domain.regime import Regime
from shared.strategy.agents import AGENT_NAMES, AGENTS
from shared.strategy.alphas import compute_alphas
from shared.strategy.params import AgentParams, AgentWeights, StrategyParams

PARAMS = StrategyParams()
BY_NAME = {agent.name: agent for agent in AGENTS}


def signal(name: str, frame: Frame, params: StrategyParams = PARAMS) -> FloatArray:
    agent = BY_NAME[name]
    return agent.generate_signal(agent.read(frame, params), compute_alphas(frame, params), params)


def entry(name: str, frame: Frame) -> FloatArray:
    return BY_NAME[name].read(frame, PARAMS).entry


def test_there_are_six_agents_and_each_has_its_settings() -> None:
    names = "trend_hunter mean_reversion breakout_hunter volatility_filter sentiment_scout liquidity_surfer"
    assert " ".join(AGENT_NAMES) == names
    for agent in AGENTS:
        assert isinstance(agent.settings(PARAMS), AgentParams)
        assert isinstance(agent.weights(PARAMS), AgentWeights)


def test_the_trend_hunter_goes_with_the_trend(trend: Callable[..., Frame]) -> None:
    assert signal("trend_hunter", trend(0.004))[200:].min() > 0.3
    assert signal("trend_hunter", trend(-0.004))[200:].max() < -0.3


def test_mean_reversion_fades_a_stretched_move_in_a_range(walk: Callable[..., Candles]) -> None:
    candles = walk(4, 900)
    # Pulling the walk back to its start makes a range.
    scale = np.exp(-0.8 * np.log(candles.close / 100.0))
    prices = (getattr(candles, name) * scale for name in ("open", "high", "low", "close"))
    opened, high, low, close = prices
    high, low = np.maximum(high, np.maximum(opened, close)), np.minimum(low, np.minimum(opened, close))
    frame = curate(Candles(candles.interval, candles.open_time, opened, high, low, close, candles.volume))
    rule = entry("mean_reversion", frame)[100:]
    stretched = frame["close"][100:] - frame["bollinger_middle"][100:]
    acts = rule != 0
    assert 5 < acts.sum() < 300
    assert (np.sign(rule[acts]) == -np.sign(stretched[acts])).all()
    assert ((frame["rsi"][100:][acts] > 50) == (rule[acts] < 0)).all()


def test_mean_reversion_does_not_fade_a_strong_trend(trend: Callable[..., Frame]) -> None:
    assert (entry("mean_reversion", trend(0.004))[200:] == 0).all()


def test_a_breakout_counts_in_full_and_fades(walk: Callable[..., Candles]) -> None:
    candles = walk(1, 300, volatility=0.001)
    close, high = candles.close.copy(), candles.high.copy()
    close[250] = high[250] = 1.2 * float(candles.high[:250].max())
    frame = curate(Candles(candles.interval, candles.open_time, candles.open, high, candles.low, close, candles.volume))
    rule = entry("breakout_hunter", frame)
    assert rule[250] == 1.0
    assert rule[250] > rule[253] > rule[256] > 0
    assert np.isnan(rule[:48]).all()


def test_the_volatility_filter_votes_for_nothing_with_a_weight_that_grows_from_zero_with_the_pressure(
    real_candles: Callable[..., Candles],
) -> None:
    frame = curate(real_candles("binance_usdm/BTCUSDT/1h", slice(0, 8000)))
    ratio = frame["realised_volatility"][200:] / np.array(
        [frame["realised_volatility"][row - 167 : row + 1].mean() for row in range(200, len(frame))]
    )
    reading = BY_NAME["volatility_filter"].read(frame, PARAMS)
    ready, votes = reading.ready[200:], signal("volatility_filter", frame)[200:]
    assert (ready == (ratio > PARAMS.caution_ratio)).all()
    assert 0.02 < ready.mean() < 0.5
    assert (votes == 0).all()
    expected = np.clip((ratio - PARAMS.caution_ratio) / (PARAMS.alarm_ratio - PARAMS.caution_ratio), 0, 1)
    assert reading.conviction[200:] == pytest.approx(expected, abs=1e-9)
    assert (expected == 1).sum() > 20


def funded(walk: Callable[..., Candles], last_rate: float, interest: Any = None) -> Frame:
    candles = walk(9, 400)
    rng = np.random.default_rng(0)
    rates = 1e-4 + 2e-5 * rng.standard_normal(400)
    rates[-3:] = last_rate
    grown = None if interest is None else (candles.open_time, np.linspace(1.0, interest, 400) * 1e5)
    return curate(candles, funding=(candles.open_time, rates), open_interest=grown)


def test_extreme_funding_is_faded_and_usual_funding_is_not(walk: Callable[..., Candles]) -> None:
    assert entry("sentiment_scout", funded(walk, 1e-3))[-1] == -0.75
    assert entry("sentiment_scout", funded(walk, -8e-4))[-1] == 0.75
    assert entry("sentiment_scout", funded(walk, 1e-4))[-1] == 0


def test_growing_open_interest_makes_the_crowd_more_convincing(walk: Callable[..., Candles]) -> None:
    growing, shrinking = (entry("sentiment_scout", funded(walk, 1e-3, interest))[-1] for interest in (8.0, 0.1))
    assert growing < -0.75 < shrinking < 0


def test_without_funding_the_scout_is_neutral_takes_no_part_and_says_so(walk: Callable[..., Candles]) -> None:
    frame = curate(walk(9, 400))
    scout = BY_NAME["sentiment_scout"]
    calm = np.tile([0.6, 0.3, 0.1], (400, 1))
    reading = scout.read(frame, PARAMS)
    assert (signal("sentiment_scout", frame) == 0).all()
    assert not scout.should_trade(reading.ready, scout.regime_probability(calm, PARAMS), PARAMS).any()
    assert scout.reason(frame, False, 0.0, PARAMS) == "takes no part: no funding data"


def test_the_liquidity_surfer_rides_a_bar_on_unusual_volume(walk: Callable[..., Candles]) -> None:
    candles = walk(3, 300, volatility=0.002)
    close, volume = candles.close.copy(), candles.volume.copy()
    close[-1] = 1.02 * candles.open[-1]
    volume[-1] = 30 * volume.max()
    high = np.maximum(candles.high, close)
    frame = curate(Candles(candles.interval, candles.open_time, candles.open, high, candles.low, close, volume))
    assert entry("liquidity_surfer", frame)[-1] > 0.2
    assert signal("liquidity_surfer", frame)[-1] > 0


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [((0.9, 0.05, 0.05), True), ((0.05, 0.05, 0.9), False), ((np.nan, np.nan, np.nan), False)],
)
def test_an_agent_trades_in_its_regimes_only(
    trend: Callable[..., Frame], probabilities: tuple[float, float, float], expected: bool
) -> None:
    frame, hunter = trend(0.004), BY_NAME["trend_hunter"]
    rows = np.tile(probabilities, (len(frame), 1))
    likely = hunter.regime_probability(rows, PARAMS)
    assert hunter.should_trade(hunter.read(frame, PARAMS).ready, likely, PARAMS)[-1] == expected


def test_an_agent_without_data_takes_no_part_in_the_warm_up(trend: Callable[..., Frame]) -> None:
    frame = trend(0.004).rows(slice(0, 20))
    for agent in AGENTS:
        likely = agent.regime_probability(np.full((20, 3), 1 / 3), PARAMS)
        assert not agent.should_trade(agent.read(frame, PARAMS).ready, likely, PARAMS)[0]
        assert agent.reason(frame.rows(slice(0, 1)), False, 0.0, PARAMS).startswith("takes no part: ")


def test_a_negative_weight_reads_an_alpha_against_its_sign(trend: Callable[..., Frame]) -> None:
    contrarian = AgentParams(AgentWeights(entry=0.0, momentum=-1.0), (Regime.CALM,))
    frame = trend(0.004)
    assert signal("trend_hunter", frame, replace(PARAMS, trend_hunter=contrarian))[-1] < -0.5
