"""Many seeds on several processors, and what came of them."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cloudrun.simulation.spec import Outcome
from shared.ports import Jobs

CHUNK = 20
"""Seeds that are handed to a worker at once"""


@dataclass(frozen=True, slots=True)
class Task:
    """Some seeds of the random worlds (`scenario` empty), or of a scenario."""

    scenario: str
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tally:
    """What seeds of one kind have shown."""

    scenario: str
    seeds: int = 0
    faults: int = 0
    processes: int = 0
    decisions: int = 0
    orders: int = 0
    fills: int = 0
    violated: tuple[Outcome, ...] = ()

    def with_(self, outcomes: Sequence[Outcome]) -> Tally:
        """This tally and further outcomes."""
        return Tally(
            self.scenario,
            self.seeds + len(outcomes),
            self.faults + sum(outcome.faults for outcome in outcomes),
            self.processes + sum(outcome.processes for outcome in outcomes),
            self.decisions + sum(outcome.decisions for outcome in outcomes),
            self.orders + sum(outcome.orders for outcome in outcomes),
            self.fills + sum(outcome.fills for outcome in outcomes),
            (*self.violated, *(outcome for outcome in outcomes if outcome.violations)),
        )


def tasks(scenario: str, first: int, count: int) -> list[Task]:
    """`count` seeds from `first` on, in pieces."""
    seeds = range(first, first + count)
    return [Task(scenario, tuple(seeds[i : i + CHUNK])) for i in range(0, count, CHUNK)]


def run_all(jobs: Jobs, work: Sequence[Task], on_done: Callable[[int], None] = lambda _: None) -> dict[str, Tally]:
    """Run `work`; the tally of each scenario, in order. `on_done` is told how many seeds were run."""
    tallies = {task.scenario: Tally(task.scenario) for task in work}
    found: dict[int, list[Outcome]] = {}

    def keep(place: int, outcomes: list[Outcome]) -> None:
        found[place] = outcomes
        on_done(len(outcomes))

    jobs.run(_worker, work, keep)
    for place in sorted(found):
        scenario = work[place].scenario
        tallies[scenario] = tallies[scenario].with_(found[place])
    return tallies


def replay_command(scenario: str, seed: int) -> str:
    """What shows a failing seed again."""
    named = "" if scenario in ("", "random") else f" --scenario {scenario}"
    return f"ost simulate{named} --seeds 1 --first {seed} --verbose"


def _worker() -> Callable[[Task], list[Outcome]]:
    """What a worker process does; imported there."""
    from cloudrun.simulation import scenarios  # noqa: F401 - what it needs is loaded now and outlives every world

    gc.freeze()
    # Worlds are small and many: looking for cycles at the usual pace takes a tenth of the time.
    gc.set_threshold(50_000, 50, 100)
    logging.disable(logging.WARNING)  # what is wrong in a world is told by its story
    return _run


def _run(task: Task) -> list[Outcome]:
    from cloudrun.simulation.scenarios import run_seed

    outcomes = [run_seed(task.scenario, seed) for seed in task.seeds]
    gc.collect()  # worlds are full of cycles: thousands of them would wait for the rare look at what is old
    return outcomes
