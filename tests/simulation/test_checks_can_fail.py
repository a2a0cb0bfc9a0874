"""Every scenario proves its row: with its behaviour removed it reports a violation."""

from __future__ import annotations

import pytest

from cloudrun.simulation.scenarios import SCENARIOS, run_seed
from tests.simulation.mutations import MUTATIONS

UNPROVEN: dict[str, str] = {}
"""scenarios without a mutation, and why there is none"""


def test_every_scenario_has_a_mutation_or_a_reason():
    assert set(SCENARIOS) == {*MUTATIONS, *UNPROVEN}
    assert not set(MUTATIONS) & set(UNPROVEN)


@pytest.mark.parametrize("name", list(MUTATIONS))
def test_a_scenario_fails_without_its_behaviour(name: str, monkeypatch: pytest.MonkeyPatch):
    mutation = MUTATIONS[name]
    mutation.apply(monkeypatch)
    outcomes = (run_seed(name, seed) for seed in mutation.seeds)
    violations = next((outcome.violations for outcome in outcomes if outcome.violations), ())
    assert violations, f"without {mutation.removed}, {name} reports nothing in the seeds {list(mutation.seeds)}"
    broken = [text for text in violations if "crashed" in text or "the simulation broke" in text]
    assert not broken, f"the mutation breaks the program instead of removing {mutation.removed}: {broken}"
