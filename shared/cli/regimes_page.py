"""The page of `ost regimes compare`: price with the ribbon of every classifier, and the figures, in one self-contained file."""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from shared.backtest.report.figure import GENERATED, Figure, Trace, marked_generated, panel
from shared.backtest.report.series import instants, numbers, thinned_rows
from shared.cli.regimes_result import Comparison, Ribbon, TextTable, tables
from shared.domain.interval import format_ms
from shared.domain.regime import REGIMES
from shared.regime.comparison import Held
from shared.regime.transition import NOTHING_HELD

_STRIP = 0.09  # height of one ribbon
_GAP = 0.03


def render_comparison(result: Comparison) -> str:
    """The comparison as a complete HTML page (about 5 MB, most of it plotly.js)."""
    from plotly.offline import get_plotlyjs

    resources = files("shared.backtest.report")
    style, script = (resources.joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    title = escape("Regime classifiers" + (f" · {GENERATED}" if result.generated else ""))
    parts = (_header(result, title), *map(_table, tables(result)), *(_figure(ribbon, result) for ribbon in result.ribbons))
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><style>{style}</style></head>\n<body><main>{body}</main>\n'
        f"<script>{get_plotlyjs()}</script>\n<script>{script}</script></body></html>\n"
    )


def _header(result: Comparison, title: str) -> str:
    banner = (
        '<p class="banner" role="note"><strong>These markets are generated.</strong> The prices are made up by a random '
        "process; nothing here says what the strategy would earn on a real one.</p>"
        if result.generated
        else ""
    )
    return f'<h1>{title}</h1><p class="lead">{escape(result.source)}</p>{banner}'


def _table(table: TextTable) -> str:
    classes = [""] * table.names + [' class="n"'] * (len(table.columns) - table.names)
    head = "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in zip(classes, table.columns, strict=True))
    rows = "".join(
        "<tr>" + "".join(f"<td{kind}>{escape(text)}</td>" for kind, text in zip(classes, row, strict=True)) + "</tr>"
        for row in table.rows
    )
    return (
        f'<div class="scroll"><table><caption>{escape(table.title)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _figure(ribbon: Ribbon, result: Comparison) -> str:
    figure = ribbon_figure(ribbon)
    drawn = marked_generated(figure) if result.generated else figure
    data = json.dumps(drawn, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    span = f"{format_ms(int(ribbon.close_time[0]))} to {format_ms(int(ribbon.close_time[-1]))}"
    about = f"{span}; each ribbon is the regime held ({', '.join(ribbon.held)}, from above); drag to zoom in"
    caption = f"{ribbon.symbol}: price and regimes" + (f" ({GENERATED})" if result.generated else "")
    return (
        f"<figure><figcaption>{escape(caption)}<small>{escape(about)}</small></figcaption>"
        f'<div class="plot" role="img" aria-label="{escape(caption)}" style="min-height:{figure["layout"]["height"]}px"></div>'
        f'<script type="application/json">{data}</script></figure>'
    )


def ribbon_figure(ribbon: Ribbon) -> Figure:
    """Price above, one strip per classifier below."""
    count = len(ribbon.held)
    top = count * (_STRIP + _GAP)
    rows = thinned_rows(ribbon.close)
    data: list[Trace] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "close",
            "x": instants(ribbon.close_time[rows]),
            "y": numbers(ribbon.close[rows]),
            "line": {"color": "ink-soft", "width": 1.3},
            "showlegend": False,
            "hovertemplate": "%{y:,.8~g}",
        }
    ]
    layout: dict[str, Any] = {"xaxis": {}, "yaxis": panel(top, 1.0, "price", tickformat=",.8~g")}
    for place, (name, held) in enumerate(ribbon.held.items()):
        upper, axis = top - place * (_STRIP + _GAP) - _GAP, place + 2
        hidden = {"range": [0, 1], "showticklabels": False, "showgrid": False, "zeroline": False}
        layout[f"yaxis{axis}"] = panel(upper - _STRIP, upper, name, **hidden)
        data += _strip(ribbon, held, f"y{axis}", legend=place == 0)
    return {"columns": {}, "data": data, "layout": {**layout, "barmode": "overlay", "height": 420 + 60 * count}}


def _strip(ribbon: Ribbon, held: Held, axis: str, *, legend: bool) -> list[Trace]:
    """One bar for each run of a regime; what is known at a close holds until the next one."""
    starts = np.flatnonzero(np.diff(held, prepend=NOTHING_HELD - 1))
    ends = np.append(starts[1:], len(held))
    traces = []
    for place, regime in enumerate(REGIMES):
        runs = [(int(a), int(b)) for a, b in zip(starts, ends, strict=True) if held[a] == place]
        traces.append(
            {
                "type": "bar",
                "name": regime.value,
                "legendgroup": regime.value,
                "showlegend": legend,
                "x": [int(ribbon.close_time[a]) for a, _ in runs],
                "width": [(b - a) * ribbon.interval.ms for a, b in runs],
                "offset": 0,
                "y": [1] * len(runs),
                "yaxis": axis,
                "marker": {"color": regime.value, "line": {"width": 0}},
                "hoverinfo": "skip",
            }
        )
    return traces
