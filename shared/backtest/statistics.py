"""Statistics of an equity curve and of its returns, each a function of plain arrays.

Conventions (design, "Risk numbers"): simple returns per bar; Sharpe with the n-1 deviation, Sortino with a downside deviation
that divides by all n, both per period. Drawdown counts from the capital at the start, on marked equity. What is not defined
(no movement, too few bars) is `None`, never 0, NaN or infinity.
"""

from __future__ import annotations

import math

import numpy as np

from shared.domain.candles import FloatArray, IntArray
from shared.domain.interval import DAY_MS, YEAR_MS

_STILL = 1e-14  # a deviation of returns below this is rounding, not movement
_LARGEST_EXPONENT = 700.0  # exp() of more overflows
TAIL_OBSERVATIONS = 20
"""returns from which a 5 % quantile is more than the extreme value"""


def period_returns(equity: FloatArray) -> FloatArray:
    """Simple returns (n-1,) of an equity curve (n,). They end at ruin: an account at or below 0 earns nothing more."""
    ruined = np.flatnonzero(equity <= 0)
    alive = equity[: int(ruined[0]) + 1] if len(ruined) else equity
    changes: FloatArray = alive[1:] / alive[:-1] - 1.0
    return changes


def total_return(equity: FloatArray) -> float:
    """Last value against the first one."""
    return float(equity[-1] / equity[0] - 1.0)


def periods_per_year(time_ms: IntArray) -> float | None:
    """Bars in 365 days, from the median step; `None` for fewer than two instants."""
    return YEAR_MS / float(np.median(np.diff(time_ms))) if len(time_ms) > 1 else None


def cagr(start: float, end: float, span_ms: int) -> float | None:
    """Compound growth per 365 days; `None` below one day, -1 at ruin."""
    if span_ms < DAY_MS:
        return None
    if end <= 0:
        return -1.0
    exponent = math.log(end / start) * YEAR_MS / span_ms
    return math.expm1(exponent) if exponent < _LARGEST_EXPONENT else None


def sharpe(changes: FloatArray) -> float | None:
    """Mean / standard deviation (n-1) per period, risk-free rate 0; `None` where nothing moves."""
    spread = deviation(changes)
    return float(np.mean(changes)) / spread if spread else None


def sortino(changes: FloatArray) -> float | None:
    """Mean / √(Σ min(r, 0)² / n) per period; all n count, gains as zeros. `None` without a loss."""
    if len(changes) < 2:
        return None
    downside = math.sqrt(float(np.mean(np.minimum(changes, 0.0) ** 2)))
    return float(np.mean(changes)) / downside if downside > _STILL else None


def drawdowns(equity: FloatArray, initial: float | None = None) -> FloatArray:
    """Loss from the highest value so far as a fraction (n,), 0 at a new high; `initial` counts as a high."""
    floor = float(equity[0]) if initial is None else initial
    peaks = np.maximum.accumulate(np.maximum(equity, floor))
    losses: FloatArray = 1.0 - equity / peaks
    return losses


def max_drawdown(equity: FloatArray, initial: float | None = None) -> float:
    """The largest of `drawdowns`; 0 where there was none."""
    return float(np.max(drawdowns(equity, initial)))


def longest_drawdown_ms(time_ms: IntArray, equity: FloatArray, initial: float | None = None) -> int:
    """Longest time below a high: from the high to the recovery, or to the end where there was none."""
    under = drawdowns(equity, initial) > 0
    highs = np.maximum.accumulate(np.where(under, time_ms[0], time_ms))
    since = time_ms[1:] - highs[:-1]
    counts = under[1:] | under[:-1]  # the bar that recovers ends the drawdown and belongs to it
    return max(0, int(np.max(since, where=counts, initial=0)))


def win_rate(profits: FloatArray) -> float | None:
    """Share of round trips (k,) with a profit after fees."""
    return float(np.mean(profits > 0)) if len(profits) else None


def profit_factor(profits: FloatArray) -> float | None:
    """Sum of gains / sum of losses of round trips (k,) after fees; `None` without a losing one."""
    losses = -float(np.sum(profits, where=profits < 0))
    return float(np.sum(profits, where=profits > 0)) / losses if losses > 0 else None


def deviation(changes: FloatArray) -> float | None:
    """Standard deviation (n-1) per period; `None` for fewer than two returns or no movement."""
    if len(changes) < 2:
        return None
    spread = float(np.std(changes, ddof=1))
    return spread if spread > _STILL else None


def annual(value: float | None, per_year: float | None) -> float | None:
    """A per-period deviation or ratio on the scale of a year."""
    return None if value is None or per_year is None else value * math.sqrt(per_year)


def tail_ratio(changes: FloatArray) -> float | None:
    """95 % quantile / |5 % quantile| of returns (type 7): above 1 the good days are larger than the bad ones.

    `None` for too few returns, and where the quantiles are no gain and no loss: then they are no two tails.
    """
    if len(changes) < TAIL_OBSERVATIONS:
        return None
    low, high = np.quantile(changes, (0.05, 0.95))
    return float(high) / -float(low) if high > _STILL and low < -_STILL else None


def returns_by_day(
    time_ms: IntArray, equity: FloatArray, initial: float, start_ms: int | None = None
) -> tuple[IntArray, FloatArray]:
    """UTC midnights (d,) in ms at which days begin, and the simple return of each day (d,), from marked equity (n,).

    A bar that closes at midnight belongs to the day that ends there. The first day starts from `initial`, a day without a bar
    has no row, and an instant at or before `start_ms` (when the capital was still untouched) opens no day. An account at or
    below 0 is lost once (-1) and earns nothing more.
    """
    later = slice(None) if start_ms is None else slice(int(np.searchsorted(time_ms, start_ms, side="right")), None)
    times = time_ms[later]
    first, last = ((int(times[row]) - 1) // DAY_MS * DAY_MS for row in (0, -1)) if len(times) else (0, -DAY_MS)
    days = np.arange(first, last + DAY_MS, DAY_MS, dtype=np.int64)
    lasts = np.searchsorted(times, days + DAY_MS, side="right") - 1
    has_bar = np.diff(lasts, prepend=-1) > 0
    days, lasts = days[has_bar], lasts[has_bar]
    ends = np.maximum(equity[later][lasts], 0.0)
    before = np.concatenate([[initial], ends[:-1]]) if len(ends) else ends
    changes: FloatArray = np.divide(ends, before, out=np.ones(len(ends)), where=before > 0) - 1.0
    return days, changes
