"""One asset: price with trades and stops, the regime held as a ribbon, its probabilities, and the position.

A bar's line point and its regime stand at the bar's close, the first instant at which they were known; a decision made there
stands there too. The page shows a line from afar and candles up close (`layout.meta`).
"""

from __future__ import annotations

import itertools
from typing import Any

from shared.backtest.report.figure import Figure, Trace, panel, span
from shared.backtest.report.holdings import equity_curve, held_fraction
from shared.backtest.report.record import AssetRecord, RunRecord
from shared.backtest.report.series import instants, merged_bars, merged_candles, numbers, thinned_rows
from shared.backtest.report.trade_marks import stop_traces, trade_traces
from shared.domain.regime import REGIMES, Regime

_CANDLES_UP_TO = 400  # bars in view; more of them are a smear


def asset_figure(item: AssetRecord, record: RunRecord) -> Figure:
    """Four panels over one time axis."""
    opened_ms, opened, high, low, close = merged_candles(item.candles)
    bar_ms = item.candles.interval.ms * merged_bars(item.candles)
    held = _held_regimes(item)
    few = len(opened_ms) <= _CANDLES_UP_TO
    rows = thinned_rows(item.probabilities[:, -1])
    columns = {
        "open_time": instants(opened_ms),
        "close_time": instants(opened_ms + bar_ms),
        "regime_time": instants(item.candles.close_time[rows]),
    } | {name: numbers(values) for name, values in (("open", opened), ("high", high), ("low", low), ("close", close))}
    return {
        "columns": columns,
        "data": [
            _price_line(visible=not few),
            _candlesticks(bar_ms, visible=few),
            *stop_traces(item),
            *trade_traces(item),
            *_ribbon(held),
            *_probability_traces(item, rows),
            _position_trace(item, record),
        ],
        "layout": {
            "xaxis": {"range": [record.start_ms - item.candles.interval.ms, record.end_ms]},
            "yaxis": panel(0.42, 1.0, "price", tickformat=",.8~g"),
            "yaxis2": panel(0.365, 0.4, "", range=[0, 1], showticklabels=False, showgrid=False, zeroline=False),
            "yaxis3": panel(0.18, 0.335, "P(regime)", range=[0, 1], tickformat=".0%", nticks=3),
            "yaxis4": panel(0.0, 0.14, "position", tickformat=".0%", nticks=4, zeroline=True),
            "shapes": [span(*run[1:], "y", "stress-faint") for run in held if run[0] is Regime.STRESS],
            "barmode": "overlay",
            "meta": {"line": 0, "candles": 1, "most": _CANDLES_UP_TO},
            "height": 660,
        },
    }


def _price_line(*, visible: bool) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "close",
        "x": "@close_time",
        "y": "@close",
        "visible": visible,
        "line": {"color": "ink-soft", "width": 1.3},
        "showlegend": False,
        "hovertemplate": "%{y:,.8~g}",
    }


def _candlesticks(bar_ms: int, *, visible: bool) -> Trace:
    prices = {name: f"@{name}" for name in ("open", "high", "low", "close")}
    return {
        "type": "candlestick",
        "name": "candle",
        "x": "@open_time",
        "xperiod": bar_ms,
        "xperiodalignment": "middle",
        **prices,
        "visible": visible,
        "showlegend": False,
        "increasing": {"line": {"color": "gain", "width": 1}},
        "decreasing": {"line": {"color": "loss", "width": 1}},
    }


def _held_regimes(item: AssetRecord) -> list[tuple[Regime, int, int]]:
    """Runs of one regime: (regime, from, to) in ms. A regime known at a close holds until the next one."""
    times_ms, bar_ms = item.candles.close_time.tolist(), item.candles.interval.ms
    runs: list[tuple[Regime, int, int]] = []
    for regime, group in itertools.groupby(zip(item.regimes, times_ms, strict=True), key=lambda pair: pair[0]):
        inside = [time_ms for _, time_ms in group]
        if regime is not None:
            runs.append((regime, inside[0], inside[-1] + bar_ms))
    return runs


def _ribbon(held: list[tuple[Regime, int, int]]) -> list[Trace]:
    """The regime held, a coloured strip: one bar for each run of it."""
    traces: list[Trace] = []
    for regime in REGIMES:
        runs = [run for run in held if run[0] is regime]
        traces.append(
            {
                "type": "bar",
                "name": regime.value,
                "legendgroup": regime.value,
                "x": [start for _, start, _ in runs],
                "width": [end - start for _, start, end in runs],
                "offset": 0,
                "y": [1] * len(runs),
                "yaxis": "y2",
                "marker": {"color": regime.value, "line": {"width": 0}},
                "hoverinfo": "skip",
            }
        )
    return traces


def _probability_traces(item: AssetRecord, rows: Any) -> list[Trace]:
    """Regime probabilities as a stacked area; bars without one are left open."""
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": f"P({regime.value})",
            "legendgroup": regime.value,
            "showlegend": False,
            "x": "@regime_time",
            "y": numbers(item.probabilities[rows, column], 3),
            "yaxis": "y3",
            "stackgroup": "probability",
            "line": {"width": 0, "color": regime.value},
            "fillcolor": f"{regime.value}-soft",
            "hovertemplate": "%{y:.0%}",
        }
        for column, regime in enumerate(REGIMES)
    ]


def _position_trace(item: AssetRecord, record: RunRecord) -> Trace:
    """Signed notional / equity."""
    times_ms, equity = equity_curve(record)
    held = held_fraction(item, times_ms, equity)
    rows = thinned_rows(held)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "position",
        "x": instants(times_ms[rows]),
        "y": numbers(held[rows], 4),
        "yaxis": "y4",
        "fill": "tozeroy",
        "showlegend": False,
        "line": {"color": "accent", "width": 1, "shape": "hv"},
        "fillcolor": "accent-soft",
        "hovertemplate": "%{y:+.0%} of equity",
    }
