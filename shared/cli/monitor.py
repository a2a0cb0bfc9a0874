"""`ost monitor`: has a book drifted from its champions' baselines, beyond chance; and how often the trigger errs.

Exit codes: 0 nothing is due, 1 the ledger cannot be read, 2 usage, 3 a recalibration is due (an event is open in the ledger).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.domain.errors import UsageError
from shared.domain.interval import format_ms

if TYPE_CHECKING:
    from rich.console import RenderableType

    from shared.domain.asset import Asset
    from shared.monitor.performance import Baseline, Finding
    from shared.monitor.watch import AssetLook
    from shared.ports import Ledger

app = typer.Typer(invoke_without_command=True)

EXIT_DUE = 3

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]

_YEAR = 365.0


@app.callback(invoke_without_command=True)
def monitor(
    context: typer.Context,
    book: Annotated[str | None, typer.Option(help="Which book (default: the newest one).")] = None,
    symbol: Annotated[str | None, typer.Option(help="Comma-separated symbols (default: all of the book).")] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="Instead of the champions': `history` (the book's own returns before the window), or annual figures, "
            "e.g. sharpe=1.2,volatility=0.3,days=700.",
        ),
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
    from shared.cli import output, wiring
    from shared.cli.lineage import chosen_book
    from shared.cli.research_market import parse_symbols
    from shared.monitor.watch import look_at_book

    settings = wiring.settings()
    ledger, research = wiring.ledger(settings), wiring.research(settings)
    name = chosen_book(ledger.books(), book).book
    looks = look_at_book(
        ledger,
        research,
        name,
        _assets(ledger, name, parse_symbols(symbol)),
        settings.monitor,
        baseline=None if baseline in (None, "history") else parse_baseline(baseline or ""),
        own_history=baseline == "history",
        open_events=not dry_run,
    )
    due = [look for look in looks if look.event is not None]
    output.emit(
        {"book": name, "due": len(due), "looks": [look.as_dict() for look in looks]},
        as_json,
        view=None if as_json else _view(name, looks),
    )
    if due:
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

    Beside them, what the plain rule "15 % relative change" does on the same accounts.

    Example: ost monitor simulate --paths 200 --hourly
    """
    import numpy as np

    from shared.cli import output, wiring
    from shared.monitor.false_alarms import Law, Plan, detection, false_alarms

    params = wiring.settings().monitor
    plan = Plan(paths, years, baseline_days, sharpe, hourly)
    changes: list[tuple[float | None, float]] = [(sharpe - drop, 1.0) for drop in (3.0, 6.0, 12.0)]
    changes += [(None, factor) for factor in (0.5, 2.0, 3.0)]
    rates, found = [], []
    with output.progress(unit="") as bar:
        task = bar.add_task("laws of returns", total=len(Law), detail="")
        for law in Law:
            rates.append(false_alarms(law, params, plan, (2.0, 2.5, 3.0, 3.5, 4.0), np.random.default_rng(seed)))
            for new_sharpe, factor in changes:
                rng = np.random.default_rng(seed)
                found.append(detection(law, params, plan, rng, sharpe=new_sharpe, volatility_factor=factor))
            bar.advance(task)
    data = {"plan": plan, "monitor": params, "false_alarms": rates, "detection": found}
    output.emit(data, as_json, view=None if as_json else _simulation_view(plan, rates, found))


def parse_baseline(text: str) -> Baseline:
    """`sharpe=1.2,volatility=0.3,days=700[,clustering=10]`, annual figures, as a baseline per day. Raises `UsageError`."""
    from shared.monitor.performance import Baseline

    expected = "expected e.g. sharpe=1.2,volatility=0.3,days=700 (annual; clustering=10 to judge the volatility as well)"
    parts = dict(part.strip().partition("=")[::2] for part in text.split(",") if part.strip())
    try:
        values = {name: float(value) for name, value in parts.items()}
    except ValueError:
        raise UsageError(f"--baseline {text!r} is not all numbers; {expected}") from None
    needed = {"sharpe", "volatility", "days"}
    if not needed <= values.keys() <= needed | {"clustering"} or not all(map(math.isfinite, values.values())):
        raise UsageError(f"--baseline {text!r} does not say what it must; {expected}")
    root = math.sqrt(_YEAR)
    clustering = values.get("clustering")
    return Baseline(values["sharpe"] / root, values["volatility"] / root, int(values["days"]), clustering=clustering)


def _assets(ledger: Ledger, book: str, wanted: tuple[str, ...]) -> list[Asset]:
    """The assets on which the book has decided. Raises `UsageError` for a symbol that is not among them."""
    found = {decision.asset.symbol: decision.asset for decision in ledger.decisions(book)}
    unknown = [name for name in wanted if name not in found]
    if unknown:
        raise UsageError(f"book {book} has no decision on {' '.join(unknown)}; it has decided on {' '.join(sorted(found))}")
    return [found[name] for name in wanted or sorted(found)]


def _view(book: str, looks: list[AssetLook]) -> RenderableType:
    from rich.console import Group
    from rich.markup import escape

    from shared.cli import output

    if not looks:
        return f"book {book} has no equity yet: nothing to compare"
    rows = [(look.asset.symbol, *_cells(finding)) for look in looks for finding in look.check.findings]
    columns = ("asset", "metric", "now", "baseline", "change", "z", "threshold", "verdict")
    title = f"{escape(book)}, the {looks[0].check.days} days up to {format_ms(looks[0].check.at_ms)}, annual figures"
    table = [output.table(columns, rows, title=title, right=columns[2:7])] if rows else []
    return Group(*table, *(escape(f"{look.asset.symbol}: {look.reason}") for look in looks))


def _cells(finding: Finding) -> tuple[str, ...]:
    root = math.sqrt(_YEAR)
    form = "{:+.2f}" if finding.metric == "sharpe" else "{:.1%}"
    values = ("" if value is None else form.format(value * root) for value in (finding.current, finding.baseline))
    change = "" if finding.relative_change is None else f"{finding.relative_change:+.0%}"
    z = "" if finding.z is None else f"{finding.z:+.2f}"
    verdict = "not judged" if finding.z is None else "beyond chance" if finding.fired else "no"
    return finding.metric, *values, change, z, f"{finding.threshold:g}", verdict


def _simulation_view(plan: Any, rates: list[Any], found: list[Any]) -> RenderableType:
    from rich.console import Group

    from shared.cli import output

    looks = f"{plan.paths} accounts x {plan.years:g} years, {'hourly' if plan.hourly else 'daily'} looks"
    thresholds = list(rates[0].sharpe_days)
    columns = ("returns", "metric", *(f"z {z}" for z in thresholds), "plain 15 %")
    rows = []
    for rate in rates:
        rows.append((rate.law, "Sharpe", *map(_days, rate.sharpe_days.values()), f"{rate.plain_sharpe:.0%} of looks"))
        rows.append(("", "volatility", *map(_days, rate.volatility_days.values()), f"{rate.plain_volatility:.0%} of looks"))
        rows.append(
            ("", "both, configured", *([""] * (len(thresholds) - 1)), _days(rate.configured_days), f"{rate.plain_either:.0%}")
        )
    within = list(found[0].shares)
    hits = [(one.law, one.change, *(f"{share:.0%}" for share in one.shares.values())) for one in found]
    return Group(
        output.table(columns, rows, title=f"Days between false alarms: {looks}", right=columns[2:]),
        output.table(
            ("returns", "change", *(f"{days} days" for days in within)),
            hits,
            title="Found within, configured thresholds, daily looks",
            right=[f"{days} days" for days in within],
        ),
    )


def _days(value: float | None) -> str:
    return "none" if value is None else f"{value:,.0f}"
