"""`ost monitor`: has a book drifted from its champions' baselines, beyond chance; and how often the trigger errs.

Exit codes: 0 nothing is due, 1 the ledger cannot be read, 2 usage, 3 a recalibration is due: opened
by this look, or by one before and not brought to its end yet (`ost recalibrate`).
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.domain.errors import UsageError

if TYPE_CHECKING:
    from shared.monitor.performance import Baseline

app = typer.Typer(invoke_without_command=True)

EXIT_DUE = 3

CHAMPION_DAYS, CHAMPION_SHAPE_DAYS = 292, 701
"""confirmation and test days of a campaign on four years: what a champion's baseline is measured on (docs/recalibration.md)"""
PASSING_Z = 1.645
"""of the confirmation's Sharpe ratio against 0: what a one-sided test at 5 % asks of a champion that replaces cash"""

HISTORY = "history"
"""what `--baseline` is called where the returns before the window are meant"""

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@app.callback(invoke_without_command=True)
def monitor(
    context: typer.Context,
    book: Annotated[str | None, typer.Option(help="Which book (default: the one that trades or holds).")] = None,
    symbol: Annotated[str | None, typer.Option(help="Comma-separated symbols (default: all of the book).")] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="Instead of the champions': `history` (the book's own returns before the window), or annual figures, "
            "e.g. sharpe=1.2,volatility=0.3,days=700.",
        ),
    ] = None,
    backtest: Annotated[
        Path | None, typer.Option(help="Look at a folder that `ost backtest --parquet` wrote (baseline: its own history).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look only: open no recalibration, log nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare the last 30 days of a book, asset by asset, with what was promised; open a recalibration where it is due.

    It is due beyond the minimum effect and beyond chance, in the bad direction, outside the cool-down (docs/recalibration.md).

    Example: ost monitor --book paper-nightly

    Example: ost monitor --baseline history --dry-run --json
    """
    if context.invoked_subcommand is not None:
        return
    if backtest is not None:
        if book is not None or symbol is not None:
            raise UsageError("--backtest is an account of its own; leave --book and --symbol out")
        _look_at_backtest(backtest, baseline, as_json)
        return
    from shared.cli import output, wiring
    from shared.cli.books import chosen_book
    from shared.cli.monitor_views import looks_view
    from shared.cli.research_market import parse_symbols
    from shared.monitor.watch import decided_assets, look_at_book

    settings = wiring.settings()
    ledger, research = wiring.ledger(settings), wiring.research(settings)
    name = chosen_book(ledger, book, settings).book
    looks = look_at_book(
        ledger,
        research,
        name,
        decided_assets(ledger, name, parse_symbols(symbol)),
        settings.monitor,
        baseline=None if baseline in (None, HISTORY) else parse_baseline(baseline or ""),
        own_history=baseline == HISTORY,
        open_events=not dry_run,
    )
    due = [look for look in looks if look.waiting is not None]
    checks = {look.asset.symbol: look.check for look in looks}
    view = None if as_json else looks_view(name, checks, [f"{look.asset.symbol}: {look.reason}" for look in looks])
    output.emit({"book": name, "due": len(due), "looks": [look.as_dict() for look in looks]}, as_json, view=view)
    if due:
        raise typer.Exit(EXIT_DUE)


def _look_at_backtest(folder: Path, baseline: str | None, as_json: bool) -> None:
    """The last days of a written backtest, its whole account; opens nothing."""
    from shared.cli import output, wiring
    from shared.cli.backtest_files import read_backtest
    from shared.cli.monitor_views import looks_view
    from shared.monitor.performance import check_performance
    from shared.monitor.watch import history_baseline

    params, found = wiring.settings().monitor, read_backtest(folder)
    own = baseline in (None, HISTORY)
    expected = history_baseline(found.returns, params) if own else parse_baseline(baseline or "")
    check = check_performance(found.returns, expected, params, found.end_ms)
    said = "a recalibration would be due" if check.fired else "no recalibration"
    data = {"backtest": str(folder), "baseline": expected, "check": check.as_dict(), "reason": f"{said}: {check.reason}"}
    view = None if as_json else looks_view(str(folder), {"account": check}, [f"{said}: {check.reason}"])
    output.emit(data, as_json, view=view)
    if check.fired:
        raise typer.Exit(EXIT_DUE)


@app.command()
def simulate(
    paths: Annotated[int, typer.Option(help="Simulated accounts for each law of returns.", min=1)] = 200,
    years: Annotated[float, typer.Option(help="Years of looks at each of them.", min=0.5)] = 10.0,
    baseline_days: Annotated[int, typer.Option(help="Days that each baseline was measured on.", min=90)] = 730,
    sharpe: Annotated[float, typer.Option(help="Annual Sharpe ratio of every account.")] = 1.5,
    hourly: Annotated[bool, typer.Option("--hourly", help="Look every hour instead of every day.")] = False,
    seed: Annotated[int, typer.Option(help="Of the simulation.", min=0)] = 7,
    as_json: JsonOption = False,
) -> None:
    """Measure false alarms (days between them where nothing has changed) and detection (where something has).

    Champion-like: the baseline is that of 292 days which it passed a test on, its shape that of 701 days before. Beside
    them, what the plain rule "15 % relative change" does on the same accounts.

    Example: ost monitor simulate --paths 200 --hourly
    """
    if not (math.isfinite(sharpe) and sharpe >= 0):
        raise UsageError(f"--sharpe is {sharpe}; expected a number of at least 0 such as 1.5, as champions have")
    if not math.isfinite(years):
        raise UsageError(f"--years is {years}; expected a finite number such as 10")
    import numpy as np

    from shared.cli import output, wiring
    from shared.cli.monitor_views import simulation_view
    from shared.monitor.false_alarms import Plan, detection, false_alarms
    from shared.monitor.laws import Law

    params = wiring.settings().monitor
    plan = Plan(paths, years, baseline_days, sharpe, hourly=hourly)
    champions = replace(plan, baseline_days=CHAMPION_DAYS, shape_days=CHAMPION_SHAPE_DAYS, passing_z=PASSING_Z)
    changes: list[tuple[float | None, float]] = [(sharpe - drop, 1.0) for drop in (3.0, 6.0, 12.0)]
    changes += [(None, factor) for factor in (0.5, 2.0, 3.0)]
    rates, likely, found = [], [], []
    thresholds = (2.0, 2.5, 3.0, 3.5, 4.0)
    with output.progress(unit="") as bar:
        task = bar.add_task("laws of returns", total=len(Law), detail="")
        for law in Law:
            rates.append(false_alarms(law, params, plan, thresholds, np.random.default_rng(seed)))
            likely.append(false_alarms(law, params, champions, thresholds, np.random.default_rng(seed)))
            for new_sharpe, factor in changes:
                rng = np.random.default_rng(seed)
                found.append(detection(law, params, plan, rng, sharpe=new_sharpe, volatility_factor=factor))
            bar.advance(task)
    data = {"plan": plan, "monitor": params, "false_alarms": rates, "champion_like": likely, "detection": found}
    output.emit(data, as_json, view=None if as_json else simulation_view(plan, rates, likely, found))


def parse_baseline(text: str) -> Baseline:
    """`sharpe=1.2,volatility=0.3,days=700[,clustering=10]`, annual figures, as a baseline per day. Raises `UsageError`."""
    from shared.monitor.performance import Baseline
    from shared.monitor.statistics import YEAR_ROOT

    expected = "expected e.g. sharpe=1.2,volatility=0.3,days=700 (annual; clustering=10 to judge the volatility as well)"
    parts = dict(part.strip().partition("=")[::2] for part in text.split(",") if part.strip())
    try:
        values = {name: float(value) for name, value in parts.items()}
    except ValueError:
        raise UsageError(f"--baseline {text!r} is not all numbers; {expected}") from None
    needed = {"sharpe", "volatility", "days"}
    if not needed <= values.keys() <= needed | {"clustering"} or not all(map(math.isfinite, values.values())):
        raise UsageError(f"--baseline {text!r} does not say what it must; {expected}")
    clustering = values.get("clustering")
    return Baseline(values["sharpe"] / YEAR_ROOT, values["volatility"] / YEAR_ROOT, int(values["days"]), clustering=clustering)
