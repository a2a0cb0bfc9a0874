"""The scheduler: `functions/schedules.yaml` in the time of the exchange, one thread for each schedule.

A slot is sent with the header of Cloud Scheduler. While an answer is awaited nothing else is sent for that schedule, and of the
slots that passed meanwhile the newest alone: in simulated time there are more than anybody could answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cloudrun.laptop.cron import Cron
from cloudrun.laptop.delivery import post
from shared.domain.interval import format_ms

SCHEDULES = Path(__file__).parents[2] / "functions" / "schedules.yaml"
RETRIES = 5
"""Further attempts after an answer other than 2xx, as `infra/scheduler.tf` has them"""
RETRY_S = 1.0
_LOOK_S = 0.2


@dataclass(frozen=True)
class Job:
    """A schedule, and where it calls."""

    name: str
    cron: Cron
    url: str
    body: Any
    deadline_s: float


def jobs(endpoints: Mapping[str, str], interval: str) -> list[Job]:
    """The schedules of the profile `schedule` for a lake and a bot that know `interval` alone."""
    found = []
    for entry in yaml.safe_load(SCHEDULES.read_text(encoding="utf-8")):
        target, _, path = str(entry["target"]).partition(":")
        if "schedule" in entry["profiles"] and entry["body"].get("interval", interval) == interval:
            url = endpoints["bot"].removesuffix("/step") + path if target == "bot" else endpoints[target]
            found.append(Job(entry["name"], Cron.read(entry["cron"]), url, entry["body"], float(entry["deadline_s"])))
    return found


class Running(threading.Thread):
    """Calls for `job` whenever it is due after `since_ms`, until it is over. `tell` hears name, slot, status and answer."""

    def __init__(
        self,
        job: Job,
        since_ms: int,
        now_ms: Callable[[], int],
        over: threading.Event,
        tell: Callable[[str, int, int, str], None],
    ) -> None:
        super().__init__(name=job.name, daemon=True)
        self._job, self._sent_ms, self._now_ms, self._over, self._tell = job, since_ms, now_ms, over, tell

    def run(self) -> None:
        """Until it is over."""
        while not self._over.wait(_LOOK_S):
            try:
                slot_ms = self._job.cron.newest(self._sent_ms, self._now_ms())
            except OSError:  # the exchange is busy, or it has ended, which whoever watches the parts says
                continue
            if slot_ms is None:
                continue
            self._sent_ms = slot_ms
            status, text = self._call(slot_ms)
            if not self._over.is_set():
                self._tell(self._job.name, slot_ms, status, text)

    def _call(self, slot_ms: int) -> tuple[int, str]:
        """What the last attempt was answered with."""
        slot = {"X-CloudScheduler-ScheduleTime": format_ms(slot_ms)}
        for attempt in range(1 + RETRIES):
            status, text = post(self._job.url, self._job.body, slot, self._job.deadline_s)
            if 200 <= status < 300 or attempt == RETRIES or self._over.wait(RETRY_S):
                break
        return status, text
