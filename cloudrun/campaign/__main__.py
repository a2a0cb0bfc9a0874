"""`python -m cloudrun.campaign ID`: this instance's share of a registered campaign's tasks.

A Cloud Run Job starts as many instances as it has tasks and tells each its place in `CLOUD_RUN_TASK_INDEX` and their number in
`CLOUD_RUN_TASK_COUNT`; instance i takes the tasks i, i + count, … so that every task has exactly one owner. What is finished is
skipped, so a retried instance goes on where the first one stopped. `ost campaign --plan-only` registers a campaign, and the
same command without it decides when all tasks are done.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from shared.calibration.campaign import run_tasks, unfinished
from shared.calibration.spec import CampaignSpec, Task
from shared.cli import wiring
from shared.config.load import load
from shared.domain.errors import ConfigError, DataNotFound, OstError, UsageError
from shared.version import code_version

EXIT_PROBLEM, EXIT_USAGE = 1, 2


def share(tasks: Sequence[Task], environment: Mapping[str, str]) -> tuple[Task, ...]:
    """The tasks of this instance: all of them outside a job. Raises `UsageError` for numbers that make no sense."""
    texts = [environment.get(name, default) for name, default in (("CLOUD_RUN_TASK_INDEX", "0"), ("CLOUD_RUN_TASK_COUNT", "1"))]
    if not all(text.isdecimal() for text in texts) or not int(texts[0]) < int(texts[1]):
        raise UsageError(f"CLOUD_RUN_TASK_INDEX {texts[0]} of CLOUD_RUN_TASK_COUNT {texts[1]}; expected 0 <= index < count")
    index, count = map(int, texts)
    return tuple(tasks[index::count])


def run(campaign_id: str, environment: Mapping[str, str]) -> tuple[int, int]:
    """Do this instance's unfinished tasks; return how many there were, and how many the campaign has."""
    from shared.adapters.local.clock import SystemClock
    from shared.adapters.local.jobs import ProcessJobs

    settings = load(environment=environment).settings
    bucket, research = wiring.bucket(settings), wiring.research(settings, migrate=False)
    record = research.campaign(campaign_id)
    if record is None:
        raise DataNotFound(f"there is no campaign {campaign_id}; register it with: ost campaign … --plan-only")
    spec = CampaignSpec.from_dict(record.spec)
    if spec.code_version != code_version():
        raise ConfigError(
            f"campaign {spec.id} was planned by code {spec.code_version}, this is {code_version()}; "
            "deploy that code, or plan anew"
        )
    mine = {task.id for task in share(spec.tasks, environment)}
    todo = [task for task in unfinished(spec, bucket, research) if task.id in mine]

    def told(done: int, total: int) -> None:
        print(f"{done} of {total} tasks done", file=sys.stderr, flush=True)

    run_tasks(
        spec,
        todo,
        bucket=bucket,
        research=research,
        jobs=ProcessJobs(os.cpu_count() or 1),
        clock=SystemClock(),
        on_progress=told,
    )
    return len(todo), len(spec.tasks)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m cloudrun.campaign",
        description="Do this instance's share of a registered campaign's tasks.",
        epilog="example: CLOUD_RUN_TASK_INDEX=0 CLOUD_RUN_TASK_COUNT=4 python -m cloudrun.campaign k-7h2...",
    )
    parser.add_argument("campaign", help="id of the campaign, as printed by ost campaign --plan-only")
    try:
        done, total = run(parser.parse_args(arguments).campaign, os.environ)
    except OstError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, UsageError | ConfigError) else EXIT_PROBLEM
    print(f"done: {done} tasks of {total}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
