"""What `ost run` leaves behind: the summary in the ledger, a table for the terminal, and the HTML report."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.adapters.local.market_files import FileMarket
from shared.backtest.metrics import RunSummary, summary
from shared.backtest.report import RunRecord, collect, render_report
from shared.cli import output, wiring
from shared.cli.texts import fixed, market_text, percent
from shared.domain.errors import StorageError
from shared.domain.interval import format_ms
from shared.version import code_version

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
    write_report(path, render_report(run_record(run, numbers, ended.problems)))
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


def run_record(run: PaperRun, numbers: RunSummary, problems: Sequence[str]) -> RunRecord:
    """What the report shows: the ledger's memory of the book, and the candles that the exchange replayed."""
    plan, risk = run.plan, run.settings.system.risk
    market = FileMarket(run.market_folder, run.settings.universe.venue)
    candles, notes = {}, list(problems)
    for asset in plan.universe:
        # The first decision falls on the first instant of the plan, from the bar that closes there.
        history = market.history(asset.symbol, plan.interval)
        candles[asset] = history.between(plan.start_ms - plan.interval.ms, plan.end_ms)
        notes += [f"{asset.symbol}: {found}" for found in market.findings(asset.symbol, plan.interval)]
    return collect(
        run.ledger,
        run.book,
        candles,
        numbers,
        source=plan.market_label,
        generated=plan.generated,
        settings=_settings(run),
        quality_notes=notes,
        pause_drawdowns=risk.pause_drawdowns,
        max_drawdown=risk.max_drawdown,
    )


def _settings(run: PaperRun) -> dict[str, str]:
    """What decided the outcome of the run, for people."""
    plan, chosen = run.plan, run.settings
    return {
        "book": run.book,
        "market": plan.market_label,
        "market hash": plan.market_hash,
        "parameters": plan.params_version,
        "capital": plan.capital,
        "first and last instant": f"{format_ms(plan.start_ms)} to {format_ms(plan.end_ms)} UTC",
        "interval": plan.interval.value,
        "leverage": str(chosen.run.leverage),
        "seed": str(chosen.run.seed),
        "code": code_version(),
    }


def check_writable(path: Path | None) -> None:
    """Raise `StorageError` now, and not after a whole run, where the report could not be written to `path`."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}."):
            pass
    except OSError as error:
        raise StorageError(f"cannot write the report to {path}: {error.strerror}; choose another --report") from error


def write_report(path: Path, text: str, advice: str = "give another place with --report") -> None:
    """Put the report at `path` in one step, making its folder. Raises `StorageError` with `advice` where the disk refuses."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, "utf-8")
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # the first error is the one to tell
            temporary.unlink()
        raise StorageError(f"cannot write the report {path}: {error.strerror}; {advice}") from error


def outcome_lines(result: RunResult) -> Any:
    """The summary as a table, and the lines that say how to look further."""
    from rich.console import Group

    numbers = result.summary
    rows = [
        ("market", market_text(result.market, result.generated)),
        ("traded", f"{result.start} to {result.end}, {result.decisions} decisions, {result.orders} orders"),
        ("equity", f"{numbers['start_equity']:,.2f} -> {numbers['end_equity']:,.2f}"),
        ("return", percent(numbers["total_return"])),
        ("volatility, annual", percent(numbers["volatility"])),
        ("Sharpe, annual", fixed(numbers["sharpe"])),
        ("max drawdown", percent(numbers["max_drawdown"])),
        (
            "trades",
            f"{numbers['trades']}, {percent(numbers['win_rate'])} won, profit factor {fixed(numbers['profit_factor'])}",
        ),
        ("fees, funding", f"{-numbers['fees']:+,.2f}, {numbers['funding']:+,.2f}"),
        ("bars with a position", percent(numbers["exposure"])),
    ]
    table = output.table(("", result.book), rows, title="Run finished")
    lines = [f"report: {result.report}"]
    if result.example_decision:
        lines.append(f"why did it trade? ost decisions show {result.example_decision}")
    return Group(table, *lines)
