"""Looks of the monitor and its simulation as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.cli import output
from shared.domain.interval import format_ms
from shared.monitor.statistics import YEAR_ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from shared.monitor.false_alarms import Detection, FalseAlarms, Plan
    from shared.monitor.performance import Finding, PerformanceCheck


def looks_view(name: str, checks: Mapping[str, PerformanceCheck], reasons: Sequence[str]) -> RenderableType:
    """Checks by what was looked at, and a line for what came of each."""
    from rich.console import Group
    from rich.markup import escape

    if not checks:
        return f"{escape(name)} has no equity yet: nothing to compare"
    rows = [(symbol, *_cells(finding)) for symbol, check in checks.items() for finding in check.findings]
    columns = ("of", "metric", "now", "baseline", "change", "z", "threshold", "verdict")
    last = next(iter(checks.values()))
    title = f"{escape(name)}, {last.days} days up to {format_ms(last.at_ms)}, annual figures"
    table = [output.table(columns, rows, title=title, right=columns[2:7])] if rows else []
    return Group(*table, *map(escape, reasons))


def _cells(finding: Finding) -> tuple[str, ...]:
    root = YEAR_ROOT
    form = "{:+.2f}" if finding.metric == "sharpe" else "{:.1%}"
    values = ("" if value is None else form.format(value * root) for value in (finding.current, finding.baseline))
    change = "" if finding.relative_change is None else f"{finding.relative_change:+.0%}"
    z = "" if finding.z is None else f"{finding.z:+.2f}"
    verdict = "not judged" if finding.z is None else "beyond chance" if finding.fired else "no"
    return finding.metric, *values, change, z, f"{finding.threshold:g}", verdict


def simulation_view(plan: Plan, rates: list[FalseAlarms], likely: list[FalseAlarms], found: list[Detection]) -> RenderableType:
    """Days between false alarms, and how soon changes are found."""
    from rich.console import Group

    looks = f"{plan.paths} accounts x {plan.years:g} years, {'hourly' if plan.hourly else 'daily'} looks"
    within = list(found[0].shares)
    hits = [(one.law, one.change, *(f"{share:.0%}" for share in one.shares.values())) for one in found]
    return Group(
        _rates_table(f"Days between false alarms: {looks}", rates),
        _rates_table(f"The same with baselines like champions': few days, passed as a test: {looks}", likely),
        output.table(
            ("returns", "change", *(f"{days} days" for days in within)),
            hits,
            title="Found within, configured thresholds, daily looks",
            right=[f"{days} days" for days in within],
        ),
    )


def _rates_table(title: str, rates: list[FalseAlarms]) -> RenderableType:
    thresholds = list(rates[0].sharpe_days)
    columns = ("returns", "metric", *(f"z {z}" for z in thresholds), "configured", "plain 15 %")
    rows = []
    for rate in rates:
        sharpe, volatility = map(_days, rate.sharpe_days.values()), map(_days, rate.volatility_days.values())
        rows.append(
            (rate.law, f"Sharpe, baseline {rate.baseline_sharpe:.2f}", *sharpe, "", f"{rate.plain_sharpe:.0%} of looks")
        )
        rows.append(("", "volatility", *volatility, "", f"{rate.plain_volatility:.0%} of looks"))
        rows.append(("", "both", *([""] * len(thresholds)), _days(rate.configured_days), f"{rate.plain_either:.0%}"))
    return output.table(columns, rows, title=title, right=columns[2:])


def _days(value: float | None) -> str:
    return "none" if value is None else f"{value:,.0f}"
