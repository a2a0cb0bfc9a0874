"""A recalibration whose campaign is computed by a task array: one step for each call, until it has ended.

    plan the campaign -> start an execution for what is unfinished -> (calls while it runs change nothing) -> decide

While the execution of another campaign runs, nothing is started: this one waits for its turn, and a later call asks again.
An execution whose instances failed for good, after their own retries, is the end of the event: another one would only be paid
for again. What passes by itself leaves the event running. The bucket keeps the name of a campaign's last execution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from shared.calibration.campaign import unfinished
from shared.calibration.recalibration import Log, Recalibrated, champion_of, failing, recalibrate
from shared.calibration.run import CampaignPorts, CampaignRequest, register_campaign
from shared.domain.errors import PASSING, TasksFailed
from shared.domain.research import FINAL, RecalibrationEvent
from shared.ports import Bucket, Execution, TaskArray

MOST_INSTANCES = 100
"""Instances that one campaign asks for; each of them does several tasks where there are more."""


def recalibrate_elsewhere(
    event: RecalibrationEvent,
    request: Callable[[], CampaignRequest],
    ports: CampaignPorts,
    array: TaskArray,
    log: Log,
    instances: int = MOST_INSTANCES,
) -> Recalibrated | None:
    """Bring `event` one step further with the campaign of `request()`; `None` while the array is at work.

    Errors that pass leave the event `running`; all others of the tree are its end (`failed`). Both are raised.
    """
    if event.status not in FINAL and champion_of(ports.research, event) is None:
        ports.research.advance_recalibration(event.id, "running", ports.clock.now_ms())
        with failing(event, ports, log, PASSING):
            wanted = request()
            spec, _ = register_campaign(replace(wanted, origin={**wanted.origin, "recalibration": event.id}), ports)
            todo = unfinished(spec, ports.bucket, ports.research)
            if todo:
                execution = _at_work(array, spec.id, min(len(todo), instances), ports.bucket)
                is_ours = execution.arguments == (spec.id,)
                todo_by = f"to do by {execution.name}" if is_ours else f"wait for {execution.name} of another campaign"
                message = f"recalibration {event.id} of {event.asset.symbol}: {len(todo)} tasks {todo_by}"
                log("info", message, {"event": event.id, "campaign": spec.id, "execution": execution.name})
                return None
    return recalibrate(event, request, ports, log, leaving=PASSING)


def _at_work(array: TaskArray, campaign: str, instances: int, bucket: Bucket) -> Execution:
    """The execution that a campaign waits for: its own, running or new, or another's. Raises `TasksFailed`, `JobError`."""
    name = f"campaigns/executions/{campaign}"
    stored = bucket.read(name)
    last = None if stored is None else array.execution(stored.content.decode())
    if last is not None and last.is_finished and last.failed:
        raise TasksFailed(
            f"{last.failed} of {last.tasks} instances of the execution {last.name} failed for good; see their log, and after "
            f"the fix remove {name} from the bucket and run: ost recalibrate"
        )
    execution = array.start([campaign], instances)
    if execution.arguments == (campaign,):
        bucket.write(name, execution.name.encode())
    return execution
