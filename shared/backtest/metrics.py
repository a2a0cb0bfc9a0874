"""What a run earned and what it risked, from its equity curve and its round trips.

Conventions (design, "Risk numbers"): simple returns per bar; Sharpe with the n-1 deviation, Sortino with a downside deviation
that divides by all n; both are per period inside and multiplied by √(periods per year) for display. Drawdown counts from the
capital at the start, on marked equity. A year has 365 days. What is not defined (no losers, no movement, too few bars) is
`None`, never 0, NaN or infinity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from shared.domain.candles import FloatArray, IntArray
from shared.domain.errors import MalformedData
from shared.domain.interval import DAY_MS, YEAR_MS
from shared.domain.money import ZERO
from shared.domain.orders import Fill
from shared.domain.records import FundingPayment, Trade

_STILL = 1e-14  # a deviation of returns below this is rounding, not movement
_LARGEST_EXPONENT = 700.0  # exp() of more overflows


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The numbers of one run. Fractions are of 1 (0.1 is 10 %), money is quote currency, rates are annualised."""

    bars: int
    start_equity: float
    end_equity: float
    total_return: float
    cagr: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    max_drawdown: float
    longest_drawdown_ms: int
    trades: int
    win_rate: float | None
    profit_factor: float | None
    exposure: float | None
    """share of bars with any position"""
    turnover: float | None
    """traded notional / average equity over the whole run"""
    fees: float
    funding: float
    """received minus paid"""

    def as_dict(self) -> dict[str, Any]:
        """Plain values by field name, ready for JSON."""
        return asdict(self)


def summary(
    time_ms: IntArray,
    equity: FloatArray,
    trades: Sequence[Trade] = (),
    fills: Sequence[Fill] = (),
    funding: Sequence[FundingPayment] = (),
    gross_exposure: FloatArray | None = None,
    initial: float | None = None,
) -> RunSummary:
    """Every number of a run whose account was worth `equity` (n,) at `time_ms` (n,), increasing.

    `gross_exposure` (n,) is sum of |notional| / equity at those instants; `initial` the capital before the first point
    (default: the first point). Raises `MalformedData` for an empty, misshapen, unordered or non-finite curve.
    """
    curve = _with_initial(time_ms, equity, initial)
    changes = period_returns(curve)
    per_year = periods_per_year(time_ms)
    span_ms = int(time_ms[-1] - time_ms[0])
    if initial is not None and len(time_ms) > 1:
        span_ms += round(YEAR_MS / per_year) if per_year else 0
    growth = cagr(float(curve[0]), float(curve[-1]), span_ms)
    worst = max_drawdown(curve)
    return RunSummary(
        bars=len(equity),
        start_equity=float(curve[0]),
        end_equity=float(curve[-1]),
        total_return=total_return(curve),
        cagr=growth,
        volatility=_annual(_deviation(changes), per_year),
        sharpe=_annual(sharpe(changes), per_year),
        sortino=_annual(sortino(changes), per_year),
        calmar=growth / worst if growth is not None and worst > 0 else None,
        max_drawdown=worst,
        longest_drawdown_ms=longest_drawdown_ms(time_ms, curve[-len(time_ms) :], float(curve[0])),
        trades=len(trades),
        win_rate=win_rate(trades),
        profit_factor=profit_factor(trades),
        exposure=None if gross_exposure is None else float(np.mean(np.abs(gross_exposure) > 0)),
        turnover=turnover(fills, equity),
        fees=float(sum((fill.fee for fill in fills), ZERO)),
        funding=float(sum((payment.amount for payment in funding), ZERO)),
    )


def _with_initial(time_ms: IntArray, equity: FloatArray, initial: float | None) -> FloatArray:
    """The checked curve, the starting capital in front of it where one is given."""
    if len(equity) == 0 or len(equity) != len(time_ms):
        raise MalformedData(
            f"an equity curve needs as many instants as values and at least one, found {len(time_ms)}, {len(equity)}"
        )
    if not np.all(np.isfinite(equity)) or np.any(np.diff(time_ms) <= 0):
        raise MalformedData("an equity curve needs finite values at increasing instants; check what the run recorded")
    first = float(equity[0]) if initial is None else initial
    if not first > 0:
        raise MalformedData(f"an equity curve must start above 0, found {first}")
    return equity if initial is None else np.concatenate([[initial], equity])


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
    deviation = _deviation(changes)
    return float(np.mean(changes)) / deviation if deviation else None


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
    longest, high, below = 0, int(time_ms[0]), False
    for now, is_below in zip(time_ms.tolist(), under.tolist(), strict=True):
        if is_below or below:  # the bar that recovers ends the drawdown and belongs to it
            longest = max(longest, now - high)
        if not is_below:
            high = now
        below = is_below
    return longest


def win_rate(trades: Sequence[Trade]) -> float | None:
    """Share of round trips with a profit after fees."""
    return sum(trade.profit > 0 for trade in trades) / len(trades) if trades else None


def profit_factor(trades: Sequence[Trade]) -> float | None:
    """Sum of gains / sum of losses after fees; `None` without a losing trade."""
    gains = sum((trade.profit for trade in trades if trade.profit > 0), ZERO)
    losses = sum((-trade.profit for trade in trades if trade.profit < 0), ZERO)
    return float(gains / losses) if losses else None


def turnover(fills: Sequence[Fill], equity: FloatArray) -> float | None:
    """Traded notional (both sides) / average equity; `None` where the average is not positive."""
    traded = sum((fill.quantity * fill.price for fill in fills), ZERO)
    average = float(np.mean(equity))
    return float(traded) / average if average > 0 else None


def _deviation(changes: FloatArray) -> float | None:
    """Standard deviation (n-1) per period; `None` for fewer than two returns or no movement."""
    if len(changes) < 2:
        return None
    deviation = float(np.std(changes, ddof=1))
    return deviation if deviation > _STILL else None


def _annual(value: float | None, per_year: float | None) -> float | None:
    """A per-period deviation or ratio on the scale of a year."""
    return None if value is None or per_year is None else value * math.sqrt(per_year)
