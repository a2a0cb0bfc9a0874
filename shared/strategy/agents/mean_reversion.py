"""Mean reversion: fades a stretched move while there is no strong trend.

z     = (close - Bollinger middle) / half width of the bands
entry = -sign(z) · ramp(|z|) · ramp(|RSI - 50| on the same side) · (1 - ADX ramp)
"""

from __future__ import annotations

import numpy as np

from shared.domain.candles import FloatArray
from shared.domain.frame import Frame
from shared.strategy.agents.base import Reading, TradingAgent
from shared.strategy.params import StrategyParams
from shared.strategy.series import ramp, ratio

_FULL_BAND = 0.6
"""half widths past `reversion_band` at which the stretch counts in full"""
_FULL_RSI = 20.0
"""RSI points past `reversion_rsi` at which the stretch counts in full"""
_STILL = 1e-9
"""half width / price below which the bands are rounding"""


def _stretch(frame: Frame) -> FloatArray:
    half = frame["bollinger_upper"] - frame["bollinger_middle"]
    stretch = ratio(frame["close"] - frame["bollinger_middle"], np.where(half > _STILL * frame["close"], half, 0.0))
    return np.where(np.isnan(half), np.nan, stretch)


def _read(frame: Frame, params: StrategyParams) -> Reading:
    return Reading(_entry(frame, params))


def _entry(frame: Frame, params: StrategyParams) -> FloatArray:
    z = frame.derived("stretch", lambda: _stretch(frame))
    heat = np.sign(z) * (frame["rsi"] - 50.0)
    far = ramp(np.abs(z), params.reversion_band, params.reversion_band + _FULL_BAND)
    hot = ramp(heat, params.reversion_rsi, params.reversion_rsi + _FULL_RSI)
    quiet = 1.0 - ramp(frame["adx"], params.adx_floor, params.adx_full)
    entry: FloatArray = -np.sign(z) * far * hot * quiet
    return entry


def _explain(frame: Frame, params: StrategyParams) -> str:
    z = float(frame.derived("stretch", lambda: _stretch(frame))[-1])
    if np.isnan(z) or np.isnan(frame["rsi"][-1]) or np.isnan(frame["adx"][-1]):
        return "RSI, ADX and bands are still warming up"
    return f"{z:+.2f} half band widths from the middle, RSI {float(frame['rsi'][-1]):.0f}"


MEAN_REVERSION = TradingAgent("mean_reversion", _read, _explain, ("reversion_band", "reversion_rsi", "adx_floor", "adx_full"))
