"""Trades and protective stops as they are drawn into a price panel, and the profit of every round trip."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from shared.backtest.report.figure import Figure, Trace
from shared.backtest.report.record import AssetRecord
from shared.backtest.report.series import instants, numbers
from shared.domain.interval import format_ms
from shared.domain.orders import OrderKind, OrderState
from shared.domain.records import Trade

_FEW = 12  # round trips that can all be numbered
_REASONS = 1  # sentences of a decision that fit beside a mark: the first is the most important one


def trade_traces(item: AssetRecord) -> list[Trace]:
    """Entries (triangles in the direction of the trade), exits (open circles), and a line between them."""
    reasons = {decision.id: decision.reasons[:_REASONS] for decision in item.decisions}
    explained = any(trade.open_decision_id for trade in item.trades)  # a backtest keeps no decisions

    def lines(trade: Trade, what: str, at_ms: int, price: Decimal, decision: str | None) -> list[str]:
        size = f"{format_ms(at_ms)} {what} {trade.side} {trade.quantity.normalize():f} at {float(price):,.8g}"
        return [
            size,
            f"P&L {trade.profit:+,.2f}",
            *([decision or "no decision: the venue did it"] if explained else []),
            *reasons.get(decision or "", ()),
        ]

    traces = _paths(item.trades)
    for side, symbol in (("long", "triangle-up"), ("short", "triangle-down")):
        some = [trade for trade in item.trades if trade.side == side]
        if some:
            entries = [lines(t, "enter", t.opened_ms, t.entry_price, t.open_decision_id) for t in some]
            traces.append(
                {
                    **_marks(f"{side} entry", [t.opened_ms for t in some], [float(t.entry_price) for t in some]),
                    "hover": entries,
                    "marker": {"symbol": symbol, "size": 10, "color": side, "line": {"width": 1, "color": "card"}},
                }
            )
    if item.trades:
        stopped = _stopped_trades(item)
        forced = {**dict.fromkeys(stopped, "stopped out of"), **item.forced}
        reasons |= dict.fromkeys(stopped.values(), ("the stop that this decision had set was hit",))
        exits = [lines(t, forced.get(t.id, "leave"), t.closed_ms, t.exit_price, t.close_decision_id) for t in item.trades]
        colours = ["gain" if trade.profit > 0 else "loss" for trade in item.trades]
        traces.append(
            {
                **_marks("exit", [t.closed_ms for t in item.trades], [float(t.exit_price) for t in item.trades]),
                "hover": exits,
                "marker": {
                    "symbol": ["x-thin" if t.id in forced else "circle" for t in item.trades],
                    "size": 7,
                    "color": "card",
                    "line": {"width": 2, "color": colours},
                },
            }
        )
    return traces


def _stopped_trades(item: AssetRecord) -> dict[str, str]:
    """Trades that a protective stop closed, and the decision that had set it.

    A market order of the same decision would have closed the trade at the decision's own instant, a stop does so later.
    """
    decided_ms = {decision.id: decision.bar_close_ms for decision in item.decisions}
    hit = {
        order.intent.decision_id
        for order in item.orders
        if order.intent.kind is OrderKind.STOP and order.state is OrderState.FILLED
    }
    return {
        trade.id: trade.close_decision_id
        for trade in item.trades
        if trade.close_decision_id in hit and trade.closed_ms > decided_ms.get(trade.close_decision_id, trade.closed_ms)
    }


def _marks(name: str, times_ms: list[int], prices: list[float]) -> Trace:
    return {"type": "scatter", "mode": "markers", "name": name, "x": instants(times_ms), "y": numbers(prices, 8)}


def _paths(trades: Sequence[Trade]) -> list[Trace]:
    """From entry to exit: solid with a profit, dashed with a loss."""
    traces: list[Trace] = []
    for colour, dash, won in (("gain", "solid", True), ("loss", "dash", False)):
        some = [trade for trade in trades if (trade.profit > 0) is won]
        if some:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": "with profit" if won else "with loss",
                    "x": [time_ms for t in some for time_ms in (t.opened_ms, t.closed_ms, None)],
                    "y": [p for t in some for p in (*numbers([float(t.entry_price), float(t.exit_price)], 8), None)],
                    "line": {"color": colour, "width": 2, "dash": dash},
                    "hoverinfo": "skip",
                }
            )
    return traces


def stop_traces(item: AssetRecord) -> list[Trace]:
    """Each protective stop as a dotted line over its life."""
    stops = [order for order in item.orders if order.intent.kind is OrderKind.STOP and order.intent.stop_price is not None]
    if not stops:
        return []
    times: list[int | None] = []
    prices: list[float | int | None] = []
    for order in stops:
        start_ms = order.intent.created_ms
        times += [start_ms, max(order.updated_ms, start_ms), None]
        prices += [*numbers([float(order.intent.stop_price or 0)] * 2, 8), None]
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "stop",
            "x": times,
            "y": prices,
            "line": {"color": "warn", "width": 1.2, "dash": "dot"},
            "hovertemplate": "%{y:,.8~g}",
        }
    ]


def profit_figure(trades: Sequence[Trade]) -> Figure:
    """Profit of every round trip after fees, in the order in which they were closed, and the sum of them."""
    ordered = sorted(trades, key=lambda trade: trade.closed_ms)
    total = np.cumsum([float(trade.profit) for trade in ordered])
    hover = [
        [f"{t.symbol} {t.side}, closed {format_ms(t.closed_ms)}", f"P&L {t.profit:+,.2f}", t.open_decision_id or t.id]
        for t in ordered
    ]
    return {
        "columns": {"number": list(range(1, len(ordered) + 1))},
        "data": [
            {
                "type": "bar",
                "name": "round trip",
                "x": "@number",
                "y": numbers((float(trade.profit) for trade in ordered), 7),
                "hover": hover,
                "marker": {"color": ["gain" if trade.profit > 0 else "loss" for trade in ordered]},
                "showlegend": False,
            },
            {
                "type": "scatter",
                "mode": "lines",
                "name": "sum",
                "x": "@number",
                "y": numbers(total, 8),
                "line": {"color": "accent", "width": 2, "shape": "hvh"},
                "hovertemplate": "%{y:+,.2f}",
            },
        ],
        "layout": {
            "xaxis": {
                "type": "linear",
                "title": {"text": "round trip, by time of exit"},
                "showspikes": False,
                **({"dtick": 1} if len(ordered) <= _FEW else {}),
            },
            "yaxis": {"title": {"text": "P&L after fees"}, "tickformat": ",.0f", "fixedrange": True, "zeroline": True},
            "height": 320,
        },
    }
