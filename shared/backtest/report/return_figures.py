"""Figures of daily returns: rolling Sharpe ratio, distribution with value at risk, and the fan of simulated futures."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from shared.backtest.breakdown import rolling_sharpe
from shared.backtest.report.figure import Figure, Trace, level
from shared.backtest.report.holdings import equity_curve
from shared.backtest.report.record import RunRecord
from shared.backtest.report.series import instants, numbers
from shared.backtest.statistics import returns_by_day
from shared.domain.candles import FloatArray, IntArray
from shared.domain.interval import DAY_MS
from shared.risk.monte_carlo import FAN, MonteCarlo, fan_times
from shared.risk.value_at_risk import LEVELS, value_at_risk

LEAST_DAYS = 30
"""Days from which statistics of days are shown."""
ROLLING_DAYS = 90
"""Days of the rolling Sharpe ratio; half of the run where it is shorter."""
_BINS = 61
_YEAR = 365.0


@dataclass(frozen=True, eq=False, slots=True)
class Daily:
    """Daily returns (d,) of days that begin at `days_ms` (d,)."""

    days_ms: IntArray
    returns: FloatArray


def daily(record: RunRecord) -> Daily:
    """The record's marked equity as daily returns."""
    times_ms, equity = equity_curve(record)
    return Daily(*returns_by_day(times_ms, equity, record.summary.start_equity, int(times_ms[0])))


def rolling_sharpe_figure(days: Daily) -> Figure:
    """Annual Sharpe ratio of the last days, with a band of one standard error (Lo 2002, independent returns)."""
    window = min(ROLLING_DAYS, len(days.returns) // 2)
    ratio = rolling_sharpe(days.returns, window)
    error = np.sqrt((1 + ratio**2 / 2) / window) * math.sqrt(_YEAR)
    ratio = ratio * math.sqrt(_YEAR)
    line: Trace = {"type": "scatter", "mode": "lines", "x": "@time"}
    edge: Trace = {**line, "line": {"width": 0, "color": "accent"}, "showlegend": False, "hoverinfo": "skip"}
    return {
        "columns": {"time": instants(days.days_ms + DAY_MS)},
        "data": [
            {**edge, "name": "low", "y": numbers(ratio - error, 4)},
            {**edge, "name": "high", "y": numbers(ratio + error, 4), "fill": "tonexty", "fillcolor": "accent-soft"},
            {
                **line,
                "name": "Sharpe",
                "y": numbers(ratio, 4),
                "line": {"color": "accent", "width": 2},
                "hovertemplate": "%{y:.2f}",
            },
        ],
        "layout": {
            "xaxis": {},
            "yaxis": {"title": {"text": "Sharpe, annual"}, "fixedrange": True, "zeroline": True},
            "shapes": [level("y", 0.0, "ink-faint", "")],
            "showlegend": False,
            "height": 320,
        },
    }


def distribution_figure(days: Daily) -> Figure:
    """How often a day earned how much, and where the value at risk and the mean loss beyond it lie."""
    moved = days.returns[days.returns != 0]
    low, high = (float(moved.min()), float(moved.max())) if len(moved) else (0.0, 0.0)
    width = max((high - low) / _BINS, 1e-6)
    edges = width * np.arange(math.floor(low / width), math.ceil(high / width) + 2)  # no bin has gains and losses
    counts, edges = np.histogram(moved, bins=edges)
    centres = (edges[:-1] + edges[1:]) / 2
    shapes = []
    for place, confidence in enumerate(LEVELS):
        found = value_at_risk(days.returns, confidence)
        if found is not None:
            shapes += [
                _upright(-found.historical, "warn", f"VaR {confidence:.0%}", 0.98 - 0.24 * place),
                _upright(-found.cvar, "loss", f"CVaR {confidence:.0%}", 0.86 - 0.24 * place),
            ]
    return {
        "columns": {"x": numbers(centres, 5)},
        "data": [
            {
                "type": "bar",
                "name": "days",
                "x": "@x",
                "y": [int(count) for count in counts],
                "marker": {"color": ["gain" if centre > 0 else "loss" for centre in centres]},
                "hovertemplate": "%{x:.2%}: %{y} days<extra></extra>",
                "showlegend": False,
            }
        ],
        "layout": {
            "xaxis": {"type": "linear", "title": {"text": "return of a day"}, "tickformat": ".1%", "showspikes": False},
            "yaxis": {"title": {"text": "days"}, "fixedrange": True},
            "bargap": 0.03,
            "shapes": shapes,
            "height": 320,
        },
    }


def _upright(value: float, colour: str, label: str, place: float) -> dict[str, object]:
    """A dashed vertical line at `value` with its name at the height `place`."""
    return {
        "type": "line",
        "xref": "x",
        "x0": value,
        "x1": value,
        "yref": "paper",
        "y0": 0,
        "y1": place,
        "line": {"color": colour, "width": 1.5, "dash": "dot"},
        "label": {"text": label, "textposition": "end", "textangle": 0, "font": {"size": 10, "color": colour}, "padding": 2},
    }


def fan_figure(chance: MonteCarlo, equity: float, end_ms: int) -> Figure:
    """Quantiles of simulated equity, going on from `equity` at `end_ms`."""
    values = chance.fan * equity
    line: Trace = {"type": "scatter", "mode": "lines", "x": "@time", "hovertemplate": "%{y:,.0f}"}
    traces: list[Trace] = []
    outer, inner = {"line": {"width": 1, "color": "ink-faint"}}, {"line": {"width": 1, "color": "accent"}}
    for row, quantile in enumerate(FAN):
        style = {"line": {"width": 2.2, "color": "accent"}} if quantile == 0.5 else outer if row in (0, len(FAN) - 1) else inner
        fill = {} if row == 0 else {"fill": "tonexty", "fillcolor": "accent-soft"}
        traces.append({**line, **style, **fill, "name": f"{quantile:.0%}", "y": numbers(values[row], 6)})
    return {
        "columns": {"time": instants(fan_times(end_ms, chance.horizon_days))},
        "data": traces,
        "layout": {
            "xaxis": {},
            "yaxis": {"title": {"text": "equity"}, "tickformat": ",.0f", "fixedrange": True},
            "shapes": [level("y", equity, "ink-faint", "now")],
            "height": 360,
        },
    }
