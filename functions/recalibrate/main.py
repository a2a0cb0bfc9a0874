"""`recalibrate`: brings a recalibration to its end, one step for each call: a campaign, then a champion or nothing.

The tasks of the campaign run in a Cloud Run job (locally in processes). The monitor asks again each hour until the
recalibration has ended; whoever asks while the job is at work, or once more for the same event, changes nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from functions.answer import Answer, Jobs, answered, say
from shared.domain.data_events import RecalibrationTriggered
from shared.domain.errors import DataNotFound
from shared.domain.interval import DAY_MS
from shared.domain.records import Receipt

if __name__ == "main":  # under functions-framework, alone in its process
    import shared.adapters.gcp.http_only  # noqa: F401

if TYPE_CHECKING:
    from flask import Request

    from shared.calibration.run import CampaignRequest
    from shared.domain.events import Event
    from shared.domain.research import RecalibrationEvent

RECALIBRATE = "recalibrate"
"""consumer of the inbox"""


def handle(request: Request) -> Answer:
    """The entry point."""
    return answered(request, Jobs(on_event=recalibrate))


def recalibrate(event: Event) -> None:
    """Bring the recalibration that an event names one step further. Raises the `OstError` tree."""
    asked = RecalibrationTriggered.of(event)
    from functions import wired
    from shared.cli import wiring

    ledger = wired.ledger()
    if ledger.receipt(RECALIBRATE, event.id) is not None:
        say("INFO", "event.duplicate", f"{event.kind.value} {event.id}", recalibration=asked.recalibration)
        return
    found = next((one for one in wired.research().recalibrations(asked.asset) if one.id == asked.recalibration), None)
    if found is None:
        raise DataNotFound(f"the ledger holds no recalibration {asked.recalibration} of {asked.asset}; was it restored since?")
    if found.status == "failed":  # by an earlier delivery: a person looks into it
        say("INFO", "recalibration.failed", f"{asked.asset}: `ost recalibrate` runs it again", recalibration=found.id)
    else:
        _step(found)
    ledger.record_receipt(Receipt(RECALIBRATE, event.id, str(asked.asset), wiring.clock().now_ms()))


def _step(found: RecalibrationEvent) -> None:
    from functions import wired
    from shared.adapters.local.jobs import ProcessJobs
    from shared.calibration.recalibration import ledger_log
    from shared.calibration.recalibration_elsewhere import MOST_INSTANCES, recalibrate_elsewhere
    from shared.calibration.run import CampaignPorts
    from shared.cli import wiring

    clock, processors = wiring.clock(), os.cpu_count() or 1
    ports = CampaignPorts(wired.bucket(), wired.research(), ProcessJobs(processors), clock)
    instances = processors if wired.settings().jobs.url is None else MOST_INSTANCES
    log = ledger_log(wired.ledger(), found, clock)
    done = recalibrate_elsewhere(found, lambda: _request(found), ports, wired.task_array(), log, instances)
    status = "running" if done is None else done.event.status
    reason = "its campaign is at work, or waits for another one" if done is None else done.reason
    say("INFO", "recalibration.step", f"{found.asset.symbol}: {status}: {reason}", recalibration=found.id, status=status)


def _request(found: RecalibrationEvent) -> CampaignRequest:
    """The campaign of a recalibration, on the days up to the one that it names: a later call asks the same."""
    from functions import wired
    from shared.calibration.campaign import lookback_bars
    from shared.calibration.grids import default_points
    from shared.calibration.lake_market import LABEL, lake_market
    from shared.calibration.recalibration import data_end_ms
    from shared.cli.campaign_request import campaign_request

    settings = wired.settings()
    end_ms = data_end_ms(found) // DAY_MS * DAY_MS
    start_ms = settings.interval.ceil(end_ms - settings.monitor.history_days * DAY_MS)
    points = default_points(settings.system)
    from_ms = start_ms - lookback_bars(settings.system, points) * settings.interval.ms
    market = lake_market(wired.bucket(), found.asset, settings.interval, from_ms, end_ms)
    origin = {"variants": "default grid"}
    return campaign_request(settings, market, (start_ms, end_ms), LABEL, points=points, search=None, origin=origin)
