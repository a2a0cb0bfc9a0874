"""The long run: what grows is a violation, and what does not grow is none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cloudrun.simulation.soak import TASKS_LIMIT, soak
from cloudrun.simulation.world import World
from shared.cli.main import app

DAYS = 0.02
LEAK = 4_000_000
"""bytes that are kept each simulated minute"""


@pytest.fixture
def ost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_run_without_a_leak_tells_what_it_has_measured():
    result = soak(DAYS, 1)
    assert [words for words in result.violations if "memory" not in words] == []  # the first minutes fill caches
    assert 3 <= result.tasks_most <= TASKS_LIMIT
    assert 1 <= result.connections_most <= 2
    assert result.decisions > 5 * 20
    assert result.memory_first_mb > 0


def test_memory_that_is_kept_is_caught():
    kept: list[bytes] = []

    async def leak(world: World) -> None:
        while True:
            await asyncio.sleep(60.0)
            kept.append(b"x" * LEAK)

    result = soak(DAYS, 1, lambda *_: None, leak)
    assert any("resident memory has grown" in words for words in result.violations), result


def test_tasks_that_are_left_behind_are_caught():
    async def leak(world: World) -> None:
        while True:
            await asyncio.sleep(60.0)
            process = next(process for process in world.processes if process.alive)
            process.tasks.add(asyncio.get_running_loop().create_task(asyncio.sleep(1e6)))

    result = soak(DAYS, 1, lambda *_: None, leak)
    assert any(f"at most {TASKS_LIMIT} are expected" in words for words in result.violations), result


def test_a_violation_of_the_long_run_ends_with_failure(ost: Callable[..., Result], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cloudrun.simulation.soak.TASKS_LIMIT", 1)
    result = ost("simulate", "--soak", 0.01)
    assert result.exit_code == 1
    assert "tasks; at most 1 are expected" in result.stderr
    assert "()" not in result.stdout


def test_the_figures_of_the_long_run_are_noted_for_the_page(ost: Callable[..., Result], tmp_path: Path):
    ost("simulate", "--soak", 0.01, "--report", "page.md", "--json")
    noted = json.loads((tmp_path / "page.json").read_text())["soak"]
    assert noted["days"] == 0.01
    assert noted["symbols"] == 5
    assert {"date", "minutes", "cores", "growth", "tasks_most", "violations"} <= noted.keys()


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        (("--soak", 1, "--scenario", "random"), "--scenario"),
        (("--soak", 1, "--seeds", 3), "--seeds"),
        (("--verbose", "--json"), "--json"),
        (("--verbose", "--report", "page.md"), "--report"),
        (("--verbose", "--workers", 2), "--workers"),
        (("--list", "--soak", 1), "--soak"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(ost: Callable[..., Result], options: tuple[object, ...], refused: str):
    result = ost("simulate", *options)
    assert result.exit_code == 2
    assert f"does not go with {refused}" in str(result.exception) + result.output


def test_a_story_has_its_borders_on_standard_output(ost: Callable[..., Result]):
    result = ost("simulate", "--seeds", 2, "--first", 5, "--verbose")
    lines = result.stdout.splitlines()
    assert lines[0] == "random, seed 5"
    assert "random, seed 6" in lines
    assert sum("; story " in line for line in lines) == 2
