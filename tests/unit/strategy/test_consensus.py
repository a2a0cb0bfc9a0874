from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.data.curation import curate
from shared.domain.candles import Candles
from shared.domain.errors import MalformedData
from shared.domain.frame import Frame
from shared.strategy.agents import AGENT_NAMES
from shared.strategy.alphas import ALPHAS
from shared.strategy.combiner import combine
from shared.strategy.orchestrator import consensus, opinion
from shared.strategy.params import StrategyParams
from shared.strategy.policy import target_position

PARAMS = StrategyParams()
SCORE = st.floats(-1, 1)
WEIGHT = st.floats(-10, 10).map(lambda weight: round(weight, 6))


def test_the_combiner_is_the_weighted_mean_by_absolute_weight() -> None:
    scores = [np.array([1.0, -1.0]), np.array([0.5, 0.5])]
    assert combine(zip(scores, [3.0, -1.0], strict=True), 2).tolist() == [(3 - 0.5) / 4, (-3 - 0.5) / 4]


def test_the_combiner_is_zero_where_all_weights_are() -> None:
    assert combine([(np.ones(3), 0.0), (np.ones(3), np.array([0.0, 1.0, 0.0]))], 3).tolist() == [0.0, 1.0, 0.0]
    assert combine([], 2).tolist() == [0.0, 0.0]


@settings(max_examples=100, deadline=None)
@given(parts=st.lists(st.tuples(SCORE, WEIGHT), min_size=1, max_size=8), factor=st.sampled_from([0.25, 4.0]))
def test_the_combiner_stays_in_range_and_ignores_the_scale_of_the_weights(
    parts: list[tuple[float, float]], factor: float
) -> None:
    combined = combine([(np.array([score]), weight) for score, weight in parts], 1)[0]
    scaled = combine([(np.array([score]), weight * factor) for score, weight in parts], 1)[0]
    assert abs(combined) <= 1 + 1e-12
    assert scaled == pytest.approx(combined, abs=1e-12)


def test_an_uptrend_is_bought_and_a_downtrend_is_sold(trend: Callable[..., Frame]) -> None:
    for drift, side in ((0.004, 1), (-0.004, -1)):
        frame = trend(drift)
        score = consensus(frame, np.tile([0.7, 0.2, 0.1], (len(frame), 1)), PARAMS).score
        assert (side * score[200:] > PARAMS.entry_threshold).mean() > 0.9


def test_weights_are_shares_and_the_score_is_the_weighted_vote(
    real_candles: Callable[..., Candles], probabilities_for: Callable[..., Any]
) -> None:
    frame = curate(real_candles("binance_usdm/BTCUSDT/1h", slice(-2000, None)))
    result = consensus(frame, probabilities_for(frame), PARAMS)
    anybody = result.active.any(axis=1)
    assert anybody[200:].all()
    assert result.weights[anybody].sum(axis=1) == pytest.approx(1.0)
    assert (result.weights[~result.active] == 0).all()
    assert result.score == pytest.approx((result.votes * result.weights).sum(axis=1), abs=1e-12)
    assert np.abs(result.score).max() <= 1
    assert list(result.alphas) == list(ALPHAS)


def test_the_share_of_an_agent_grows_with_the_probability_of_its_regimes(trend: Callable[..., Frame]) -> None:
    frame = trend(0.001)
    column = AGENT_NAMES.index("breakout_hunter")
    shares = []
    for stress in (0.3, 0.5, 0.7):
        rows = np.tile([0.9 - stress, 0.1, stress], (len(frame), 1))
        shares.append(consensus(frame, rows, PARAMS).weights[-1, column])
    assert shares[0] < shares[1] < shares[2]


def test_unusual_volatility_pulls_the_consensus_towards_zero(
    real_candles: Callable[..., Candles], probabilities_for: Callable[..., Any]
) -> None:
    frame = curate(real_candles("binance_usdm/BTCUSDT/1h", slice(0, 8000)))  # March 2020 is in it
    rows = probabilities_for(frame)
    protected = consensus(frame, rows, PARAMS)
    bare = consensus(frame, rows, replace(PARAMS, volatility_filter=replace(PARAMS.volatility_filter, share=0.0)))
    column = AGENT_NAMES.index("volatility_filter")
    pressed = protected.active[:, column]
    assert pressed.sum() > 100
    # A brake never pushes, and what it does not see it leaves alone.
    assert (np.abs(protected.score) <= np.abs(bare.score) + 1e-12).all()
    assert (protected.score[~pressed] == bare.score[~pressed]).all()
    alarm = protected.weights[:, column] > 0.3
    assert alarm.sum() > 20
    assert (np.abs(protected.score[alarm]) <= 0.7 * np.abs(bare.score[alarm]) + 1e-12).all()


def test_unknown_probabilities_mean_no_active_agent_and_no_score(trend: Callable[..., Frame]) -> None:
    frame = trend(0.004)
    rows = np.full((len(frame), 3), np.nan)
    rows[-1] = [1.0, 0.0, 0.0]
    result = consensus(frame, rows, PARAMS)
    assert not result.active[:-1].any()
    assert (result.score[:-1] == 0).all()
    assert result.score[-1] > 0


def test_votes_carry_their_reasons(trend: Callable[..., Frame]) -> None:
    said = opinion(trend(0.004), (0.7, 0.2, 0.1), PARAMS)
    votes = {vote.agent: vote for vote in said.votes}
    assert tuple(votes) == AGENT_NAMES
    assert votes["trend_hunter"].active
    assert votes["trend_hunter"].reason.startswith("long +0.")
    assert votes["sentiment_scout"].reason == "takes no part: no funding data"
    assert said.reasons["momentum"].startswith("trend up: ADX ")
    assert sum(vote.score * vote.weight for vote in votes.values()) == pytest.approx(said.score)


def test_the_newest_opinion_is_the_last_row_of_the_consensus(
    real_candles: Callable[..., Candles], probabilities_for: Callable[[Frame], np.ndarray]
) -> None:
    frame = curate(real_candles("binance_usdm/BTCUSDT/1h", slice(0, 8000)))  # March 2020 is in it
    rows = probabilities_for(frame)
    for bars in range(5, 8000, 97):
        shorter = frame.rows(slice(max(0, bars - 700), bars))
        known = rows[max(0, bars - 700) : bars]
        whole, said = consensus(shorter, known, PARAMS), opinion(shorter, known[-1].tolist(), PARAMS)
        assert said.score == whole.score[-1]
        assert list(said.alphas.values()) == [scores[-1] for scores in whole.alphas.values()]
        assert [vote.score for vote in said.votes] == whole.votes[-1].tolist()
        assert [vote.active for vote in said.votes] == whole.active[-1].tolist()
        assert [vote.weight for vote in said.votes] == whole.weights[-1].tolist()


def test_probabilities_of_another_shape_are_refused(trend: Callable[..., Frame]) -> None:
    with pytest.raises(MalformedData, match=r"shape \(5, 3\); expected \(900, 3\)"):
        consensus(trend(0.004), np.full((5, 3), 1 / 3), PARAMS)


@pytest.mark.parametrize("bars", [0, 1, 5])
def test_few_bars_give_a_neutral_consensus(walk: Callable[..., Candles], bars: int) -> None:
    result = consensus(curate(walk(1, bars)), np.full((bars, 3), 1 / 3), PARAMS)
    assert (result.score == 0).all()
    assert result.votes.shape == (bars, 6)


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "SOLUSDT"])
def test_the_defaults_open_a_position_every_few_days(
    real_candles: Callable[..., Candles], real_funding: Callable[[str], Any], symbol: str
) -> None:
    frame = curate(real_candles(f"binance_usdm/{symbol}/1h", slice(-7000, None)), funding=real_funding(symbol))
    score = consensus(frame, np.full((len(frame), 3), 1 / 3), PARAMS).score
    volatility, atr = frame["realised_volatility"], frame["atr"] / frame["close"]
    held, opened, changed = 0.0, 0, 0
    for row in range(len(frame)):
        target = target_position(score[row], held, volatility[row], 8760.0, atr[row], 1.0, 1.0, PARAMS.policy).fraction
        opened += held <= 0 < target or target < 0 <= held
        changed += target != held
        held = target
    days = len(frame) / 24
    assert 0.1 < opened / days < 0.7
    assert changed / days < 1.5


def test_a_higher_threshold_trades_less(real_candles: Callable[..., Candles]) -> None:
    frame = curate(real_candles("binance_usdm/BTCUSDT/1h", slice(-3000, None)))
    score = np.abs(consensus(frame, np.full((len(frame), 3), 1 / 3), PARAMS).score)
    strict = replace(PARAMS, entry_threshold=0.45)
    assert 0 < (score > strict.entry_threshold).mean() < (score > PARAMS.entry_threshold).mean() < 0.5
