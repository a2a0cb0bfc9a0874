"""The plots of a campaign's report, in the page's own short form (`shared/backtest/report/figure.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from shared.backtest.report.figure import Figure
from shared.backtest.report.series import numbers
from shared.calibration.selection import Evidence
from shared.calibration.significance.overfitting import logits
from shared.calibration.significance.returns import YEAR_ROOT
from shared.calibration.spec import CampaignSpec
from shared.domain.candles import FloatArray
from shared.domain.interval import DAY_MS


def equity_figure(spec: CampaignSpec, found: Evidence, outcome: Mapping[str, Any]) -> Figure:
    """Growth of 1 over the stitched test windows: incumbent, winner, walk-forward choice."""
    days = [start for fold in spec.plan.folds for start in range(fold.test.start_ms, fold.test.end_ms, DAY_MS)]
    stitched = found.walk_forward([fold.test.days for fold in spec.plan.folds], spec.params.min_active_share)[1]
    curves = {"incumbent": found.test_returns[0], "walk-forward": stitched}
    if outcome["winner"] is not None:
        curves["best variant (chosen by this plot)"] = found.test_returns[outcome["winner"]["place"]]
    return _curves(days, curves)


def confirmation_figure(spec: CampaignSpec, returns: tuple[FloatArray, FloatArray]) -> Figure:
    """Growth of 1 over the days that chose nothing: incumbent and winner. `returns`: the winner's first, (d,) each."""
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


def distribution_figure(found: Evidence, outcome: Mapping[str, Any]) -> Figure:
    """How the variants' Sharpe ratios spread, and what the best of as many worthless ones would show by luck."""
    ratios = found.test_sharpe() * YEAR_ROOT
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


def overfitting_figure(found: Evidence, slices: int) -> Figure:
    """Where the best variant of one half of the days ranks in the other half: logit of its rank, all divisions of the days.

    `slices`: of the days, `significance.pbo_slices`. Only candidates that traded, as the verdict has it.
    """
    candidates = found.test_returns[1:]
    values = logits(candidates[candidates.any(axis=1)].T, slices=slices)
    counts, edges = np.histogram(values, bins=40)
    middle = (edges[1:] + edges[:-1]) / 2
    bars = {
        "type": "bar",
        "name": "divisions",
        "x": numbers(middle, 5),
        "y": numbers(counts / len(values), 6),
        "marker": {"color": ["warn" if value <= 0 else "accent" for value in middle]},
        "showlegend": False,
    }
    layout = {
        "xaxis": {"type": "linear", "title": {"text": "logit of the rank out of sample"}, "showspikes": False},
        "yaxis": {"title": {"text": "share of divisions"}, "fixedrange": True},
        "height": 320,
    }
    return {"columns": {}, "data": [bars], "layout": layout}


def scatter_figure(spec: CampaignSpec, found: Evidence) -> Figure:
    """Each variant by its mean Sharpe in training and its Sharpe in the test windows."""
    moved = np.isfinite(found.train_sharpe)
    counts = moved.sum(axis=1)
    total = np.where(moved, found.train_sharpe, 0.0).sum(axis=1)
    train = np.where(counts > 0, total / np.maximum(counts, 1), np.nan) * YEAR_ROOT
    labels = [["incumbent" if place == 0 else variant.label] for place, variant in enumerate(spec.variants)]
    points = {
        "type": "scatter",
        "mode": "markers",
        "name": "variant",
        "x": numbers(train, 5),
        "y": numbers(found.test_sharpe() * YEAR_ROOT, 5),
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
