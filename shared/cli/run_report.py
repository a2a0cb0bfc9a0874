"""What `ost run` leaves behind: the summary in the ledger, a table for the terminal, and the HTML report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.backtest.metrics import RunSummary, summary
from shared.cli import output, wiring
from shared.domain.interval import format_ms

if TYPE_CHECKING:
    from shared.cli.paper_run import PaperRun, RunEnd


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run, for people and machines."""

    book: str
    market: str
    generated: bool
    start: str
    end: str
    summary: dict[str, Any]
    decisions: int
    orders: int
    report: str
    problems: tuple[str, ...]
    example_decision: str | None
    """a decision that traded, to look at first"""


def finished(run: PaperRun, ended: RunEnd, report: Path | None) -> RunResult:
    """Close the book, write the report, and return what there is to say."""
    plan, ledger = run.plan, run.ledger
    points = ledger.equity(run.book)
    equity = np.array([float(point.equity) for point in points])
    numbers: RunSummary = summary(
        np.array([point.time_ms for point in points], dtype=np.int64),
        equity,
        trades=ledger.trades(run.book),
        fills=ledger.fills(run.book),
        funding=ledger.funding(run.book),
        gross_exposure=np.array([float(point.exposure) for point in points]) / equity,
        initial=float(plan.capital),
    )
    path = report or run.folder / "report.html"
    decisions = ledger.decisions(run.book)
    traded = [decision.id for decision in decisions if decision.order_ids]
    ledger.finish_book(run.book, numbers.as_dict(), wiring.clock().now_ms())
    return RunResult(
        book=run.book,
        market=plan.market_label,
        generated=plan.generated,
        start=format_ms(plan.start_ms),
        end=format_ms(plan.end_ms),
        summary=numbers.as_dict(),
        decisions=len(decisions),
        orders=sum(len(decision.order_ids) for decision in decisions),
        report=str(path),
        problems=ended.problems,
        example_decision=traded[0] if traded else None,
    )


def outcome_lines(result: RunResult) -> Any:
    """The summary as a table, and the lines that say how to look further."""
    from rich.console import Group

    return Group(str(result))
