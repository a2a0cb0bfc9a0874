"""Liquidity: volume-weighted pressure, trusted less when the market is thin.

location  = (2·close - high - low) / (high - low)                     where the bar closed in its range, -1 to 1
pressure  = tanh(3 · Σ location·volume / Σ volume)                    Chaikin's money flow
illiquidity = Σ|log return| / Σ(close·volume)                         Amihud (2002), as a ratio of sums
score     = pressure / (1 + max(ln(illiquidity / usual illiquidity), 0))
"""

from __future__ import annotations

import numpy as np

from shared.data.rolling import window_means
from shared.domain.candles import FloatArray
from shared.domain.frame import Frame
from shared.strategy.params import StrategyParams
from shared.strategy.series import bounded, known_ratio, ratio

_FLOW_GAIN = 3.0
"""money flow is rarely beyond ±1/3"""


def liquidity(frame: Frame, params: StrategyParams) -> FloatArray:
    """Score (n,) in [-1, 1]: positive where volume closes high in its range; 0 without volume and in the warm-up."""
    return _score(frame, params, money_flow(frame, params.liquidity_bars), relative_illiquidity(frame, params))


def _score(frame: Frame, params: StrategyParams, flow: FloatArray, relative: FloatArray) -> FloatArray:
    thinness = np.fmax(np.log(np.fmax(relative, 1.0)), 0.0)
    return bounded(np.tanh(_FLOW_GAIN * flow) / (1.0 + thinness))


def money_flow(frame: Frame, bars: int) -> FloatArray:
    """Volume-weighted mean of the close location over `bars`, (n,) in [-1, 1]; NaN in the warm-up."""

    def compute() -> FloatArray:
        located, weight = window_means((frame.derived("located_volume", lambda: _located_volume(frame)), frame["volume"]), bars)
        return known_ratio(located, weight)

    return frame.derived(("money_flow", bars), compute)


def _located_volume(frame: Frame) -> FloatArray:
    """Volume times where the bar closed in its range, (n,)."""
    high, low = frame["high"], frame["low"]
    return ratio(2 * frame["close"] - high - low, high - low) * frame["volume"]


def relative_illiquidity(frame: Frame, params: StrategyParams) -> FloatArray:
    """Current / usual illiquidity (n,); 1 = as usual, 0 where nothing was traded; NaN in the warm-up."""
    current, usual = (_illiquidity(frame, bars) for bars in (params.liquidity_bars, params.liquidity_long_bars))
    return known_ratio(current, usual)


def _illiquidity(frame: Frame, bars: int) -> FloatArray:
    def compute() -> FloatArray:
        moves = frame.derived("absolute_return", lambda: np.abs(frame["log_return"]))
        moved, traded = window_means((moves, frame.derived("traded", lambda: frame["close"] * frame["volume"])), bars)
        return np.where(np.isnan(moved), np.nan, ratio(moved, traded))

    return frame.derived(("illiquidity", bars), compute)


def describe_liquidity(frame: Frame, score: float, params: StrategyParams) -> str:
    """What the alpha saw on the last row."""
    flow = float(money_flow(frame, params.liquidity_bars)[-1])
    relative = float(relative_illiquidity(frame, params)[-1])
    if np.isnan(flow) or np.isnan(relative):
        return "usual liquidity not known yet"
    return f"money flow {flow:+.2f}, illiquidity {relative:.2f} × its usual level"
