"""`ost simulate`: the real session against a venue, a network and a ledger that fail, in simulated time, from seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.domain.errors import UsageError

if TYPE_CHECKING:
    from cloudrun.simulation.runner import Tally

EXIT_VIOLATED = 1
SHOWN_FAILURES = 5


def simulate(
    seeds: Annotated[int, typer.Option(help="Seeds to run of the random worlds, or of each scenario.", min=1)] = 100,
    first: Annotated[int, typer.Option(help="The first seed.", min=0)] = 1,
    scenario: Annotated[str | None, typer.Option(help="One scenario, or `all` of them (default: the random worlds).")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes (default: one for each processor).", min=1)] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Tell the story of each seed, line by line.")] = False,
    list_them: Annotated[bool, typer.Option("--list", help="List the scenarios.")] = False,
    report: Annotated[Path | None, typer.Option(help="Run all scenarios too and write the table as Markdown.")] = None,
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
        _list(as_json)
        return
    if soak is not None:
        _soak(soak, first, as_json)
        return
    chosen = [RANDOM] if scenario in (None, RANDOM) else list(SCENARIOS) if scenario == "all" else [str(scenario)]
    if chosen != [RANDOM] and scenario != "all":
        scenario_named(chosen[0])
    if report is not None:
        if scenario is not None:
            raise UsageError("--report runs every scenario and the random worlds; leave --scenario out")
        chosen = [*SCENARIOS, RANDOM]
    if verbose:
        _tell(chosen, first, seeds)
        return
    tallies = _run(chosen, first, seeds, workers, with_scenarios=report is not None)
    if report is not None:
        _write(report, tallies)
    _show(tallies, as_json)
    if any(tally.violated for tally in tallies.values()):
        raise typer.Exit(EXIT_VIOLATED)


def _run(chosen: list[str], first: int, seeds: int, workers: int | None, *, with_scenarios: bool) -> dict[str, Tally]:
    import os

    from cloudrun.simulation.runner import run_all, tasks
    from cloudrun.simulation.scenarios import RANDOM
    from shared.adapters.local.jobs import ProcessJobs
    from shared.cli import output

    counts = {name: seeds if name == RANDOM or not with_scenarios else max(1, seeds // 10) for name in chosen}
    work = [task for name in chosen for task in tasks(name, first, counts[name])]
    with output.progress(unit="") as bar:
        row = bar.add_task("simulating", total=sum(counts.values()), detail="seeds")
        return run_all(ProcessJobs(workers or os.cpu_count() or 1), work, lambda done: bar.advance(row, done))


def _tell(chosen: list[str], first: int, seeds: int) -> None:
    """The story of each seed, in this process."""
    from cloudrun.simulation.scenarios import run_seed
    from shared.cli import output

    violated = False
    for name in chosen:
        for seed in range(first, first + seeds):
            output.note(f"{name}, seed {seed}")
            outcome = run_seed(name, seed, print)
            violated = violated or bool(outcome.violations)
            for violation in outcome.violations:
                output.print_error(violation)
            output.note(f"{outcome.orders} orders, {outcome.fills} fills, {outcome.faults} faults; story {outcome.fingerprint}")
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
    output.emit(data, as_json, view=output.table(columns, rows, right=columns[1:]))


def _list(as_json: bool) -> None:
    from cloudrun.simulation.scenarios import SCENARIOS
    from shared.cli import output

    rows = [(scenario.name, scenario.failure, scenario.behaviour) for scenario in SCENARIOS.values()]
    columns = ("scenario", "failure", "behaviour")
    output.emit([dict(zip(columns, row, strict=True)) for row in rows], as_json, view=output.table(columns, rows))


def _write(report: Path, tallies: dict[str, Tally]) -> None:
    from cloudrun.simulation.report import page
    from shared.cli import output
    from shared.domain.errors import StorageError

    try:
        report.write_text(page(tallies), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write {report}: {error.strerror}; name another --report") from None
    output.note(f"wrote {report}")


def _soak(days: float, seed: int, as_json: bool) -> None:
    from cloudrun.simulation.soak import soak
    from shared.cli import output

    with output.progress(unit="") as bar:
        row = bar.add_task("simulating", total=round(days * 24), detail="hours")

        def on_hour(hours: int, memory_mb: float, tasks: int) -> None:
            bar.update(row, completed=hours)
            if hours % 24 == 0:
                output.note(f"day {hours // 24}: {memory_mb:.1f} MB resident, {tasks} tasks")

        result = soak(days, seed, on_hour)
    data = result.as_dict()
    output.emit(data, as_json, view=output.table(("", ""), data.items()))
    if result.violations:
        raise typer.Exit(EXIT_VIOLATED)
