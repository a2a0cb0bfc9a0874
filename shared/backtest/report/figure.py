"""What all figures share: a plotly figure as a plain dict, in the page's own short form.

A figure has `columns` (arrays by name, written once), `data` (plotly traces; the text `@name` stands for a column) and
`layout`. Colours are names of the page's palette (`calm`, `gain`, `ink-soft` …), so that one figure serves dark and light.
Gain and loss, long and short also differ in shape or place, not in colour alone.
"""

from __future__ import annotations

from typing import Any

Figure = dict[str, Any]
Trace = dict[str, Any]

GENERATED = "generated market"


def level(axis: str, value: float, colour: str, label: str) -> dict[str, Any]:
    """A dashed horizontal line across the plot at `value` of `axis`, with its name at the right end."""
    return {
        "type": "line",
        "layer": "below",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "yref": axis,
        "y0": value,
        "y1": value,
        "line": {"color": colour, "width": 1, "dash": "dot"},
        "label": {"text": label, "textposition": "end", "font": {"size": 10, "color": colour}, "padding": 2},
    }


def span(start_ms: int, end_ms: int, axis: str, colour: str) -> dict[str, Any]:
    """A coloured background from `start_ms` to `end_ms` over the whole height of `axis`."""
    return {
        "type": "rect",
        "layer": "below",
        "xref": "x",
        "x0": start_ms,
        "x1": end_ms,
        "yref": f"{axis} domain",
        "y0": 0,
        "y1": 1,
        "line": {"width": 0},
        "fillcolor": colour,
    }


def panel(bottom: float, top: float, title: str, **more: Any) -> dict[str, Any]:
    """A y axis that fills [bottom, top] of the figure's height; only the time axis zooms."""
    return {"domain": [bottom, top], "title": {"text": title}, "fixedrange": True, **more}


def marked_generated(figure: Figure) -> Figure:
    """The figure with the words "generated market" written over it."""
    words = {
        "text": GENERATED,
        "xref": "paper",
        "yref": "paper",
        "x": 0.5,
        "y": 0.6,
        "showarrow": False,
        "opacity": 0.3,
        "font": {"size": 30, "color": "warn"},
    }
    layout = figure["layout"]
    return figure | {"layout": layout | {"annotations": [*layout.get("annotations", ()), words]}}
