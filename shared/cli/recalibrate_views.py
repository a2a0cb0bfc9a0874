"""Recalibrations as rows for machines and tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shared.domain.interval import format_ms

if TYPE_CHECKING:
    from shared.domain.research import RecalibrationEvent


def row(event: RecalibrationEvent, more: Mapping[str, Any]) -> dict[str, Any]:
    """One event for `--json`, with `more` about it."""
    return {
        "event": event.id,
        "asset": event.asset.symbol,
        "trigger": event.trigger,
        "created": format_ms(event.created_ms),
        "status": event.status,
        "regime": event.regime.get("regime"),
        "why": event.measured.get("reason"),
        **more,
    }


def view(rows: Sequence[Mapping[str, Any]], *, dry_run: bool) -> Any:
    """Events as a table, and what came, or would come, of each."""
    from rich.console import Group
    from rich.markup import escape

    from shared.cli import output

    if not rows:
        return "nothing to do: no recalibration waits; the monitor opens one where it is due (ost monitor), or name an --asset"
    columns = ("event", "asset", "trigger", "opened", "status", "regime then", "champion")
    cells = [
        (one["event"], one["asset"], one["trigger"], one["created"], one["status"], one["regime"], one.get("champion"))
        for one in rows
    ]
    lines = [f"{one['asset']}: {one['reason']}" for one in rows if one.get("reason")]
    if dry_run:
        lines += [f"{one['asset']}: would run {_facts(one['plan'])}" for one in rows if "plan" in one]
    return Group(output.table(columns, cells), *map(escape, lines))


def _facts(plan: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in plan.items())
