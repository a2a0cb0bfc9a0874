"""Every entry of the schedule file is understood by the function that it calls."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.ingest.main import _interval

FOLDER = Path(__file__).parents[3] / "functions"
ENTRIES = yaml.safe_load((FOLDER / "schedules.yaml").read_text())
ON_TICK = {"ingest": "dispatch", "classify": "sweep", "signal": "recommend", "monitor": "look", "maintain": "maintain"}
"""Functions that take a call of the scheduler, and what they do then."""


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: str(entry["name"]))
def test_its_target_takes_calls_of_the_scheduler(entry: dict[str, Any]) -> None:
    target = entry["target"]
    if target.startswith("bot:"):
        assert target in ("bot:/step", "bot:/tend")
        return
    assert callable(getattr(importlib.import_module(f"functions.{target}.main"), ON_TICK[target]))
    if target == "ingest":
        assert _interval(entry["body"]["interval"]).value == entry["body"]["interval"]


def test_every_function_with_a_schedule_has_one() -> None:
    assert set(ON_TICK) <= {entry["target"] for entry in ENTRIES}
