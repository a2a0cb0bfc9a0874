"""Every row of the list of failures as a named scenario, and the random worlds beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cloudrun.simulation.scenarios import (
    account,
    candles,
    ledger,
    orders,
    processes,
    protection,
    refusals,
    risk,
    slices,
    streams,
    venue,
)
from cloudrun.simulation.scenarios.base import Scenario
from cloudrun.simulation.seeds import world_of
from cloudrun.simulation.sessions import program
from cloudrun.simulation.spec import Outcome
from cloudrun.simulation.world import World
from shared.domain.errors import UsageError

_ALL = (
    *orders.SCENARIOS,
    *refusals.SCENARIOS,
    *protection.SCENARIOS,
    *slices.SCENARIOS,
    *streams.SCENARIOS,
    *candles.SCENARIOS,
    *venue.SCENARIOS,
    *processes.SCENARIOS,
    *ledger.SCENARIOS,
    *account.SCENARIOS,
    *risk.SCENARIOS,
)
SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in _ALL}
RANDOM = "random"
"""the worlds in which anything may fail"""


def scenario_named(name: str) -> Scenario:
    """The scenario. Raises `UsageError` naming the known ones."""
    try:
        return SCENARIOS[name]
    except KeyError:
        raise UsageError(f"there is no scenario {name!r}; known: {RANDOM} {' '.join(SCENARIOS)}") from None


def run_seed(name: str, seed: int, show: Callable[[str], None] | None = None) -> Outcome:
    """Live through one seed of a scenario, or of the random worlds."""
    if name == RANDOM:
        return World(world_of(seed), program, show).run()
    scenario = scenario_named(name)
    world = World(scenario.world(seed), program, show)
    outcome = world.run(*scenario.acts)
    complaints = tuple(scenario.check(world)) if not outcome.violations else ()
    if not complaints:
        return outcome
    return replace(outcome, violations=complaints, last_lines=tuple(world.story.lines))
