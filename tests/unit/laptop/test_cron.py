"""When a schedule is due, against dates that a calendar confirms."""

from __future__ import annotations

import pytest
import yaml

from cloudrun.laptop.cron import Cron
from cloudrun.laptop.schedule import SCHEDULES, jobs
from shared.domain.errors import UsageError
from shared.domain.interval import parse_date_ms

NOON_MS = parse_date_ms("2026-11-22T12:00:00Z")  # a Sunday
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("text", "newest"),
    [
        ("* * * * *", "2026-11-22T12:00:00Z"),
        ("2 * * * *", "2026-11-22T11:02:00Z"),
        ("1-59/15 * * * *", "2026-11-22T11:46:00Z"),
        ("*/30 * * * *", "2026-11-22T12:00:00Z"),
        ("3,33 * * * *", "2026-11-22T11:33:00Z"),
        ("4 */4 * * *", "2026-11-22T08:04:00Z"),
        ("5 0 * * *", "2026-11-22T00:05:00Z"),
        ("6 0 * * 1", "2026-11-16T00:06:00Z"),
        ("0 12 * * 7", "2026-11-22T12:00:00Z"),
        ("0 0 21 * 0", "2026-11-22T00:00:00Z"),
        ("0 0 1 11 *", "2026-11-01T00:00:00Z"),
    ],
)
def test_the_newest_instant_that_is_due(text: str, newest: str) -> None:
    assert Cron.read(text).newest(NOON_MS - 40 * DAY_MS, NOON_MS) == parse_date_ms(newest)


def test_an_instant_is_due_once() -> None:
    cron = Cron.read("0 * * * *")
    assert cron.newest(NOON_MS, NOON_MS + HOUR_MS - 1) is None
    assert cron.newest(NOON_MS, NOON_MS + HOUR_MS) == NOON_MS + HOUR_MS


@pytest.mark.parametrize("text", ["", "* * * *", "60 * * * *", "a * * * *", "*/0 * * * *", "5-2 * * * *", "* 24 * * *"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Cron.read(text)


def test_every_schedule_of_the_profile_that_concerns_the_interval_is_kept() -> None:
    names = ("ingest", "curate", "classify", "signal", "monitor", "recalibrate", "maintain")
    made = jobs({**{name: f"http://{name}" for name in names}, "bot": "http://bot/step"}, "1h")
    entries = [entry for entry in yaml.safe_load(SCHEDULES.read_text()) if "schedule" in entry["profiles"]]
    assert {job.name for job in made} == {entry["name"] for entry in entries if entry["body"].get("interval", "1h") == "1h"}
    urls = {job.name: job.url for job in made}
    assert (urls["bot-step-1h"], urls["bot-tend"], urls["ingest-1h"]) == ("http://bot/step", "http://bot/tend", "http://ingest")
