"""Every scenario proves its row: with its behaviour removed it reports a violation."""

from __future__ import annotations

import pytest

from cloudrun.simulation.scenarios import SCENARIOS, run_seed
from tests.simulation.mutations import MUTATIONS, Mutation

UNPROVEN: dict[str, str] = {}
"""scenarios without a mutation, and why there is none"""


def test_every_scenario_has_a_mutation_or_a_reason():
    proven = {name for name, _ in MUTATIONS}
    assert set(SCENARIOS) == {*proven, *UNPROVEN}
    assert not proven & set(UNPROVEN)


@pytest.mark.parametrize(("name", "mutation"), [pytest.param(*pair, id=f"{pair[0]}: {pair[1].removed}") for pair in MUTATIONS])
def test_a_scenario_fails_without_its_behaviour(name: str, mutation: Mutation, monkeypatch: pytest.MonkeyPatch):
    mutation.apply(monkeypatch)
    outcomes = (run_seed(name, seed) for seed in mutation.seeds)
    violations = next((outcome.violations for outcome in outcomes if outcome.violations), ())
    assert violations, f"without {mutation.removed}, {name} reports nothing in the seeds {list(mutation.seeds)}"
    broken = [text for text in violations if "crashed" in text or "the simulation broke" in text]
    assert not broken, f"the mutation breaks the program instead of removing {mutation.removed}: {broken}"
