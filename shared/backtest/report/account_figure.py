"""The account: equity against buying and holding, drawdown with the breakers' levels, and exposure by asset."""

from __future__ import annotations

from typing import Any

import numpy as np

from shared.backtest.metrics import drawdowns
from shared.backtest.report.figure import Figure, Trace, level, panel, span
from shared.backtest.report.holdings import buy_and_hold, equity_curve, held_fraction
from shared.backtest.report.record import RunRecord
from shared.backtest.report.series import instants, numbers, thinned_rows
from shared.domain.candles import FloatArray, IntArray

_SERIES = 6  # colours `series-1` … of the page


def account_figure(record: RunRecord) -> Figure:
    """Three panels over one time axis."""
    times_ms, equity = equity_curve(record)
    losses = drawdowns(equity, record.summary.start_equity)
    rows = np.union1d(thinned_rows(equity), thinned_rows(losses))
    return {
        "columns": {"time": instants(times_ms[rows])},
        "data": [
            *_equity_traces(record, equity, rows),
            {
                "type": "scatter",
                "mode": "lines",
                "name": "drawdown",
                "x": "@time",
                "y": numbers(-losses[rows], 4),
                "yaxis": "y2",
                "fill": "tozeroy",
                "line": {"color": "loss", "width": 1},
                "fillcolor": "loss-soft",
                "showlegend": False,
                "hovertemplate": "%{y:.2%}",
            },
            *_exposure_traces(record, times_ms, equity, rows),
        ],
        "layout": {
            "xaxis": {"range": [record.start_ms, record.end_ms]},
            "yaxis": panel(0.47, 1.0, "equity", tickformat=",.0f"),
            "yaxis2": panel(0.24, 0.42, "drawdown", tickformat=".0%", nticks=4, range=_drawdown_range(record, losses)),
            "yaxis3": panel(0.0, 0.19, "exposure", tickformat=".0%", nticks=4, rangemode="tozero"),
            "shapes": [*_levels(record, losses), *_halts(record)],
            "height": 540,
        },
    }


def _equity_traces(record: RunRecord, equity: FloatArray, rows: IntArray) -> list[Trace]:
    """Equity, and what equal parts of everything would have become."""
    line: Trace = {"type": "scatter", "mode": "lines", "x": "@time", "hovertemplate": "%{y:,.2f}"}
    traces: list[Trace] = []
    held = buy_and_hold(record)
    if np.isfinite(held).any():
        # Its swings would flatten the equity curve, so it is shown on demand; the tile "Return" names its result.
        name = "buy and hold (click to show)"
        traces.append(
            {
                **line,
                "name": name,
                "y": numbers(held[rows], 8),
                "line": {"color": "ink-faint", "width": 1.2},
                "visible": "legendonly",
            }
        )
    traces.append({**line, "name": "equity", "y": numbers(equity[rows], 9), "line": {"color": "accent", "width": 2.2}})
    return traces


def _exposure_traces(record: RunRecord, times_ms: IntArray, equity: FloatArray, rows: IntArray) -> list[Trace]:
    """|notional| / equity of each asset, one above the other."""
    traces: list[Trace] = []
    for number, item in enumerate(record.assets):
        share = np.abs(held_fraction(item, times_ms, equity))
        colour = f"series-{number % _SERIES + 1}"
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": item.asset.symbol,
                "x": "@time",
                "y": numbers(share[rows], 4),
                "yaxis": "y3",
                "stackgroup": "exposure",
                "line": {"color": colour, "width": 0, "shape": "hv"},
                "fillcolor": colour,
                "hovertemplate": "%{y:.0%}",
            }
        )
    return traces


def _drawdown_range(record: RunRecord, losses: FloatArray) -> list[float]:
    return [-1.18 * max(float(np.max(losses)), _reach(record, losses)), 0.004]


def _reach(record: RunRecord, losses: FloatArray) -> float:
    """The first breaker level that was not crossed: deeper ones would squash the curve."""
    worst = float(np.max(losses))
    return next((step for step in (*record.pause_drawdowns, record.max_drawdown) if step > worst), record.max_drawdown)


def _levels(record: RunRecord, losses: FloatArray) -> list[dict[str, Any]]:
    """The starting capital and the breakers within reach."""
    start, reach = record.summary.start_equity, _reach(record, losses)
    shapes = [level("y", start, "ink-faint", f"start {start:,.0f}")]
    shapes += [level("y2", -step, "warn", f"pause at {step:.0%}") for step in record.pause_drawdowns if step <= reach]
    if record.max_drawdown <= reach:
        shapes.append(level("y2", -record.max_drawdown, "loss", f"stop at {record.max_drawdown:.0%}"))
    return shapes


def _halts(record: RunRecord) -> list[dict[str, Any]]:
    """When trading was paused or stopped."""
    return [
        span(halt.since_ms, min(halt.until_ms or record.end_ms, record.end_ms), "y2", "warn-soft")
        for halt in record.halts
        if halt.since_ms < record.end_ms
    ]
