"""`ost agent` on the terminal: what was trained or exported, what a policy is worth, which trainings there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shared.cli import output
from shared.cli.texts import fixed, market_text, percent
from shared.domain.interval import format_ms

if TYPE_CHECKING:
    from shared.backtest.metrics import RunSummary
    from shared.calibration.rl_evaluate import Evaluation
    from shared.cli.research_market import ResearchMarkets


def trained(done: Mapping[str, Any]) -> Any:
    """A finished training and what to do next."""
    rows = [
        *_rows(done),
        ("market", market_text(done["market"], done["generated"])),
        ("steps", f"{done['steps']} over {done['episodes']} different episodes"),
    ]
    return _with_next(done, rows, f"ost agent evaluate {done['train_id']}")


def exported(done: Mapping[str, Any]) -> Any:
    """An exported or converted policy and what to do next."""
    return _with_next(done, [*_rows(done), ("steps", str(done["steps"]))], f"ost agent evaluate {done['train_id']}")


def evaluated(train_id: str, found: ResearchMarkets, result: Evaluation) -> Any:
    """A policy beside buying and holding, and what the difference is worth."""
    from rich.console import Group
    from rich.markup import escape

    market = market_text(found.label, found.generated)
    title = escape(f"{train_id} out of sample, {format_ms(result.start_ms)} to {format_ms(result.end_ms)}; {market}")
    columns = ("", "policy", "buy and hold")
    shown = ("total_return", "volatility", "sharpe", "max_drawdown", "exposure")
    names = ("return", "volatility, annual", "Sharpe, annual", "deepest drawdown", "share of bars invested")
    rows = [
        (name, _cell(result.policy, field), _cell(result.buy_and_hold, field)) for name, field in zip(names, shown, strict=True)
    ]
    rows += [
        ("round trips", str(result.policy.trades), str(result.buy_and_hold.trades)),
        ("fees", f"{result.policy.fees:.2f}", f"{result.buy_and_hold.fees:.2f}"),
    ]
    done = ", ".join(f"{name} {count}" for name, count in result.operations.items())
    parts: list[Any] = [output.table(columns, rows, title=title, right=columns[1:]), f"operations: {done}"]
    if result.halts:
        parts.append(f"breakers halted the policy's account {result.halts} times")
    return Group(*parts, *(escape(line) for line in result.judgement))


def listed(rows: Sequence[Mapping[str, Any]]) -> Any:
    """The trainings as a table."""
    if not rows:
        return "no trainings yet; make one with `ost agent train`, or see the whole way with `make agent-demo`"
    columns = ("training", "asset", "interval", "trained on", "steps", "in the lake", "followed", "problem")
    cells = [
        (
            row["train_id"],
            row.get("asset"),
            row.get("interval"),
            f"{row['start'][:10]} to {row['end'][:10]}" if "start" in row else None,
            row.get("steps"),
            "yes" if row["in_lake"] else "no",
            "yes" if row["followed"] else "no",
            row.get("problem"),
        )
        for row in rows
    ]
    return output.table(columns, cells, right=("steps",))


def _cell(summary: RunSummary, field: str) -> str:
    value = getattr(summary, field)
    return fixed(value) if field == "sharpe" else percent(value)


def _rows(done: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("training", done["train_id"]),
        ("asset", f"{done['asset']} {done['interval']}, {done['start']} to {done['end']}"),
        ("torch and ONNX differ by", f"{done['torch_onnx_difference']:.1e} at most, on 1,000 random observations"),
        ("run folder", done["folder"]),
        ("policy in the lake", done["lake"]),
    ]


def _with_next(done: Mapping[str, Any], rows: Sequence[tuple[str, str]], judge: str) -> Any:
    from rich.console import Group
    from rich.markup import escape

    lines = (f"judge it on days that it has not seen: {judge}", f"let it vote: {done['use']}")
    return Group(output.table(("", ""), rows), *(escape(line) for line in lines))
