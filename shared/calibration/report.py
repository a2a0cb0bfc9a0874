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

from shared.backtest.report.figure import Figure, marked_generated
from shared.backtest.report.tables import html_table, number, percent
from shared.calibration.campaign import confirmation, evidence
from shared.calibration.report_figures import (
    confirmation_figure,
    distribution_figure,
    equity_figure,
    overfitting_figure,
    scatter_figure,
)
from shared.calibration.significance.returns import YEAR_ROOT
from shared.calibration.spec import CampaignSpec
from shared.domain.interval import format_ms
from shared.domain.research import CampaignRecord
from shared.ports import Bucket

GENERATED_VENUE = "generated"
_NUMERIC = frozenset(
    {"Sharpe", "train Sharpe", "test Sharpe", "return", "incumbent", "drawdown", "trades", "active days", "value", "threshold"}
)


def render(record: CampaignRecord, bucket: Bucket) -> str:
    """The report of a finished campaign as a complete HTML page. Raises `DataNotFound` where its arrays are gone."""
    from plotly.offline import get_plotlyjs

    resources = files("shared.backtest.report")
    style, script = (resources.joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    title = escape(f"Campaign {record.id}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><style>{style}</style></head>\n<body><main>{_body(record, bucket)}</main>\n'
        f"<script>{get_plotlyjs()}</script>\n<script>{script}</script></body></html>\n"
    )


def _body(record: CampaignRecord, bucket: Bucket) -> str:
    generated = record.asset.venue == GENERATED_VENUE
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
    spec = CampaignSpec.from_dict(record.spec)
    found, confirmed = evidence(spec, bucket), confirmation(spec, bucket)
    plots = [
        (
            "Out of sample",
            "test windows one after the other, each with a fresh account",
            equity_figure(spec, found, record.outcome),
        )
    ]
    if confirmed is not None:
        plots.append(("Confirmation", "the days that chose nothing", confirmation_figure(spec, confirmed)))
    plots.append(("Sharpe of all variants", "annual, over all test windows", distribution_figure(found, record.outcome)))
    plots.append(("Training against test", "annual Sharpe of each variant", scatter_figure(spec, found)))
    if record.outcome["verdict"] is not None and record.outcome["verdict"]["record"]["pbo"] is not None:
        about = "the best variant of one half of the test days in the other half: at or below 0 it is no better than the median"
        plots.append(("Backtest overfitting", about, overfitting_figure(found, spec.significance.pbo_slices)))
    drawn = [_figure(caption, about, plot, generated) for caption, about, plot in plots]
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
        + f"<p>{escape(seen_sentence(verdict['record']))}</p>"
    )


def seen_sentence(record: Mapping[str, Any]) -> str:
    """Who had looked at the days of the confirmation before, and what that leaves of its level."""
    seen, level = record.get("seen_before"), record["ledoit_wolf"]["alpha"]
    if seen is None:  # the ledger keeps verdicts of earlier versions
        return f"Level of the confirmation: {level:.2g}; when this was decided, only campaigns counted as looks at its days."
    return (
        f"Days of the confirmation were looked at before by {seen['campaigns']} campaigns, for {seen['candidates']} of these "
        f"candidates and for {seen['other_variants']} other variants; the first two are looks, and leave the level {level:.2g}."
    )


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
            percent(one["active_share"], 0),
        )
        for one in shown
    ]
    columns = ("variant", "train Sharpe", "Sharpe", "return", "drawdown", "trades", "active days")
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
    return None if value is None else value * YEAR_ROOT


def _digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
