"""Volatility filter: protects by voting for less when volatility is unusual.

    pressure = ramp(current / usual volatility, caution_ratio, alarm_ratio)
    signal   = combined alphas · (1 - pressure); it takes part only under pressure

Its share is the largest of all agents, so a vote near 0 pulls the consensus towards 0: with the default shares and full
pressure the other agents together reach at most 0.6, and must agree much more than usual to open a position.
"""

from __future__ import annotations

import numpy as np

from shared.domain.frame import Frame
from shared.strategy.agents.base import Reading, TradingAgent
from shared.strategy.params import StrategyParams
from shared.strategy.series import ramp, volatility_ratio


def _read(frame: Frame, params: StrategyParams) -> Reading:
    pressure = ramp(volatility_ratio(frame, params.volatility_long_bars), params.caution_ratio, params.alarm_ratio)
    # A filter opens nothing of its own: its entry is 0 under pressure and absent without.
    return Reading(np.where(pressure > 0, 0.0, np.nan), damping=1.0 - pressure)


def _explain(frame: Frame, params: StrategyParams) -> str:
    relative = float(volatility_ratio(frame, params.volatility_long_bars)[-1])
    if np.isnan(relative):
        return "usual volatility not known yet"
    return f"volatility {relative:.2f} × its usual level, caution from {params.caution_ratio:g} ×"


VOLATILITY_FILTER = TradingAgent("volatility_filter", _read, _explain)
