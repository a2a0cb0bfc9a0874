"""A campaign as one HTML page that needs nothing else: what was decided, why, and the plots that show it.

Written from the ledger's record and the arrays in the bucket, so that an old campaign can be looked at again. Style and drawing
are those of the backtest's report (`shared/backtest/report`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from shared.backtest.report.figure import Figure, marked_generated
from shared.backtest.report.series import numbers
from shared.backtest.report.tables import html_table, number, percent
from shared.calibration.campaign import confirmation, evidence
from shared.calibration.selection import Evidence
from shared.calibration.spec import CampaignSpec
from shared.domain.candles import FloatArray
from shared.domain.interval import DAY_MS, format_ms
from shared.domain.research import CampaignRecord
from shared.ports import Bucket

YEAR = 365**0.5
_NUMERIC = frozenset(
    {"Sharpe", "train Sharpe", "test Sharpe", "return", "incumbent", "drawdown", "trades", "value", "threshold"}
)


def render(record: CampaignRecord, bucket: Bucket, *, generated: bool = False) -> str:
    """The report of a finished campaign as a complete HTML page. Raises `DataNotFound` where its arrays are gone."""
    from plotly.offline import get_plotlyjs

    resources = files("shared.backtest.report")
    style, script = (resources.joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    title = escape(f"Campaign {record.id}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><style>{style}</style></head>\n<body><main>{_body(record, bucket, generated)}</main>\n'
        f"<script>{get_plotlyjs()}</script>\n<script>{script}</script></body></html>\n"
    )


def _body(record: CampaignRecord, bucket: Bucket, generated: bool) -> str:
    lead = (
        f"{record.asset} · {record.interval} bars · {format_ms(record.spec['start_ms'])[:10]} to "
        f"{format_ms(record.spec['end_ms'])[:10]} · {len(record.spec['variants'])} variants · "
        f"{record.spec['origin'].get('market', 'market data')} · code {record.spec['code_version']}"
    )
    head = f'<h1>{escape(f"Campaign {record.id}")}</h1><p class="lead">{escape(lead)}</p>'
    if generated:
        head += (
            '<p class="banner" role="note"><strong>This is a generated market.</strong> It says nothing about a real one.</p>'
        )
    if record.outcome is None:
        return head + "<p>Not finished: the command that started it goes on with it.</p>"
    spec, found = CampaignSpec.from_dict(record.spec), evidence(CampaignSpec.from_dict(record.spec), bucket)
    plots = [
        (
            "Out of sample",
            "all test windows, each with a fresh account, one after the other",
            _equity(spec, found, record.outcome),
        ),
        ("Confirmation", "the days that chose nothing", _confirmed(spec, bucket, record.outcome)),
        ("Sharpe of all variants", "annual, over all test windows", _distribution(found, record.outcome)),
        (
            "Training against test",
            "annual Sharpe of each variant, mean of the training windows and test windows",
            _scatter(spec, found),
        ),
    ]
    drawn = [_figure(caption, about, plot, generated) for caption, about, plot in plots if plot is not None]
    return "\n".join(
        [head, _decision(record.outcome), *drawn, _variants(record.outcome), _folds(record.outcome), _details(record)]
    )


def _decision(outcome: Mapping[str, Any]) -> str:
    word = "Improvement" if outcome["promoted"] else "No significant improvement"
    verdict = outcome["verdict"]
    if verdict is None:
        return f"<h2>{word}</h2><p>{escape(outcome['reason'])}</p>"
    rows = [
        (
            one["name"],
            "passed" if one["passed"] else "failed",
            _digits(one["value"]),
            _digits(one["threshold"]),
            one["sentence"],
        )
        for one in verdict["conditions"]
    ]
    overfitting = verdict["record"]["pbo"]
    pbo = "not defined" if overfitting is None else percent(overfitting["pbo"], 0)
    return (
        f"<h2>{word}</h2>"
        + html_table("What promotion needs", ("condition", "result", "value", "threshold", "in words"), rows, _NUMERIC)
        + f"<p>Probability of backtest overfitting: {pbo}. Variants ever tried on this asset: {outcome['trials_ever']}.</p>"
    )


def _equity(spec: CampaignSpec, found: Evidence, outcome: Mapping[str, Any]) -> Figure:
    """Growth of 1 over the stitched test windows: incumbent, winner, walk-forward choice."""
    days = [start for fold in spec.plan.folds for start in range(fold.test.start_ms, fold.test.end_ms, DAY_MS)]
    curves = {"incumbent": found.test_returns[0], "walk-forward": found.walk_forward([f.test.days for f in spec.plan.folds])[1]}
    if outcome["winner"] is not None:
        curves["best variant (chosen by this plot)"] = found.test_returns[outcome["winner"]["place"]]
    return _curves(days, curves)


def _confirmed(spec: CampaignSpec, bucket: Bucket, outcome: Mapping[str, Any]) -> Figure | None:
    returns = confirmation(spec, bucket)
    if returns is None:
        return None
    days = list(range(spec.plan.confirm.start_ms, spec.plan.confirm.end_ms, DAY_MS))
    return _curves(days, {"incumbent": returns[1], "winner": returns[0]})


def _curves(days: list[int], curves: Mapping[str, FloatArray]) -> Figure:
    colours = ("ink-faint", "series-3", "accent") if len(curves) == 3 else ("ink-faint", "accent")
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": "@time",
            "y": numbers(np.cumprod(1 + returns), 6),
            "line": {"color": colour, "width": 2},
            "hovertemplate": "%{y:.4f}",
        }
        for (name, returns), colour in zip(curves.items(), colours, strict=False)
    ]
    layout = {"xaxis": {"range": [days[0], days[-1]]}, "yaxis": {"title": {"text": "growth of 1"}, "fixedrange": True}}
    return {"columns": {"time": days}, "data": traces, "layout": {**layout, "height": 340}}


def _distribution(found: Evidence, outcome: Mapping[str, Any]) -> Figure:
    """How the variants' Sharpe ratios spread, and what the best of as many worthless ones would show by luck."""
    ratios = found.test_sharpe() * YEAR
    known = ratios[np.isfinite(ratios)]
    counts, edges = np.histogram(known, bins=min(30, max(5, len(known) // 3)))
    marks = {"incumbent": ratios[0]}
    if outcome["verdict"] is not None:
        marks["luck of all trials"] = outcome["verdict"]["record"]["annual_sharpe"]["luck_of_all_trials"]
    lines = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": numbers([value, value], 5),
            "y": [0, int(counts.max(initial=1))],
            "line": {"color": colour, "width": 2, "dash": "dot"},
        }
        for (name, value), colour in zip(marks.items(), ("ink-soft", "warn"), strict=False)
        if np.isfinite(value)
    ]
    bars = {"type": "bar", "name": "variants", "x": numbers((edges[1:] + edges[:-1]) / 2, 5), "y": counts.tolist()}
    layout = {
        "xaxis": {"type": "linear", "title": {"text": "annual Sharpe ratio"}, "showspikes": False},
        "yaxis": {"title": {"text": "variants"}, "fixedrange": True},
        "height": 320,
    }
    return {"columns": {}, "data": [{**bars, "marker": {"color": "accent"}}, *lines], "layout": layout}


def _scatter(spec: CampaignSpec, found: Evidence) -> Figure:
    moved = np.isfinite(found.train_sharpe)
    counts = moved.sum(axis=1)
    total = np.where(moved, found.train_sharpe, 0.0).sum(axis=1)
    train = np.where(counts > 0, total / np.maximum(counts, 1), np.nan) * YEAR
    labels = [["incumbent" if place == 0 else variant.label] for place, variant in enumerate(spec.variants)]
    points = {
        "type": "scatter",
        "mode": "markers",
        "name": "variant",
        "x": numbers(train, 5),
        "y": numbers(found.test_sharpe() * YEAR, 5),
        "hover": labels,
        "marker": {"color": ["warn" if place == 0 else "accent" for place in range(len(labels))], "size": 8},
        "showlegend": False,
    }
    layout = {
        "xaxis": {"type": "linear", "title": {"text": "training"}, "showspikes": False},
        "yaxis": {"title": {"text": "test"}, "fixedrange": True, "zeroline": True},
        "height": 380,
    }
    return {"columns": {}, "data": [points], "layout": layout}


def _variants(outcome: Mapping[str, Any]) -> str:
    shown = [*outcome["best"]]
    if all(one["place"] != 0 for one in shown):
        shown.append(outcome["incumbent"])
    rows = [
        (
            one["label"],
            number(_annual(one["train_sharpe"])),
            number(one["sharpe_annual"]),
            f"{one['total_return']:+.2%}",
            percent(one["max_drawdown"]),
            str(one["trades"]),
        )
        for one in shown
    ]
    columns = ("variant", "train Sharpe", "Sharpe", "return", "drawdown", "trades")
    return html_table("Best variants over all test windows", columns, rows, _NUMERIC)


def _folds(outcome: Mapping[str, Any]) -> str:
    rows = [
        (
            f"{format_ms(fold['train']['start_ms'])[:10]} – {format_ms(fold['train']['end_ms'])[:10]}",
            f"{format_ms(fold['test']['start_ms'])[:10]} – {format_ms(fold['test']['end_ms'])[:10]}",
            fold["label"],
            number(_annual(fold["train_sharpe"])),
            number(_annual(fold["test_sharpe"])),
            f"{fold['test_return']:+.2%}",
            f"{fold['incumbent_return']:+.2%}",
        )
        for fold in outcome["walk_forward"]["folds"]
    ]
    columns = ("training", "test", "chosen in training", "train Sharpe", "test Sharpe", "return", "incumbent")
    return html_table("Walk-forward", columns, rows, _NUMERIC)


def _details(record: CampaignRecord) -> str:
    text = json.dumps({"regime": record.regime, "spec": record.spec, "outcome": record.outcome}, indent=1)
    return f'<details><summary>The full record</summary><pre class="card">{escape(text)}</pre></details>'


def _figure(caption: str, about: str, figure: Figure, generated: bool) -> str:
    """A plot with its caption, and its data as JSON that cannot close the script element."""
    drawn = marked_generated(figure) if generated else figure
    data = json.dumps(drawn, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return (
        f"<figure><figcaption>{escape(caption)}<small>{escape(about)}</small></figcaption>"
        f'<div class="plot" role="img" aria-label="{escape(f"{caption}: {about}")}" '
        f'style="min-height:{int(figure["layout"]["height"])}px"></div>'
        f'<script type="application/json">{data}</script></figure>'
    )


def _annual(value: float | None) -> float | None:
    return None if value is None else value * YEAR


def _digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
