from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from shared.data.curation import curate
from shared.domain.candles import Candles
from shared.domain.frame import Frame
from shared.domain.interval import HOUR_MS, Interval
from shared.strategy.alphas.order_block_quality import OrderBlock, find_order_blocks, order_block_quality
from shared.strategy.params import StrategyParams

PARAMS = StrategyParams(swing_bars=2, order_block_max_age_bars=10)

# open, high, low, close with an ATR of 1: a swing high of 103 at row 2, confirmed at row 4; a down candle at row 5 (the block:
# 99.5 to 101); a displacement of 4 ATR at row 6; then the price stays above the block and comes back to it at row 9.
BARS = [
    (100.0, 101.0, 99.0, 100.5),
    (100.5, 102.0, 100.0, 101.5),
    (101.5, 103.0, 101.0, 102.0),
    (102.0, 102.5, 100.5, 101.0),
    (101.0, 101.5, 100.0, 100.9),
    (100.8, 101.0, 99.5, 100.0),
    (100.0, 104.2, 99.9, 104.0),
    (104.0, 105.0, 103.5, 104.5),
    (104.5, 104.6, 102.0, 102.5),
    (102.5, 102.6, 100.8, 101.5),
    (101.5, 102.5, 101.2, 102.4),
]


def frame_of(bars: list[tuple[float, float, float, float]], volume_z: float = 0.0) -> Frame:
    table = np.array(bars)
    columns = {name: table[:, column] for column, name in enumerate(("open", "high", "low", "close"))}
    columns |= {"atr": np.ones(len(bars)), "volume_z": np.full(len(bars), volume_z)}
    return Frame(Interval.H1, HOUR_MS * np.arange(len(bars), dtype=np.int64), columns)


def mirrored(bars: list[tuple[float, float, float, float]]) -> list[tuple[float, float, float, float]]:
    return [(200 - opened, 200 - low, 200 - high, 200 - close) for opened, high, low, close in bars]


def test_the_block_is_the_last_down_candle_before_a_displacement_above_the_confirmed_swing() -> None:
    blocks = find_order_blocks(frame_of(BARS), PARAMS, bullish=True)
    assert blocks == [OrderBlock(origin=5, known=6, last=9, top=101.0, bottom=99.5, strength=0.75)]
    assert find_order_blocks(frame_of(BARS), PARAMS, bullish=False) == []


def test_quality_falls_with_age_and_distance_and_ends_at_the_first_touch() -> None:
    score = order_block_quality(frame_of(BARS), PARAMS)
    assert (score[:6] == 0).all()
    assert score[6] == pytest.approx(0.75 * np.exp(-3.0 / 2))
    assert score[7] == pytest.approx(0.75 * 0.9 * np.exp(-3.5 / 2))
    assert score[9] == pytest.approx(0.75 * 0.7 * np.exp(-0.5 / 2))
    assert score[10] == 0


def test_a_bearish_block_is_the_mirror_image() -> None:
    assert order_block_quality(frame_of(mirrored(BARS)), PARAMS) == pytest.approx(-order_block_quality(frame_of(BARS), PARAMS))


def test_volume_raises_quality() -> None:
    quiet, loud = (order_block_quality(frame_of(BARS, volume_z=z), PARAMS)[6] for z in (-3.0, 3.0))
    assert loud == pytest.approx(2 * quiet)


def test_a_body_below_the_displacement_or_a_close_below_the_swing_makes_no_block() -> None:
    assert find_order_blocks(frame_of(BARS), replace(PARAMS, displacement_atr=4.1), bullish=True) == []
    below = [*BARS[:6], (100.0, 103.2, 99.9, 102.9), *BARS[7:]]
    assert find_order_blocks(frame_of(below), PARAMS, bullish=True) == []


def test_a_swing_does_not_count_before_it_is_confirmed() -> None:
    # With width 3 the swing of row 2 is known at row 5; a displacement at row 4 finds no swing to break.
    early = [*BARS[:4], (100.0, 104.2, 99.9, 104.0)]
    assert find_order_blocks(frame_of(early), replace(PARAMS, swing_bars=3), bullish=True) == []


def test_a_close_through_the_block_gives_no_support() -> None:
    broken = [*BARS[:9], (102.5, 102.6, 98.0, 99.0), *BARS[10:]]
    score = order_block_quality(frame_of(broken), PARAMS)
    assert score[8] > 0
    assert score[9] <= 0


def test_a_block_dies_of_age() -> None:
    away = [*BARS[:8], *[(104.0, 104.5, 103.5, 104.1)] * 15]
    score = order_block_quality(frame_of(away), PARAMS)
    assert score[15] > 0
    assert (score[16:] == 0).all()


def test_on_real_candles_blocks_are_rare_known_late_and_bounded(real_candles: Callable[..., Candles]) -> None:
    frame, params = curate(real_candles("binance_usdm/BTCUSDT/1h", slice(-5000, None))), StrategyParams()
    for bullish in (True, False):
        blocks = find_order_blocks(frame, params, bullish=bullish)
        assert 20 < len(blocks) < 400
        for block in blocks:
            assert block.origin < block.known <= block.last <= block.known + params.order_block_max_age_bars
            assert 0 <= block.strength <= 1
    score = order_block_quality(frame, params)
    assert np.abs(score).max() <= 1
    assert (score > 0.3).any()
    assert (score < -0.3).any()
