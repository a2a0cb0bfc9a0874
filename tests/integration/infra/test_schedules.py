"""functions/schedules.yaml: the one list of what runs when, which Terraform, the local scheduler and the bill read."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from shared.domain.interval import Interval
from tests.integration.infra.planning import ROOT

JOBS: list[dict[str, Any]] = yaml.safe_load((ROOT / "functions" / "schedules.yaml").read_text(encoding="utf-8"))
FUNCTIONS = {"ingest", "curate", "classify", "signal", "monitor", "recalibrate", "maintain"}
KEYS = {"name", "target", "cron", "body", "deadline_s", "profiles", "description"}
INTERVALS = [interval.value for interval in Interval if interval is not Interval.M1]
LENGTH_MIN = {"15m": 15, "30m": 30, "1h": 60, "4h": 240, "1d": 1440, "1w": 10080}


def minutes(cron: str) -> set[int]:
    """The minutes of a week, from Monday 00:00 UTC, at which a schedule fires; of day of month and month only `*`."""
    minute, hour, day, month, weekday = cron.split()
    assert (day, month) == ("*", "*")
    days = {(number - 1) % 7 for number in values(weekday, 0, 6)}
    return {one * 1440 + at * 60 + past for one in days for at in values(hour, 0, 23) for past in values(minute, 0, 59)}


def values(field: str, low: int, high: int) -> set[int]:
    """The numbers that one field of a cron line names."""
    found = set[int]()
    for part in field.split(","):
        match = re.fullmatch(r"(?:\*|(\d+)(?:-(\d+))?)(?:/(\d+))?", part)
        assert match, field
        first = int(match[1] or low)
        last = int(match[2] or (first if match[1] and not match[3] else high))
        found |= set(range(first, last + 1, int(match[3] or 1)))
    return found


def job(name: str) -> dict[str, Any]:
    return next(one for one in JOBS if one["name"] == name)


def test_each_entry_is_complete_and_has_a_name_of_its_own() -> None:
    assert len({one["name"] for one in JOBS}) == len(JOBS)
    for one in JOBS:
        assert set(one) == KEYS, one["name"]
        assert one["target"] in FUNCTIONS | {"bot:/step", "bot:/tend"}
        assert set(one["profiles"]) <= {"schedule", "stream"}
        assert 15 <= one["deadline_s"] <= 1800  # Cloud Scheduler's limits
        assert minutes(one["cron"])


@pytest.mark.parametrize("interval", INTERVALS)
def test_each_interval_is_ingested_soon_after_each_close_and_only_then(interval: str) -> None:
    length = LENGTH_MIN[interval]
    times = sorted(minutes(job(f"ingest-{interval}")["cron"]))
    assert len(times) == 10080 // length
    assert {time % length for time in times} == {times[0]}
    assert 1 <= times[0] <= 10


def test_the_intervals_are_ingested_one_after_another_when_all_close_at_once() -> None:
    first = [min(minutes(job(f"ingest-{interval}")["cron"])) for interval in INTERVALS]
    assert len(set(first)) == len(first)


@pytest.mark.parametrize("interval", INTERVALS)
def test_the_bot_steps_at_each_close_of_the_traded_interval(interval: str) -> None:
    one = job(f"bot-step-{interval}")
    assert minutes(one["cron"]) == set(range(0, 10080, LENGTH_MIN[interval]))
    assert one["profiles"] == ["schedule"]
    assert one["body"] == {"interval": interval}


def test_the_bot_tends_each_minute_between_bars() -> None:
    assert len(minutes(job("bot-tend")["cron"])) == 10080
    assert job("bot-tend")["profiles"] == ["schedule"]
