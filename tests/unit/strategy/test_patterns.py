"""Recognised patterns: keyed by what was known, whatever came later and wherever the history starts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.data.curation import curate
from shared.data.params import CurationParams
from shared.domain.asset import Asset
from shared.domain.candles import Candles
from shared.strategy.alphas.order_block_quality import find_order_blocks
from shared.strategy.params import StrategyParams
from shared.strategy.patterns import detect_patterns

ASSET = Asset("binanceusdm", "BTCUSDT")
PARAMS = StrategyParams()
KINDS = {"order_block_bullish", "order_block_bearish", "liquidity_surge", "volatility_expansion"}


@pytest.fixture(scope="module")
def candles(walk: Callable[..., Candles]) -> Candles:
    return walk(12, 2400)


def test_every_kind_is_found_with_a_strength_between_0_and_1(candles: Candles) -> None:
    found = detect_patterns(curate(candles), ASSET, PARAMS)
    assert {pattern.kind for pattern in found} == KINDS
    assert all(0 <= pattern.strength <= 1 for pattern in found)
    assert all(pattern.start_ms < pattern.end_ms for pattern in found)
    assert len({pattern.id for pattern in found}) == len(found)
    assert [pattern.end_ms for pattern in found] == sorted(pattern.end_ms for pattern in found)


def test_what_was_recognised_does_not_change_with_the_future(candles: Candles) -> None:
    whole = detect_patterns(curate(candles), ASSET, PARAMS)
    for end in (1500, 2000, 2399):
        part = detect_patterns(curate(candles[:end]), ASSET, PARAMS)
        assert part == [pattern for pattern in whole if pattern.end_ms <= int(candles.close_time[end - 1])]


def test_a_later_start_of_the_history_recognises_the_same(candles: Candles) -> None:
    whole = detect_patterns(curate(candles), ASSET, PARAMS)
    start = 700
    later = curate(candles[start:])
    since_ms = int(later.close_time[CurationParams().lookback_bars + PARAMS.lookback_bars])
    assert detect_patterns(later, ASSET, PARAMS, since_ms=since_ms) == [p for p in whole if p.end_ms >= since_ms]


def test_an_order_block_has_its_zone_and_the_instant_it_was_known(candles: Candles) -> None:
    frame = curate(candles)
    block = find_order_blocks(frame, PARAMS, bullish=False)[-1]
    found = [p for p in detect_patterns(frame, ASSET, PARAMS) if p.kind == "order_block_bearish"][-1]
    assert found.end_ms == int(frame.close_time[block.known])
    assert (found.detail["low"], found.detail["high"]) == (frame["low"][block.origin], frame["high"][block.origin])


def test_no_bars_hold_no_patterns(candles: Candles) -> None:
    assert detect_patterns(curate(candles[:0]), ASSET, PARAMS) == []
