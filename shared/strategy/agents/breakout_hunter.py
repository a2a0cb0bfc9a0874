"""Breakout hunter: follows a close outside the channel of the last `breakout_bars` bars (Donchian).

Entry: 1 on a close above the highest high before it, fading to 0 over `breakout_hold_bars`; mirrored below. The newer of two
opposite breakouts counts.
"""

from __future__ import annotations

import numpy as np

from shared.domain.candles import FloatArray
from shared.domain.frame import Frame
from shared.strategy.agents.base import Reading, TradingAgent
from shared.strategy.params import StrategyParams
from shared.strategy.series import fading, highest, lowest, previous


def _channel(frame: Frame, params: StrategyParams) -> tuple[FloatArray, FloatArray]:
    """Highest high and lowest low of the bars before each one."""
    bars = params.breakout_bars
    return previous(highest(frame["high"], bars)), previous(lowest(frame["low"], bars))


def _read(frame: Frame, params: StrategyParams) -> Reading:
    top, bottom = _channel(frame, params)
    up = fading(frame["close"] > top, params.breakout_hold_bars)
    down = fading(frame["close"] < bottom, params.breakout_hold_bars)
    return Reading(np.where(np.isnan(top), np.nan, np.where(up >= down, up, -down)))


def _explain(frame: Frame, params: StrategyParams) -> str:
    top, bottom = (float(edge[-1]) for edge in _channel(frame, params))
    if np.isnan(top):
        return f"a channel takes {params.breakout_bars} bars"
    return f"close {float(frame['close'][-1]):g} and the channel of {params.breakout_bars} bars {bottom:g} to {top:g}"


BREAKOUT_HUNTER = TradingAgent("breakout_hunter", _read, _explain, ("breakout_bars", "breakout_hold_bars"))
