"""What a run earned and what it risked: `summary` from the rows of a ledger's book, `summarise` from a backtest.

The single numbers are in `statistics.py` and keep its conventions: per period inside, multiplied by √(periods per year) for
display, a year has 365 days. VaR, CVaR and the tail ratio are of daily returns. What is not defined is `None`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from shared.backtest.result import BacktestResult
from shared.backtest.statistics import (
    annual,
    cagr,
    deviation,
    drawdowns,
    longest_drawdown_ms,
    max_drawdown,
    period_returns,
    periods_per_year,
    profit_factor,
    returns_by_day,
    sharpe,
    sortino,
    tail_ratio,
    total_return,
    win_rate,
)
from shared.domain.candles import BoolArray, FloatArray, IntArray
from shared.domain.errors import MalformedData
from shared.domain.interval import YEAR_MS
from shared.domain.orders import Fill
from shared.domain.records import FundingPayment, Trade
from shared.risk.value_at_risk import value_at_risk

__all__ = ["RunSummary", "daily_returns", "drawdowns", "sharpe", "sortino", "summarise", "summary"]


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
    slippage: float | None = None
    """lost against the reference prices: half-spread, impact, slippage of stops; `None` where these are not recorded"""
    days: int = 0
    """daily returns that the following numbers come from"""
    var_95: float | None = None
    """historical value at risk of one day, a loss as a fraction; from 20 days on"""
    cvar_95: float | None = None
    """mean loss of the days at or beyond it"""
    var_99: float | None = None
    """from 100 days on"""
    cvar_99: float | None = None
    tail_ratio: float | None = None
    """95 % quantile / |5 % quantile| of daily returns, where the one is a gain and the other a loss"""

    def as_dict(self) -> dict[str, Any]:
        """Plain values by field name, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Dealings:
    """What a run did, as plain numbers."""

    profits: FloatArray
    traded: float
    fees: float
    funding: float
    slippage: float | None
    invested: BoolArray | None


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
    dealings = _Dealings(
        profits=np.array([float(trade.profit) for trade in trades]),
        traded=float(sum(fill.quantity * fill.price for fill in fills)),
        fees=float(sum(fill.fee for fill in fills)),
        funding=float(sum(payment.amount for payment in funding)),
        slippage=None,
        invested=None if gross_exposure is None else np.abs(gross_exposure) > 0,
    )
    return _summary(time_ms, equity, initial, dealings)


def summarise(result: BacktestResult) -> RunSummary:
    """Every number of a backtest. Raises `MalformedData` where its equity curve is empty or not finite."""
    fills = result.fills
    dealings = _Dealings(
        profits=result.trades.profit,
        traded=float(np.sum(np.abs(fills.quantity) * fills.price)),
        fees=float(np.sum(fills.fee)),
        funding=float(np.sum(result.funding)),
        slippage=float(np.sum(fills.quantity * (fills.price - fills.reference))),
        invested=result.exposure > 0,
    )
    return _summary(result.time_ms, result.equity, result.initial, dealings)


def daily_returns(result: BacktestResult) -> tuple[IntArray, FloatArray]:
    """UTC midnights (d,) in ms at which the days begin, and their simple returns (d,), from marked equity at day ends.

    The first and the last day may be parts of a day; a day without a bar has no row (`statistics.returns_by_day`).
    """
    start_ms = int(result.time_ms[0]) if len(result.time_ms) else None
    return returns_by_day(result.time_ms, result.equity, result.initial, start_ms)


def _summary(time_ms: IntArray, equity: FloatArray, initial: float | None, dealings: _Dealings) -> RunSummary:
    curve = _with_initial(time_ms, equity, initial)
    changes = period_returns(curve)
    per_year = periods_per_year(time_ms)
    span_ms = int(time_ms[-1] - time_ms[0])
    if len(curve) > len(time_ms) and per_year:
        span_ms += round(YEAR_MS / per_year)
    growth = cagr(float(curve[0]), float(curve[-1]), span_ms)
    worst = max_drawdown(curve)
    _, by_day = returns_by_day(time_ms, equity, float(curve[0]), int(time_ms[0]))
    risk = {level: value_at_risk(by_day, level) for level in (0.95, 0.99)}
    average = float(np.mean(equity))
    return RunSummary(
        bars=len(equity),
        start_equity=float(curve[0]),
        end_equity=float(curve[-1]),
        total_return=total_return(curve),
        cagr=growth,
        volatility=annual(deviation(changes), per_year),
        sharpe=annual(sharpe(changes), per_year),
        sortino=annual(sortino(changes), per_year),
        calmar=growth / worst if growth is not None and worst > 0 else None,
        max_drawdown=worst,
        longest_drawdown_ms=longest_drawdown_ms(time_ms, curve[-len(time_ms) :], float(curve[0])),
        trades=len(dealings.profits),
        win_rate=win_rate(dealings.profits),
        profit_factor=profit_factor(dealings.profits),
        exposure=None if dealings.invested is None else float(np.mean(dealings.invested)),
        turnover=dealings.traded / average if average > 0 else None,
        fees=dealings.fees,
        funding=dealings.funding,
        slippage=dealings.slippage,
        days=len(by_day),
        var_95=None if (var := risk[0.95]) is None else var.historical,
        cvar_95=None if var is None else var.cvar,
        var_99=None if (far := risk[0.99]) is None else far.historical,
        cvar_99=None if far is None else far.cvar,
        tail_ratio=tail_ratio(by_day),
    )


def _with_initial(time_ms: IntArray, equity: FloatArray, initial: float | None) -> FloatArray:
    """The checked curve, the starting capital in front of it where one is given.

    A first point that still is the starting capital is that start: the account was marked before its first trade, and a bar
    before it would count as one in which nothing moved.
    """
    if len(equity) == 0 or len(equity) != len(time_ms):
        raise MalformedData(
            f"an equity curve needs as many instants as values and at least one, found {len(time_ms)}, {len(equity)}"
        )
    if not np.all(np.isfinite(equity)) or np.any(np.diff(time_ms) <= 0):
        raise MalformedData("an equity curve needs finite values at increasing instants; check what the run recorded")
    first = float(equity[0]) if initial is None else initial
    if not first > 0:
        raise MalformedData(f"an equity curve must start above 0, found {first}")
    return equity if initial is None or first == equity[0] else np.concatenate([[initial], equity])
