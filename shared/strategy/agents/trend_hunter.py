"""Trend hunter: follows a trend that ADX confirms and both averages agree with.

Entry: side of EMA fast - EMA slow, where the close is on the same side of the slow SMA, × ADX ramp.
"""

from __future__ import annotations

import numpy as np

from shared.domain.candles import FloatArray
from shared.domain.frame import Frame
from shared.strategy.agents.base import Reading, TradingAgent
from shared.strategy.params import StrategyParams
from shared.strategy.series import ramp


def _read(frame: Frame, params: StrategyParams) -> Reading:
    return Reading(_entry(frame, params))


def _entry(frame: Frame, params: StrategyParams) -> FloatArray:
    side = np.sign(frame["ema_fast"] - frame["ema_slow"])
    agreement = np.sign(frame["close"] - frame["sma_slow"]) * side
    entry: FloatArray = side * np.maximum(agreement, 0.0) * ramp(frame["adx"], params.adx_floor, params.adx_full)
    return entry


def _explain(frame: Frame, params: StrategyParams) -> str:
    if not _read(frame, params).ready[-1]:
        return "ADX and averages are still warming up"
    above = "above" if frame["ema_fast"][-1] > frame["ema_slow"][-1] else "not above"
    return f"fast average {above} the slow one, ADX {float(frame['adx'][-1]):.0f}"


TREND_HUNTER = TradingAgent("trend_hunter", _read, _explain, ("adx_floor", "adx_full"))
