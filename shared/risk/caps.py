"""How large a position may be by what the market itself has shown: a cap on |notional| / equity from the value at risk.

One-day 99 % historical VaR of one unit of exposure = 99 % quantile (type 7) of the absolute bar returns of the trailing window,
times √(bars per day): both sides count for either position. cap = limit / VaR. Only order statistics and one interpolation:
the value of a bar depends on its own window and nothing else, so that the trailing window of live trading and a history of
years give the same bits (`caps_compiled.py` walks through a history).
"""

from __future__ import annotations

import math

import numpy as np

from shared.domain.candles import FloatArray
from shared.domain.interval import Interval
from shared.risk.params import RiskParams

VAR_LEVEL = 0.99


def exposure_cap(closes: FloatArray, interval: Interval, params: RiskParams) -> float:
    """Largest |notional| / equity that the value at risk allows at the last of `closes` (n,).

    Infinite where there are fewer than `var_bars` returns, or where nothing moved.
    """
    window = params.var_bars
    if len(closes) <= window:
        return math.inf
    newest = closes[-window - 1 :]
    moves = np.sort(np.abs(newest[1:] / newest[:-1] - 1.0))
    place = var_place(window)
    lower = float(moves[math.floor(place)])
    upper = float(moves[math.floor(place) + 1])
    return cap_of(between(lower, upper, place - math.floor(place)), math.sqrt(interval.bars_per_day), params.var_limit)


def var_place(window: int) -> float:
    """Place of the quantile among the sorted moves of a window, counted from 0 (type 7: (n - 1) p)."""
    return (window - 1) * VAR_LEVEL


def between(lower: float, upper: float, part: float) -> float:
    """`part` of the way from `lower` to `upper`."""
    return lower + (upper - lower) * part


def cap_of(bar_move: float, root_bars_per_day: float, limit: float) -> float:
    """The exposure at which the loss of one day in a hundred is `limit` of the equity."""
    day_move = bar_move * root_bars_per_day
    return limit / day_move if day_move > 0.0 else math.inf
