"""Small array helpers of the alphas and agents: bounded ramps and ratios that stay finite where a market does not move."""

from __future__ import annotations

import numpy as np
import talib

from shared.data.rolling import bars_since, window_mean
from shared.domain.candles import BoolArray, FloatArray
from shared.domain.frame import Frame
from shared.speed import takes_twin

STILL = 1e-6
"""ATR / price below which a market is treated as not moving: no exchange quotes prices to a millionth"""


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Quotient where the denominator is positive, 0 elsewhere (NaN in it included); NaN numerators stay. (n,) each."""
    if takes_twin(len(numerator)):
        from shared.strategy import series_compiled

        return series_compiled.ratio(numerator, denominator)
    usable = denominator > 0
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=usable)


def known_ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """`ratio`, but NaN where the denominator is unknown."""
    if takes_twin(len(numerator)):
        from shared.strategy import series_compiled

        return series_compiled.known_ratio(numerator, denominator)
    return np.where(np.isnan(denominator), np.nan, ratio(numerator, denominator))


def in_atr(distance: FloatArray, frame: Frame) -> FloatArray:
    """A price distance in units of ATR; 0 where the market does not move, NaN where ATR is unknown."""
    atr = frame["atr"]
    if takes_twin(len(atr)):
        from shared.strategy import series_compiled

        return series_compiled.in_atr(distance, atr, frame["close"], STILL)
    moving = frame.derived("moving_atr", lambda: np.where(atr > STILL * frame["close"], atr, 0.0))
    return np.where(np.isnan(atr), np.nan, ratio(distance, moving))


def or_zero(values: FloatArray) -> FloatArray:
    """Values, 0 where they are NaN."""
    return np.where(np.isnan(values), 0.0, values)


def clipped(values: FloatArray, low: float, high: float) -> FloatArray:
    """Values within [low, high]; NaN stays. `np.clip` takes three times as long on a live window."""
    return np.minimum(np.maximum(values, low), high)


def ramp(values: FloatArray, low: float, high: float) -> FloatArray:
    """0 up to `low`, 1 from `high`, linear between; NaN stays."""
    if takes_twin(len(values)):
        from shared.strategy import series_compiled

        return series_compiled.ramp(values, low, high)
    return clipped((values - low) / (high - low), 0.0, 1.0)


def bounded(values: FloatArray) -> FloatArray:
    """Values clipped to [-1, 1], with 0 for what is unknown (warm-up)."""
    if takes_twin(len(values)):
        from shared.strategy import series_compiled

        return series_compiled.bounded(values)
    known = np.where(np.isfinite(values), values, 0.0)
    return clipped(known, -1.0, 1.0)


def volatility_ratio(frame: Frame, bars: int) -> FloatArray:
    """Realised volatility / its mean over `bars`; NaN in the warm-up, 0 where nothing moved."""

    def compute() -> FloatArray:
        usual = window_mean(frame["realised_volatility"], bars)
        return known_ratio(frame["realised_volatility"], usual)

    return frame.derived(("volatility_ratio", bars), compute)


def highest(values: FloatArray, bars: int) -> FloatArray:
    """Largest of the last `bars` values, this one included; NaN where there are fewer."""
    return talib.MAX(values, bars) if bars > 1 else values


def lowest(values: FloatArray, bars: int) -> FloatArray:
    """Smallest of the last `bars` values, this one included; NaN where there are fewer."""
    return talib.MIN(values, bars) if bars > 1 else values


def previous(values: FloatArray) -> FloatArray:
    """The value of the bar before; NaN in the first row."""
    shifted = np.full(len(values), np.nan)
    shifted[1:] = values[:-1]
    return shifted


def fading(event: BoolArray, bars: int) -> FloatArray:
    """1 on an event, falling linearly to 0 over `bars` bars. (n,) -> (n,)."""
    if takes_twin(len(event)):
        from shared.strategy import series_compiled

        return series_compiled.fading(event, bars)
    age = bars_since(event)
    since_start = np.arange(len(event)) < age
    return np.where(since_start, 0.0, clipped(1.0 - age / bars, 0.0, 1.0))
