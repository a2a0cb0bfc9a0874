from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest

from shared.data.curation import curate
from shared.domain.candles import Candles
from shared.domain.frame import Frame
from shared.strategy.alphas import ALPHAS, compute_alphas
from shared.strategy.params import AgentWeights, StrategyParams

PARAMS = StrategyParams()


def test_the_registry_has_the_five_alphas_and_a_weight_for_each() -> None:
    assert list(ALPHAS) == ["order_block_quality", "momentum", "volatility", "ml_confidence", "liquidity"]
    assert [part.name for part in fields(AgentWeights)] == ["entry", *ALPHAS]


@pytest.mark.parametrize("name", ["binance_usdm/BTCUSDT/1h", "binance_usdm/FTTUSDT/1h"])
def test_scores_are_finite_and_in_range_from_the_first_row(real_candles: Callable[..., Candles], name: str) -> None:
    for rows in (slice(0, 6500), slice(0, 3), slice(0, 1), slice(0, 0)):
        frame = curate(real_candles(name, rows))
        for alpha, score in compute_alphas(frame, PARAMS).items():
            assert score.shape == (len(frame),), alpha
            assert np.isfinite(score).all(), alpha
            assert (np.abs(score) <= 1).all(), alpha


def test_momentum_has_the_sign_of_the_trend(trend: Callable[..., Frame]) -> None:
    up, down = (ALPHAS["momentum"].compute(trend(drift), PARAMS) for drift in (0.004, -0.004))
    assert up[200:].mean() > 0.7
    assert down[200:].mean() < -0.7


def test_momentum_without_trend_strength_is_zero(walk: Callable[..., Candles]) -> None:
    frame = curate(walk(1, 900))
    score = ALPHAS["momentum"].compute(frame, PARAMS)
    weak = frame["adx"] < PARAMS.adx_floor
    assert weak.sum() > 20
    assert (score[weak] == 0).all()
    assert (ALPHAS["momentum"].compute(frame, replace(PARAMS, adx_floor=98.0, adx_full=99.0)) == 0).all()


def test_volatility_scores_an_expanding_move_and_not_a_contraction(walk: Callable[..., Candles]) -> None:
    calm, burst = walk(1, 600, volatility=0.002), walk(2, 20, volatility=0.002, drift=0.03)
    lift = calm.close[-1] / burst.open[0]
    columns = (getattr(burst, name) * lift for name in ("open", "high", "low", "close"))
    later = burst.open_time - burst.open_time[0] + calm.open_time[-1] + calm.interval.ms
    joined = calm.followed_by(Candles(calm.interval, later, *columns, burst.volume))
    assert ALPHAS["volatility"].compute(curate(joined), PARAMS)[-1] > 0.8
    quiet = walk(1, 600, volatility=0.01)
    closing = curate(quiet.followed_by(_still_after(quiet, 60)))
    assert ALPHAS["volatility"].compute(closing, PARAMS)[-1] == 0


def _still_after(candles: Candles, bars: int) -> Candles:
    prices = np.full(bars, float(candles.close[-1]))
    times = candles.open_time[-1] + candles.interval.ms * np.arange(1, bars + 1)
    return Candles(candles.interval, times, prices, prices, prices, prices, np.zeros(bars))


def test_liquidity_follows_where_volume_closes_and_needs_volume(walk: Callable[..., Candles]) -> None:
    candles = walk(7, 500)
    high_close = np.maximum(candles.high * 0.999, np.maximum(candles.open, candles.close))
    bought = Candles(candles.interval, candles.open_time, candles.open, candles.high, candles.low, high_close, candles.volume)
    assert ALPHAS["liquidity"].compute(curate(bought), PARAMS)[200:].mean() > 0.3
    empty = Candles(
        candles.interval,
        candles.open_time,
        *(getattr(candles, name) for name in ("open", "high", "low", "close")),
        np.zeros(500),
    )
    assert (ALPHAS["liquidity"].compute(curate(empty), PARAMS) == 0).all()


def test_thin_markets_are_trusted_less(walk: Callable[..., Candles]) -> None:
    candles = walk(7, 500)
    volume = candles.volume.copy()
    volume[-24:] /= 50
    prices = [getattr(candles, name) for name in ("open", "high", "low", "close")]
    thin = Candles(candles.interval, candles.open_time, *prices, volume)
    usual, trusted_less = (abs(ALPHAS["liquidity"].compute(curate(each), PARAMS)[-1]) for each in (candles, thin))
    assert 0 < trusted_less < 0.5 * usual


def test_ml_confidence_is_neutral_and_says_so(trend: Callable[..., Frame]) -> None:
    frame = trend(0.004)
    assert (ALPHAS["ml_confidence"].compute(frame, PARAMS) == 0).all()
    assert ALPHAS["ml_confidence"].describe(frame, 0.0, PARAMS) == "neutral: no model is asked (its weight is 0)"


def test_every_alpha_gives_a_reason_in_the_warm_up_and_after(trend: Callable[..., Frame]) -> None:
    for rows in (slice(0, 1), slice(0, 30), slice(0, 900)):
        frame = trend(0.004).rows(rows)
        for alpha in ALPHAS.values():
            score = float(alpha.compute(frame, PARAMS)[-1])
            assert "nan" not in alpha.describe(frame, score, PARAMS), alpha.name
