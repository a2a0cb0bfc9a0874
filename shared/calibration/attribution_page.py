"""The page of `ost alphas report`: what each score knows, what the system loses without it, which scores say the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from shared.backtest.report.figure import GENERATED, Figure, marked_generated
from shared.calibration.attribution import HORIZONS, MAIN_HORIZON, Attribution
from shared.calibration.information import Coefficient
from shared.domain.interval import format_ms

_CONVENTIONS = (
    "IC: Spearman rank correlation of the score at a close with the log return from the next open over h bars; t from "
    f"Newey-West errors with 2h lags on the mean over assets; p of h = {MAIN_HORIZON} corrected over all scores (Holm). "
    "Ablation: one backtest with the piece taken out (weight 0) or muted (it says 0 at the same weight), Sharpe ratios "
    "annualised (365 days), Ledoit-Wolf bootstrap, Holm over all tests, breakers off; exposure is mean |notional| / equity, "
    "fees are of the capital."
)


def render_page(report: Attribution, *, label: str, generated: bool) -> str:
    """A complete HTML page that needs nothing else."""
    from plotly.offline import get_plotlyjs

    resources = files("shared.backtest.report")
    style, script = (resources.joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    title = escape("Alphas and agents" + (f" · {GENERATED}" if generated else ""))
    lead = f"{', '.join(report.assets)} · {format_ms(report.start_ms)} to {format_ms(report.end_ms)} · {label}"
    sentences = "".join(f"<li>{escape(line)}</li>" for line in (*report.sentences, *report.problems))
    body = "\n".join(
        (
            f'<h1>{title}</h1><p class="lead">{escape(lead)}</p><ul>{sentences}</ul>',
            _figure("Information coefficient by horizon", "decay of what each score knows", _decay(report), generated),
            _table(
                ("score", "kind", *(f"IC {h}" for h in HORIZONS), "t", "p (Holm)", "hit", "speaks", "turnover"), _rows(report)
            ),
            _figure("Sharpe with minus without", "annualised; above 0 the piece helps", _ablation(report), generated)
            if report.ablations
            else "",
            _table(
                ("piece", "with", "without", "difference", "p helps (Holm)", "p hurts (Holm)", "exposure", "fees", "verdict"),
                _pieces(report),
            )
            if report.ablations
            else "",
            _figure("Correlation of the scores", "1 says the same, 0 nothing in common", _heat(report), generated),
            f'<p class="quiet">{escape(_CONVENTIONS)}</p>',
        )
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><style>{style}</style></head>\n<body><main>{body}</main>\n'
        f"<script>{get_plotlyjs()}</script>\n<script>{script}</script></body></html>\n"
    )


def _decay(report: Attribution) -> Figure:
    def value(found: Coefficient | None) -> float | None:
        return None if found is None else found.value

    data = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": one.name,
            "x": [str(horizon) for horizon in HORIZONS],
            "y": [value(one.by_horizon[horizon]) for horizon in HORIZONS],
        }
        for one in report.information
    ]
    return _plain("bars ahead", "IC", data, 420)


def _ablation(report: Attribution) -> Figure:
    colours = ["gain" if one.difference > 0 else "loss" for one in report.ablations]
    trace = {
        "type": "bar",
        "x": [f"{one.name} {one.how}" for one in report.ablations],
        "y": [one.difference for one in report.ablations],
        "marker": {"color": colours},
    }
    return _plain("", "Sharpe difference", [trace], 420)


def _heat(report: Attribution) -> Figure:
    names = [one.name for one in report.information]
    values = [[None if np.isnan(cell) else round(float(cell), 3) for cell in row] for row in report.correlations]
    trace = {"type": "heatmap", "x": names, "y": names, "z": values, "zmin": -1, "zmax": 1, "colorscale": "RdBu"}
    return _plain("", "", [trace], 560)


def _plain(x: str, y: str, data: Sequence[dict[str, Any]], height: int) -> Figure:
    layout = {
        "height": height,
        "xaxis": {"type": "category", "automargin": True, "title": {"text": x}},
        "yaxis": {"title": {"text": y}},
    }
    return {"columns": {}, "data": list(data), "layout": layout}


def _rows(report: Attribution) -> list[list[str]]:
    return [score_row(report, place) for place in range(len(report.information))]


def score_row(report: Attribution, place: int) -> list[str]:
    """One score as texts: name, kind, IC at each horizon, t, corrected p, hit rate, coverage, turnover."""
    one = report.information[place]
    main = one.by_horizon[MAIN_HORIZON]
    coefficients = [f"{found.value:+.3f}" if found else "" for found in one.by_horizon.values()]
    p = report.p_holm.get(one.name)
    return [
        one.name,
        report.kinds[one.name],
        *coefficients,
        f"{main.t:+.1f}" if main else "",
        f"{p:.3f}" if p is not None else "",
        f"{one.hit_rate:.1%}" if one.hit_rate is not None else "",
        f"{one.coverage:.0%}",
        f"{one.turnover:.3f}",
    ]


def _pieces(report: Attribution) -> list[list[str]]:
    return [piece_row(report, place) for place in range(len(report.ablations))]


def piece_row(report: Attribution, place: int) -> list[str]:
    """One ablation as texts: piece, Sharpe with and without, difference, corrected p both ways, verdict."""
    one = report.ablations[place]
    return [
        f"{one.name} {one.how}",
        f"{one.sharpe_with:+.2f}",
        f"{one.sharpe_without:+.2f}",
        f"{one.difference:+.2f}",
        f"{one.p_helps_holm:.3f}",
        f"{one.p_hurts_holm:.3f}",
        f"{one.exposure_with:.0%} / {one.exposure_without:.0%}",
        f"{one.fees_with:.0%} / {one.fees_without:.0%}",
        one.verdict,
    ]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="card"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _figure(caption: str, about: str, figure: Figure, generated: bool) -> str:
    drawn = marked_generated(figure) if generated else figure
    data = json.dumps(drawn, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    height = int(figure["layout"]["height"])
    return (
        f"<figure><figcaption>{escape(caption)}<small>{escape(about)}</small></figcaption>"
        f'<div class="plot" role="img" aria-label="{escape(caption)}: {escape(about)}" style="min-height:{height}px"></div>'
        f'<script type="application/json">{data}</script></figure>'
    )
