"""Patterns that the strategy's detectors recognise in a frame, as records that can be kept and looked at later.

    order_block_bullish, order_block_bearish   from the origin to the bar at which it became known (`order_block_quality.py`)
    liquidity_surge                            a run of bars on unusual volume (volume z from `surge_volume` on)
    volatility_expansion                       a run of bars with volatility beyond `caution_ratio` × its usual level

A record says what was known at its end and nothing that came after: its id is derived from content that later bars, or another
start of the history, do not change. A run is known at its first bar; how long it lasts is not part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from shared.domain.asset import Asset
from shared.domain.candles import BoolArray, IntArray
from shared.domain.frame import Frame
from shared.domain.ids import content_id
from shared.domain.research import Pattern
from shared.strategy.alphas.order_block_quality import find_order_blocks
from shared.strategy.params import StrategyParams
from shared.strategy.series import volatility_ratio

_FULL_SURGE = 3.0
"""volume z beyond `surge_volume` that counts as full strength"""


def detect_patterns(frame: Frame, asset: Asset, params: StrategyParams, *, since_ms: int = 0) -> list[Pattern]:
    """Every pattern that became known at or after `since_ms`, by that instant.

    Rows that are still within the look-back of the first bar are left out: with more history they could look different.
    """
    found = [*_order_blocks(frame, asset, params), *_surges(frame, asset, params), *_expansions(frame, asset, params)]
    warm_ms = int(frame.close_time[min(params.lookback_bars, len(frame) - 1)]) if len(frame) else 0
    kept = [pattern for pattern in found if pattern.end_ms >= max(since_ms, warm_ms)]
    return sorted(kept, key=lambda pattern: (pattern.end_ms, pattern.kind, pattern.start_ms))


def _order_blocks(frame: Frame, asset: Asset, params: StrategyParams) -> list[Pattern]:
    patterns = []
    for bullish in (True, False):
        sign, kind = (1.0, "order_block_bullish") if bullish else (-1.0, "order_block_bearish")
        for block in find_order_blocks(frame, params, bullish=bullish):
            edges = sorted((sign * block.bottom, sign * block.top))
            detail = {"low": edges[0], "high": edges[1], "atr": _rounded(frame["atr"][block.known])}
            patterns.append(_pattern(frame, asset, kind, block.origin, block.known, block.strength, detail))
    return patterns


def _surges(frame: Frame, asset: Asset, params: StrategyParams) -> list[Pattern]:
    z = frame["volume_z"]
    patterns = []
    for row in _starts(z >= params.surge_volume):
        strength = min((float(z[row]) - params.surge_volume) / _FULL_SURGE, 1.0)
        side = int(np.sign(frame["close"][row] - frame["open"][row]))
        patterns.append(
            _pattern(frame, asset, "liquidity_surge", row, row, strength, {"volume_z": _rounded(z[row]), "side": side})
        )
    return patterns


def _expansions(frame: Frame, asset: Asset, params: StrategyParams) -> list[Pattern]:
    relative = volatility_ratio(frame, params.volatility_long_bars)
    patterns = []
    for row in _starts(relative >= params.caution_ratio):
        strength = min((float(relative[row]) - params.caution_ratio) / (params.alarm_ratio - params.caution_ratio), 1.0)
        detail = {"ratio": _rounded(relative[row])}
        patterns.append(_pattern(frame, asset, "volatility_expansion", row, row, strength, detail))
    return patterns


def _starts(inside: BoolArray) -> list[int]:
    """First row of every run."""
    before = np.concatenate([[False], inside[:-1]])
    rows: IntArray = np.flatnonzero(inside & ~before)
    starts: list[int] = rows.tolist()
    return starts


def _pattern(
    frame: Frame, asset: Asset, kind: str, start: int, known: int, strength: float, detail: Mapping[str, Any]
) -> Pattern:
    start_ms, end_ms = int(frame.open_time[start]), int(frame.close_time[known])
    rounded = _rounded(strength)
    # The id names place and kind only: rounding of a long recursion must not make a second record of the same pattern.
    identity = content_id("pt", str(asset), frame.interval.value, kind, start_ms, end_ms)
    return Pattern(identity, asset, frame.interval, kind, start_ms, end_ms, rounded, detail)


def _rounded(value: Any) -> float:
    """Six digits: below what a different start of the history could change."""
    return round(float(value), 6)
