"""Sentiment scout: fades a crowd that pays extreme funding, more so while open interest grows.

    z     = (funding rate - mean) / max(std, floor) over `funding_bars`
    crowd = sign(z) · ramp(|z|, extreme, 2 · extreme)
    entry = -crowd · c,  c from 1/2 (open interest fell by a tenth in a day or more) to 1 (grew by a tenth); 3/4 unknown

Longs pay when the rate is positive: an extreme positive rate is a crowded long, so the entry is short. Without funding data the
agent is neutral, takes no part in the consensus, and says so.
"""

from __future__ import annotations

import numpy as np

from shared.data.rolling import window_mean_std
from shared.domain.candles import FloatArray
from shared.domain.frame import Frame
from shared.strategy.agents.base import Reading, TradingAgent
from shared.strategy.params import StrategyParams
from shared.strategy.series import clipped, or_zero, ramp, ratio

_INTEREST_BARS = 24
_INTEREST_GROWTH = 0.1


def _funding_z(frame: Frame, params: StrategyParams) -> FloatArray:
    def compute() -> FloatArray:
        mean, std = window_mean_std(frame["funding_rate"], params.funding_bars)
        z: FloatArray = (frame["funding_rate"] - mean) / np.maximum(std, params.funding_floor)
        return z

    return frame.derived(("funding_z", params.funding_bars, params.funding_floor), compute)


def _interest_growth(frame: Frame) -> FloatArray:
    """Relative change of open interest over a day of hourly bars, NaN where it is unknown."""
    interest = frame["open_interest"]
    growth = np.full(len(frame), np.nan)
    growth[_INTEREST_BARS:] = ratio(interest[_INTEREST_BARS:] - interest[:-_INTEREST_BARS], interest[:-_INTEREST_BARS])
    return growth


def _read(frame: Frame, params: StrategyParams) -> Reading:
    growth = frame.derived("interest_growth", lambda: _interest_growth(frame))
    return Reading(_entry(frame, params, _funding_z(frame, params), growth))


def _entry(frame: Frame, params: StrategyParams, z: FloatArray, growth: FloatArray) -> FloatArray:
    crowd = np.sign(z) * ramp(np.abs(z), params.funding_extreme, 2 * params.funding_extreme)
    conviction = 0.75 + 0.25 * clipped(or_zero(growth / _INTEREST_GROWTH), -1.0, 1.0)
    return np.asarray(-crowd * conviction)


def _explain(frame: Frame, params: StrategyParams) -> str:
    if np.isnan(frame["funding_rate"][-1]):
        return "no funding data"
    z = float(_funding_z(frame, params)[-1])
    if np.isnan(z):
        return f"the usual funding rate takes {params.funding_bars} bars"
    known = "" if np.isfinite(frame["open_interest"][-1]) else ", no open interest data"
    rate = f"funding {float(frame['funding_rate'][-1]):+.4%}"
    return f"{rate}, {z:+.1f} standard deviations from usual{known}"


SENTIMENT_SCOUT = TradingAgent("sentiment_scout", _read, _explain, ("funding_bars", "funding_extreme", "funding_floor"))
