"""Order blocks: the last opposite candle before a displacement, waiting for the price to come back.

Bullish (bearish mirrored by negating prices): a displacement is a bar with a body of at least `displacement_atr` ATR that
closes above the last *confirmed* swing high (a swing of width k is known k bars later). Its block is the last down candle
before it, known only at the displacement's close, alive until a close below its low, its first touch (mitigation; the touching
bar is its last) or its maximum age, which keeps every value a function of a bounded window.

    quality = (min(body / ATR / 4, 1) + clip(0.5 + volume z / 6, 0, 1)) / 2 · (1 - age / maximum age)
    score   = max over bullish blocks of quality · exp(-distance to the block in ATR / 2) - the same for bearish ones
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.domain.candles import BoolArray, FloatArray, IntArray
from shared.domain.frame import Frame
from shared.speed import takes_twin
from shared.strategy.params import StrategyParams
from shared.strategy.series import STILL, bounded, clipped, highest, in_atr, or_zero

_FULL_DISPLACEMENT_ATR = 4.0
_REACH_ATR = 2.0


@dataclass(frozen=True, slots=True)
class OrderBlock:
    """A block of one side in the mirrored prices of that side (bullish: as quoted; bearish: negated)."""

    origin: int
    """row of the opposite candle"""
    known: int
    """row of the displacement: the first on which the block exists"""
    last: int
    """last row on which it is alive"""
    top: float
    bottom: float
    strength: float
    """quality at age 0, in [0, 1]"""


@dataclass(frozen=True, eq=False, slots=True)
class _Side:
    """Prices of one side: as quoted for bullish blocks, negated (high and low exchanged) for bearish ones."""

    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray


def order_block_quality(frame: Frame, params: StrategyParams) -> FloatArray:
    """Score (n,) in [-1, 1]: positive where a good bullish block supports the price; 0 without blocks and in the warm-up."""
    return bounded(_support(frame, bullish=True, params=params) - _support(frame, bullish=False, params=params))


def find_order_blocks(frame: Frame, params: StrategyParams, *, bullish: bool) -> list[OrderBlock]:
    """Every block of one side, in the order in which they became known."""
    side = _mirrored(frame, bullish=bullish)
    body = frame.derived("body_atr", lambda: in_atr(frame["close"] - frame["open"], frame))
    body = body if bullish else -body
    swing = _last_swing_high(side.high, params)
    displaced = np.flatnonzero((body >= params.displacement_atr) & (side.close > swing))
    opposite = np.flatnonzero(side.close < side.open)
    volume = clipped(0.5 + or_zero(frame["volume_z"][displaced]) / 6.0, 0.0, 1.0)
    strength = 0.5 * (np.minimum(body[displaced] / _FULL_DISPLACEMENT_ATR, 1.0) + volume)
    before = np.searchsorted(opposite, displaced) - 1
    blocks = []
    for known, position, quality in zip(displaced.tolist(), before.tolist(), strength.tolist(), strict=True):
        # An origin further back than the age of a block would make the value depend on an unbounded past.
        if position < 0 or known - (origin := int(opposite[position])) > params.order_block_max_age_bars:
            continue
        top, bottom = float(side.high[origin]), float(side.low[origin])
        last = _last_row(side, known, top, params.order_block_max_age_bars)
        blocks.append(OrderBlock(origin, known, last, top, bottom, quality))
    return blocks


def _mirrored(frame: Frame, *, bullish: bool) -> _Side:
    if bullish:
        return _Side(frame["open"], frame["high"], frame["low"], frame["close"])
    return _Side(-frame["open"], -frame["low"], -frame["high"], -frame["close"])


def _last_swing_high(high: FloatArray, params: StrategyParams) -> FloatArray:
    """The newest swing high that is confirmed at each row and not older than a block may be; NaN where there is none."""
    width = params.swing_bars
    rows = np.arange(len(high))
    if len(high) <= 2 * width:
        return np.full(len(high), np.nan)
    newest_highest = highest(high, width)
    confirmed: BoolArray = np.zeros(len(high), dtype=np.bool_)
    # Row r confirms the swing at r - width: above the bars on its left, not below those on its right.
    centre = high[width:-width]
    confirmed[2 * width :] = (centre > newest_highest[width - 1 : -width - 1]) & (centre >= newest_highest[2 * width :])
    newest: IntArray = np.maximum.accumulate(np.where(confirmed, rows - width, -1))
    usable = (newest >= 0) & (rows - newest <= params.order_block_max_age_bars)
    return np.where(usable, high[np.maximum(newest, 0)], np.nan)


def _last_row(side: _Side, known: int, top: float, max_age_bars: int) -> int:
    """The row of the first touch, else the last one of the block's age or of the data.

    A close below the bottom is also a touch, so mitigation comes first or at the same bar.
    """
    end = min(known + max_age_bars, len(side.low) - 1)
    touched = side.low[known + 1 : end + 1] <= top
    first = int(touched.argmax()) if len(touched) else 0
    return known + 1 + first if len(touched) and touched[first] else end


def _support(frame: Frame, *, bullish: bool, params: StrategyParams) -> FloatArray:
    """Best quality × proximity of the live blocks of one side at each row, (n,) in [0, 1]."""
    if takes_twin(len(frame)):
        return _compiled_support(frame, bullish=bullish, params=params)
    side = _mirrored(frame, bullish=bullish)
    best = np.zeros(len(frame))
    atr = frame["atr"]
    for block in find_order_blocks(frame, params, bullish=bullish):
        rows = slice(block.known, block.last + 1)
        freshness = 1.0 - np.arange(block.last + 1 - block.known) / params.order_block_max_age_bars
        distance = np.maximum(side.close[rows] - block.top, 0.0) / atr[rows]
        value = block.strength * freshness * np.exp(-distance / _REACH_ATR)
        # A close through the bottom on the touching bar breaks the block: it supports nothing any more.
        value[side.close[rows] < block.bottom] = 0.0
        np.maximum(best[rows], value, out=best[rows])
    return best


def _compiled_support(frame: Frame, *, bullish: bool, params: StrategyParams) -> FloatArray:
    """`_support` in machine code, the same bits."""
    from shared.strategy.alphas.order_blocks_compiled import support

    return support(
        (frame["open"], frame["high"], frame["low"], frame["close"]),
        (frame["atr"], frame["volume_z"]),
        bullish=bullish,
        swing_bars=params.swing_bars,
        displacement_atr=params.displacement_atr,
        max_age_bars=params.order_block_max_age_bars,
        full_displacement=_FULL_DISPLACEMENT_ATR,
        reach=_REACH_ATR,
        still=STILL,
    )


def describe_order_block_quality(frame: Frame, score: float, params: StrategyParams) -> str:
    """What the alpha saw on the last row."""
    if score == 0.0:
        return "no live order block near the price"
    return f"a {'bullish' if score > 0 else 'bearish'} order block near the price, quality {abs(score):.2f}"
