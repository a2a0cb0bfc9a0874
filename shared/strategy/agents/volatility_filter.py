"""Volatility filter: protects by voting for no position when volatility is unusual.

    pressure = ramp(current / usual volatility, caution_ratio, alarm_ratio)
    signal   = 0, with the share · pressure; it takes part only under pressure

A vote of 0 can only shrink the consensus, and its weight grows from nothing with the pressure: crossing the caution line
changes nothing, and under full pressure the other agents together reach at most 0.6 with the default shares.
"""

from __future__ import annotations

import numpy as np

from shared.domain.candles import FloatArray
from shared.domain.frame import Frame
from shared.strategy.agents.base import Reading, TradingAgent
from shared.strategy.params import StrategyParams
from shared.strategy.series import or_zero, ramp, volatility_ratio


def _read(frame: Frame, params: StrategyParams) -> Reading:
    pressure = _pressure(frame, params, volatility_ratio(frame, params.volatility_long_bars))
    return Reading(np.where(pressure > 0, 0.0, np.nan), conviction=pressure)


def _pressure(frame: Frame, params: StrategyParams, relative: FloatArray) -> FloatArray:
    """How far volatility is past the caution line, in [0, 1]; 0 where it is unknown."""
    return or_zero(ramp(relative, params.caution_ratio, params.alarm_ratio))


def _explain(frame: Frame, params: StrategyParams) -> str:
    relative = float(volatility_ratio(frame, params.volatility_long_bars)[-1])
    if np.isnan(relative):
        return "usual volatility not known yet"
    return f"volatility {relative:.2f} × its usual level, caution from {params.caution_ratio:g} ×"


VOLATILITY_FILTER = TradingAgent("volatility_filter", _read, _explain, ("volatility_long_bars", "caution_ratio", "alarm_ratio"))
