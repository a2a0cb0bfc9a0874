"""`ost simulate` as a user runs it, and the page that it writes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cloudrun.simulation.long_runs import SEEDS, SOAK, note_run, noted_runs
from cloudrun.simulation.report import page
from cloudrun.simulation.runner import Tally, replay_command, run_all, tasks
from cloudrun.simulation.scenarios import RANDOM, SCENARIOS
from cloudrun.simulation.spec import Outcome
from shared.cli.main import app
from shared.domain.errors import StorageError

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


@pytest.fixture
def ost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def shape(text: str) -> list[str]:
    """A page without its numbers and without what a run has found."""
    return [re.sub(r"[\d,]+", "#", line) for line in text.splitlines() if not line.startswith("- `ost simulate")]


def failing(seed: int) -> Outcome:
    return Outcome(seed, ("the sky fell",), "f", ("1.0  the sky falls",), 1, 1, 1, 1, 1)


def test_seeds_without_a_violation_end_with_success(ost: Callable[..., Result]):
    result = ost("simulate", "--seeds", 2, "--workers", 1, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["violations"] == []
    assert answer["scenarios"][0]["seeds"] == 2


def test_verbose_tells_the_story_of_a_seed(ost: Callable[..., Result]):
    result = ost("simulate", "--scenario", "killed-after-sending", "--seeds", 1, "--first", 2, "--verbose")
    assert result.exit_code == 0, result.output
    assert "bot-1 was killed" in result.stdout
    assert "venue order BTCUSDT" in result.stdout


def test_every_scenario_is_listed_with_its_failure(ost: Callable[..., Result]):
    listed = json.loads(ost("simulate", "--list", "--json").stdout)
    assert [row["scenario"] for row in listed] == list(SCENARIOS)
    assert all(row["failure"] and row["behaviour"] for row in listed)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--scenario", "meteor"), "no scenario 'meteor'"),
        (("--scenario", "maintenance", "--report", "x.md"), "leave --scenario out"),
    ],
)
def test_mistakes_are_named_in_one_line(ost: Callable[..., Result], arguments: tuple[str, ...], words: str):
    result = ost("simulate", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_a_failing_seed_is_shown_with_the_command_that_replays_it(monkeypatch: pytest.MonkeyPatch, ost: Callable[..., Result]):
    tally = Tally("two-instances").with_([failing(7)])
    monkeypatch.setattr("shared.cli.simulate._run", lambda *_, **__: {"two-instances": tally})
    result = ost("simulate", "--scenario", "two-instances")
    assert result.exit_code == 1
    assert "the sky fell" in result.stderr
    assert "ost simulate --scenario two-instances --seeds 1 --first 7 --verbose" in result.stderr


def test_seeds_are_counted_once_whatever_the_pieces():
    class InOrder:
        def run(self, prepare, items, on_done) -> None:
            for place, item in enumerate(items):
                on_done(place, [failing(seed) if seed % 10 == 0 else replaced(seed) for seed in item.seeds])

    def replaced(seed: int) -> Outcome:
        return Outcome(seed, (), "f", (), 2, 1, 1, 1, 0)

    tallies = run_all(InOrder(), [*tasks(RANDOM, 1, 25), *tasks("maintenance", 1, 3)])
    assert (tallies[RANDOM].seeds, tallies["maintenance"].seeds) == (25, 3)
    assert [outcome.seed for outcome in tallies[RANDOM].violated] == [10, 20]
    assert tallies[RANDOM].orders == 2 * 23 + 2


def test_the_page_has_a_row_for_every_scenario_and_names_violations():
    text = page(
        {name: Tally(name, seeds=10) for name in (*SCENARIOS, RANDOM)}
        | {"maintenance": Tally("maintenance").with_([failing(3)])},
        {},
    )
    for name in (*SCENARIOS, RANDOM):
        assert f"`{name}`" in text
    assert f"- `{replay_command('maintenance', 3)}`: the sky fell" in text


def test_the_page_in_the_documentation_is_of_this_program():
    expected = page({name: Tally(name, seeds=1) for name in (*SCENARIOS, RANDOM)}, noted_runs(PAGE.with_suffix(".json")))
    assert shape(PAGE.read_text(encoding="utf-8")) == shape(expected), (
        "run: ost simulate --seeds 1000 --report docs/reliability.md"
    )


def test_the_page_shows_the_newest_long_runs_whichever_ran_last(tmp_path: Path):
    written = tmp_path / "page.md"
    written.write_text(page({}, {}), encoding="utf-8")
    assert "one long life: not run yet" in written.read_text(encoding="utf-8")
    file = written.with_suffix(".json")
    seeds = {"date": "2026-11-20", "seeds": 10_000, "minutes": 18.2, "cores": 2, "violations": 0}
    note_run(file, SEEDS, seeds | {"seeds": 9})
    note_run(file, SEEDS, seeds)
    life = {
        "date": "2026-11-21",
        "days": 30.0,
        "minutes": 44.0,
        "symbols": 5,
        "growth": 0.021,
        "tasks_most": 12,
        "violations": 0,
    }
    note_run(file, SOAK, life)
    assert written.read_text(encoding="utf-8") == page({}, noted_runs(file))
    text = written.read_text(encoding="utf-8")
    assert "2026-11-20: 10,000 in 18.2 minutes on 2 cores: no violations" in text
    assert "30 simulated days of 5 symbols in 44.0 minutes: memory +2.1% after the first day" in text


def test_figures_that_cannot_be_read_are_named(tmp_path: Path):
    file = tmp_path / "page.json"
    file.write_text("{", encoding="utf-8")
    with pytest.raises(StorageError, match="cannot read"):
        noted_runs(file)


def test_the_documented_run_has_no_violation():
    assert "- `ost simulate" not in PAGE.read_text(encoding="utf-8")
