"""`ost simulate`: the real session against a venue, a network and a ledger that fail, in simulated time, from seeds."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.domain.errors import UsageError

if TYPE_CHECKING:
    from cloudrun.simulation.runner import Tally
    from cloudrun.simulation.soak import SoakResult

EXIT_VIOLATED = 1
SHOWN_FAILURES = 5
MOST_OF_EACH = 20
SEEDS = 100
"""seeds where none are named"""


def simulate(
    seeds: Annotated[
        int | None, typer.Option(help="Seeds to run of the random worlds, or of each scenario (default: 100).", min=1)
    ] = None,
    first: Annotated[int, typer.Option(help="The first seed.", min=0)] = 1,
    scenario: Annotated[str | None, typer.Option(help="One scenario, or `all` of them (default: the random worlds).")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes (default: one for each processor).", min=1)] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Tell the story of each seed, line by line.")] = False,
    list_them: Annotated[bool, typer.Option("--list", help="List the scenarios.")] = False,
    report: Annotated[
        Path | None,
        typer.Option(help="Run all scenarios too and write the table as Markdown; with --soak: note its figures for it."),
    ] = None,
    soak: Annotated[float | None, typer.Option(help="Instead: one long run of this many simulated days.", min=0.01)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON for machines.")] = False,
) -> None:
    """Prove the failures: nothing lost, nothing doubled, whatever fails.

    A failing seed prints what was violated and the command that replays it; the exit code is 1 then.

    Example: ost simulate --seeds 1000

    Example: ost simulate --scenario two-instances --seeds 1 --first 7 --verbose
    """
    from cloudrun.simulation.scenarios import RANDOM, SCENARIOS, scenario_named

    if list_them:
        _refuse("--list", {"--soak": soak, "--verbose": verbose, "--report": report}, "it runs nothing")
        _list(as_json)
        return
    if soak is not None:
        others = {"--scenario": scenario, "--seeds": seeds, "--workers": workers, "--verbose": verbose}
        _refuse("--soak", others, "it is one long run of one world, in one process")
        _soak(soak, first, report, as_json)
        return
    chosen = [RANDOM] if scenario in (None, RANDOM) else list(SCENARIOS) if scenario == "all" else [str(scenario)]
    if chosen != [RANDOM] and scenario != "all":
        scenario_named(chosen[0])
    if report is not None:
        if scenario is not None:
            raise UsageError("--report runs every scenario and the random worlds; leave --scenario out")
        chosen = [*SCENARIOS, RANDOM]
    count = seeds or SEEDS
    if verbose:
        others = {"--report": report is not None, "--json": as_json, "--workers": workers is not None}
        _refuse("--verbose", others, "it tells one story after the other, in this process")
        _tell(chosen, first, count)
        return
    _prove(chosen, first, count, workers, report, as_json)


def _refuse(option: str, others: Mapping[str, object], why: str) -> None:
    """Options that would be ignored are refused."""
    given = [name for name, value in others.items() if value not in (None, False)]
    if given:
        raise UsageError(f"{option} does not go with {' and '.join(given)}: {why}; leave {' and '.join(given)} out")


def _prove(chosen: list[str], first: int, seeds: int, workers: int | None, report: Path | None, as_json: bool) -> None:
    """Run the seeds, show what came of them, and exit with 1 where something was violated."""
    _check_writable(report)
    workers = workers or os.cpu_count() or 1
    began_s = time.monotonic()
    tallies = _run(chosen, first, seeds, workers, with_scenarios=report is not None)
    if report is not None:
        violated = sum(len(tally.violated) for tally in tallies.values())
        total = sum(tally.seeds for tally in tallies.values())
        _note(report, "seeds", {"seeds": total, "minutes": _minutes(began_s), "cores": workers, "violations": violated})
        _write(report, tallies)
    _show(tallies, as_json)
    if any(tally.violated for tally in tallies.values()):
        raise typer.Exit(EXIT_VIOLATED)


def _run(chosen: list[str], first: int, seeds: int, workers: int, *, with_scenarios: bool) -> dict[str, Tally]:
    from cloudrun.simulation.runner import run_all, tasks
    from cloudrun.simulation.scenarios import RANDOM
    from shared.adapters.local.jobs import ProcessJobs
    from shared.cli import output

    counts = {name: seeds if name == RANDOM or not with_scenarios else _of_each(seeds) for name in chosen}
    work = [task for name in chosen for task in tasks(name, first, counts[name])]
    with output.progress(unit="") as bar:
        row = bar.add_task("simulating", total=sum(counts.values()), detail="seeds")
        return run_all(ProcessJobs(workers), work, lambda done: bar.advance(row, done))


def _of_each(seeds: int) -> int:
    """Seeds of each scenario beside `seeds` random worlds: they prove what happens, the worlds prove how often."""
    return min(max(1, seeds // 10), MOST_OF_EACH)


def _tell(chosen: list[str], first: int, seeds: int) -> None:
    """The story of each seed, in this process: all of it on standard output."""
    from cloudrun.simulation.scenarios import run_seed

    violated = False
    for name in chosen:
        for seed in range(first, first + seeds):
            print(f"{name}, seed {seed}")
            outcome = run_seed(name, seed, print)
            violated = violated or bool(outcome.violations)
            for violation in outcome.violations:
                print(f"violated: {violation}")
            print(
                f"{outcome.orders} orders, {outcome.fills} fills, {outcome.faults} faults, "
                f"{len(outcome.violations)} violations; story {outcome.fingerprint}\n"
            )
    if violated:
        raise typer.Exit(EXIT_VIOLATED)


def _show(tallies: dict[str, Tally], as_json: bool) -> None:
    from cloudrun.simulation.runner import replay_command
    from shared.cli import output

    columns = ("scenario", "seeds", "violations", "faults", "processes", "decisions", "orders", "fills")
    rows = [
        (t.scenario, t.seeds, len(t.violated), t.faults, t.processes, t.decisions, t.orders, t.fills) for t in tallies.values()
    ]
    data: dict[str, Any] = {"scenarios": [dict(zip(columns, row, strict=True)) for row in rows], "violations": []}
    for tally in tallies.values():
        for outcome in tally.violated:
            replay = replay_command(tally.scenario, outcome.seed)
            data["violations"].append(
                {"scenario": tally.scenario, "seed": outcome.seed, "violated": outcome.violations, "replay": replay}
            )
        for outcome in tally.violated[:SHOWN_FAILURES]:
            output.note("\n".join(outcome.last_lines[-12:]))
            for violation in outcome.violations:
                output.print_error(f"{tally.scenario}, seed {outcome.seed}: {violation}")
            output.note(f"replay it: {replay_command(tally.scenario, outcome.seed)}")
    shown = ("scenario", "seeds", "violations", "faults", "orders", "fills")  # what a terminal has room for
    view = output.table(shown, [[row[columns.index(name)] for name in shown] for row in rows], right=shown[1:], whole=shown[:1])
    output.emit(data, as_json, view=view)


def _list(as_json: bool) -> None:
    from cloudrun.simulation.scenarios import SCENARIOS
    from shared.cli import output

    rows = [(scenario.name, scenario.failure, scenario.behaviour) for scenario in SCENARIOS.values()]
    columns = ("scenario", "failure", "behaviour")
    view = output.table(columns, rows, whole=columns[:1])
    output.emit([dict(zip(columns, row, strict=True)) for row in rows], as_json, view=view)


def _write(report: Path, tallies: dict[str, Tally]) -> None:
    from cloudrun.simulation.long_runs import noted_runs
    from cloudrun.simulation.report import page
    from shared.cli import output
    from shared.domain.errors import StorageError

    runs = noted_runs(report.with_suffix(".json"))
    try:
        report.write_text(page(tallies, runs), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write {report}: {error.strerror}; name another --report") from None
    output.note(f"wrote {report}")


def _check_writable(report: Path | None) -> None:
    """Found out before the first seed, not after twenty minutes."""
    if report is None:
        return
    if report.is_dir():
        raise UsageError(f"cannot write {report}: it is a folder; name a file in it, as {report / 'reliability.md'}")
    if not os.access(report.parent, os.W_OK):
        raise UsageError(f"cannot write {report}: {report.parent} is no folder that can be written; name another --report")


def _soak(days: float, seed: int, report: Path | None, as_json: bool) -> None:
    from cloudrun.simulation.soak import soak
    from shared.cli import output

    _check_writable(report)
    began_s = time.monotonic()
    with output.progress(unit="") as bar:
        row = bar.add_task("simulating", total=max(1, round(days * 24)), detail="hours")

        def on_hour(hours: int, memory_mb: float, tasks: int) -> None:
            bar.update(row, completed=hours)
            if hours and hours % 24 == 0:
                output.note(f"day {hours // 24}: {memory_mb:.1f} MB resident, {tasks} tasks")

        result = soak(days, seed, on_hour)
    if report is not None:
        figures = {
            "days": days,
            "minutes": _minutes(began_s),
            "cores": 1,
            "symbols": result.symbols,
            "growth": round(result.growth, 4),
            "tasks_most": result.tasks_most,
            "violations": len(result.violations),
        }
        _note(report, "soak", figures)
    output.emit(result.as_dict(), as_json, view=output.table(("long run", ""), _rows(result)))
    for violation in result.violations:
        output.print_error(violation)
    if result.violations:
        raise typer.Exit(EXIT_VIOLATED)


def _rows(result: SoakResult) -> list[tuple[str, str]]:
    """The result in a person's words."""
    return [
        ("simulated", f"{result.days:g} days of {result.symbols} symbols in {result.seconds:,.0f} s"),
        ("decisions, orders, executions", f"{result.decisions:,}, {result.orders:,}, {result.fills:,}"),
        ("faults, processes", f"{result.faults:,}, {result.processes:,}"),
        ("memory", f"{result.memory_first_mb:.1f} MB, in the end {result.memory_end_mb:.1f} MB ({result.growth:+.1%})"),
        ("tasks", f"{result.tasks_most} at most, in the end {result.tasks_end}"),
        ("streams", f"{result.connections_most} at most"),
        ("violations", str(len(result.violations) or "none")),
    ]


def _minutes(began_s: float) -> float:
    return round((time.monotonic() - began_s) / 60, 1)


def _note(report: Path, kind: str, figures: dict[str, Any]) -> None:
    """Keep the figures of a long run for the page."""
    from cloudrun.simulation.long_runs import note_run

    note_run(report.with_suffix(".json"), kind, {"date": datetime.now(UTC).date().isoformat(), **figures})
