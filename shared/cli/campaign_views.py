"""Campaigns as tables: decisions, folds, variants, and the conditions of promotion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shared.cli import output
from shared.cli.texts import fixed
from shared.domain.interval import format_ms

if TYPE_CHECKING:
    from rich.console import RenderableType

    from shared.domain.research import CampaignRecord

_RIGHT = ("Sharpe", "active", "return", "drawdown", "trades", "train", "test", "value", "threshold", "variants", "incumbent")


def listed(record: CampaignRecord) -> dict[str, Any]:
    """One line of a list."""
    outcome = record.outcome or {}
    return {
        "id": record.id,
        "asset": str(record.asset),
        "interval": record.interval.value,
        "start": format_ms(record.spec["start_ms"]),
        "end": format_ms(record.spec["end_ms"]),
        "variants": len(record.spec["variants"]),
        "created": format_ms(record.created_ms),
        "state": "unfinished" if record.outcome is None else "improvement" if outcome["promoted"] else "no improvement",
    }


def list_table(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Campaigns, one line each."""
    if not rows:
        return "no campaigns yet; start one with: ost campaign --asset BTCUSDT"
    columns = ("campaign", "asset", "start", "end", "variants", "state")  # 80 characters wide
    lines = [
        (
            row["id"][:12],  # a unique prefix is enough for `campaign show`
            row["asset"].partition(":")[2],
            row["start"][:10],
            row["end"][:10],
            row["variants"],
            row["state"],
        )
        for row in rows
    ]
    return output.table(columns, lines, right=_RIGHT)


def shown(record: CampaignRecord) -> dict[str, Any]:
    """Everything about a campaign, for `--json`."""
    return {**listed(record), "regime": record.regime, "spec": record.spec, "outcome": record.outcome}


def plans(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Registered campaigns, one line each."""
    return "\n".join(f"{row['asset']}: {row['id']}, {row['tasks']} tasks" for row in rows)


def decisions(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """What several campaigns decided."""
    from rich.console import Group

    lines, notes = [], []
    for row in rows:
        outcome, winner = row["outcome"], row["outcome"]["winner"]
        best = None if winner is None else fixed(winner["sharpe_annual"])
        decision = "promoted" if row["champion"] else "improvement" if row["promoted"] else "no improvement"
        symbol = row["asset"].partition(":")[2]
        walk = fixed(outcome["walk_forward"]["sharpe_annual"])
        lines.append([symbol, fixed(outcome["incumbent"]["sharpe_annual"]), best, walk, decision])
        label = "no variant was active enough" if winner is None else f"best variant: {winner['label']}"
        notes.append(
            f"{symbol}: campaign {row['id']}\n  {label}\n  {row['reason']}\n  report: {row['report'] or 'not written'}"
        )
    columns = ("asset", "incumbent", "best variant", "walk-forward", "decision")
    return Group(output.table(columns, lines, title="Annual Sharpe over all test windows", right=columns[1:4]), *notes)


def campaign_view(record: CampaignRecord) -> RenderableType:
    """One campaign: conditions, walk-forward, variants."""
    from rich.console import Group

    head = listed(record)
    facts = output.table(("campaign", record.id), [(name, head[name]) for name in list(head)[1:]])
    outcome = record.outcome
    if outcome is None:
        return Group(facts, "not finished: start it again with the same command and it goes on")
    return Group(facts, outcome["reason"], _conditions(outcome), _variants(outcome), _folds(outcome))


def _conditions(outcome: Mapping[str, Any]) -> RenderableType:
    from rich.console import Group

    from shared.calibration.report import seen_sentence

    if outcome["verdict"] is None:
        return "no test was made"
    rows = [
        (one["name"], "yes" if one["passed"] else "no", fixed(one["value"], 4), fixed(one["threshold"], 4), one["sentence"])
        for one in outcome["verdict"]["conditions"]
    ]
    table = output.table(("condition", "passed", "value", "threshold", "in words"), rows, right=_RIGHT)
    return Group(table, seen_sentence(outcome["verdict"]["record"]))


def _variants(outcome: Mapping[str, Any]) -> RenderableType:
    rows = [
        (
            one["label"],
            fixed(_annual(one["train_sharpe"])),
            fixed(one["sharpe_annual"]),
            *_return(one),
            one["trades"],
            f"{one['active_share']:.0%}",
        )
        for one in [*outcome["best"], *([] if any(one["place"] == 0 for one in outcome["best"]) else [outcome["incumbent"]])]
    ]
    columns = ("variant", "train", "Sharpe", "return", "drawdown", "trades", "active")
    return output.table(columns, rows, title="Best variants over all test windows (annual Sharpe)", right=_RIGHT)


def _folds(outcome: Mapping[str, Any]) -> RenderableType:
    walk = outcome["walk_forward"]
    rows = [
        (
            format_ms(fold["test"]["start_ms"])[:10],
            fold["label"],
            fixed(_annual(fold["train_sharpe"])),
            fixed(_annual(fold["test_sharpe"])),
            f"{fold['test_return']:+.1%}",
            f"{fold['incumbent_return']:+.1%}",
        )
        for fold in walk["folds"]
    ]
    title = f"Walk-forward: annual Sharpe {fixed(walk['sharpe_annual'])}, return {walk['total_return']:+.1%}"
    return output.table(("test from", "chosen", "train", "test", "return", "incumbent"), rows, title=title, right=_RIGHT)


def _return(numbers: Mapping[str, Any]) -> tuple[str, str]:
    return f"{numbers['total_return']:+.1%}", f"{numbers['max_drawdown']:.1%}"


def _annual(value: float | None) -> float | None:
    return None if value is None else value * 365**0.5
