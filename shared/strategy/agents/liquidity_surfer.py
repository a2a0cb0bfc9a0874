"""Liquidity surfer: rides bars that move on unusual volume.

surge = clip(body / ATR, -1, 1) · ramp(volume z, surge_volume, surge_volume + 2)
entry = 2 · mean of the surges over `surge_bars`, clipped to [-1, 1]
"""

from __future__ import annotations

from shared.data.rolling import window_mean
from shared.domain.candles import FloatArray
from shared.domain.frame import Frame
from shared.strategy.agents.base import Reading, TradingAgent
from shared.strategy.params import StrategyParams
from shared.strategy.series import clipped, in_atr, ramp

_GAIN = 2.0
"""surges on half of the bars are a full signal"""


def _read(frame: Frame, params: StrategyParams) -> Reading:
    def compute() -> FloatArray:
        return clipped(_GAIN * window_mean(_surge(frame, params), params.surge_bars), -1.0, 1.0)

    return Reading(frame.derived(("surge", params.surge_volume, params.surge_bars), compute))


def _surge(frame: Frame, params: StrategyParams) -> FloatArray:
    body = clipped(in_atr(frame["close"] - frame["open"], frame), -1.0, 1.0)
    return body * ramp(frame["volume_z"], params.surge_volume, params.surge_volume + 2.0)


def _explain(frame: Frame, params: StrategyParams) -> str:
    reading = _read(frame, params)
    if not reading.ready[-1]:
        return "usual volume not known yet"
    return f"surge of {float(reading.entry[-1]):+.2f} over {params.surge_bars} bars"


LIQUIDITY_SURFER = TradingAgent("liquidity_surfer", _read, _explain, ("surge_volume", "surge_bars"))
