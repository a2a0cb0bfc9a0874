"""A reason to tune again, brought to its end: open -> running -> campaign -> champion, or "no significant improvement".

Each step looks first whether it is done, so that a recalibration which was killed goes on: the event names the instant at which
its data end, the campaign is its own content and continues, and a champion that names the event has been promoted already.
A failure keeps its error in the ledger and may run again. Invariant: an event makes at most one champion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from shared.calibration.campaign import evidence
from shared.calibration.champions import RECALIBRATION, propose
from shared.calibration.run import CampaignPorts, CampaignRequest, FinishedCampaign, Say, run_campaign
from shared.calibration.spec import CampaignSpec
from shared.domain.asset import Asset
from shared.domain.candles import FloatArray
from shared.domain.errors import DataNotFound, OstError
from shared.domain.ids import content_id
from shared.domain.research import FINAL, Champion, RecalibrationEvent
from shared.ports import Bucket, Clock, Ledger, Research

Log = Callable[[str, str, Mapping[str, Any]], None]
"""level, message, context: where outcomes are told to people"""

OWN_BOOK = "research"
"""book of the agent log for recalibrations that no book asked for"""


@dataclass(frozen=True, slots=True)
class Recalibrated:
    """An event with what came of it."""

    event: RecalibrationEvent
    campaign: str | None
    champion: str | None
    reason: str


def manual_event(
    asset: Asset, now_ms: int, regime: Mapping[str, Any], reason: str, end_ms: int | None = None
) -> RecalibrationEvent:
    """An event that a person asked for; its campaign sees data up to `end_ms` (default: now)."""
    measured = {"reason": reason, **({} if end_ms is None else {"end_ms": end_ms})}
    return RecalibrationEvent(
        content_id("r", str(asset), "manual", now_ms), asset, now_ms, "manual", measured, dict(regime), "open"
    )


def data_end_ms(event: RecalibrationEvent) -> int:
    """Where the data of an event's campaign end: when it was opened, unless it says otherwise."""
    return int(event.measured.get("end_ms", event.created_ms))


def recalibrate(
    event: RecalibrationEvent,
    request: Callable[[], CampaignRequest],
    ports: CampaignPorts,
    log: Log,
    say: Say = lambda stage, done, total: None,
    leaving: tuple[type[OstError], ...] = (),
) -> Recalibrated:
    """Bring `event` to its end with the campaign of `request()`, which is asked for only where there is something to do.

    Errors of the tree are recorded as the event's end (`failed`) and raised; an interruption leaves it `running`, and so do
    errors that are `leaving`.
    """
    research = ports.research
    if event.status in FINAL:
        return _known(event)
    if (made := champion_of(research, event)) is not None:
        return _ended(event, "champion", _promoted(made), ports, log)
    research.advance_recalibration(event.id, "running", ports.clock.now_ms())
    with failing(event, ports, log, leaving):
        wanted = request()
        finished = run_campaign(replace(wanted, origin={**wanted.origin, "recalibration": event.id}), ports, say)
        if not finished.promoted:
            outcome = {"campaign": finished.spec.id, "champion": None, "reason": str(finished.outcome["reason"])}
            return _ended(event, "no_improvement", outcome, ports, log)
        champion = _crowned(event, finished, ports)
    return _ended(event, "champion", _promoted(champion), ports, log)


@contextmanager
def failing(
    event: RecalibrationEvent, ports: CampaignPorts, log: Log, leaving: tuple[type[OstError], ...] = ()
) -> Iterator[None]:
    """An error of the tree is the event's end, unless it is one of those that are `leaving`."""
    try:
        yield
    except leaving:
        raise
    except OstError as error:
        outcome = {"campaign": None, "champion": None, "reason": str(error)}
        ports.research.advance_recalibration(event.id, "failed", ports.clock.now_ms(), outcome)
        log("error", f"recalibration {event.id} of {event.asset.symbol} failed: {error}", {"event": event.id})
        raise


def ledger_log(ledger: Ledger, event: RecalibrationEvent, clock: Clock) -> Log:
    """Tells outcomes to the agent log of the book that asked for the recalibration."""
    book = str(event.measured.get("book") or OWN_BOOK)

    def log(level: str, message: str, context: Mapping[str, Any]) -> None:
        ledger.log(book, "recalibration", level, message, clock.now_ms(), context)

    return log


def champion_of(research: Research, event: RecalibrationEvent) -> Champion | None:
    """The champion that an event has made."""
    return next((one for one in research.champions(event.asset) if one.lineage.get("recalibration") == event.id), None)


def winner_returns(spec: CampaignSpec, outcome: Mapping[str, Any], bucket: Bucket) -> FloatArray | None:
    """Daily test returns (d,) of a campaign's winner; `None` where there is none, or its arrays are gone."""
    if outcome.get("winner") is None:
        return None
    try:
        found: FloatArray = evidence(spec, bucket).test_returns[outcome["winner"]["place"]]
    except DataNotFound:
        return None
    return found


def _crowned(event: RecalibrationEvent, finished: FinishedCampaign, ports: CampaignPorts) -> Champion:
    record = ports.research.campaign(finished.spec.id)
    if record is None:
        raise DataNotFound(f"campaign {finished.spec.id} has left the ledger while it ran; run the recalibration again")
    active = next(iter(ports.research.champions(event.asset, active=True)), None)
    now_ms = ports.clock.now_ms()
    returns = winner_returns(finished.spec, finished.outcome, ports.bucket)
    reason, costs = str(finished.outcome["reason"]), finished.spec.account.costs  # those of the settings
    champion = propose(
        record, returns, by=RECALIBRATION, reason=reason, now_ms=now_ms, active=active, costs=costs, recalibration=event.id
    ).champion
    ports.research.promote(champion, now_ms)
    return champion


def _promoted(champion: Champion) -> dict[str, Any]:
    return {"campaign": champion.lineage.get("campaign"), "champion": champion.id, "reason": champion.reason}


def _ended(event: RecalibrationEvent, status: str, outcome: Mapping[str, Any], ports: CampaignPorts, log: Log) -> Recalibrated:
    ended = ports.research.advance_recalibration(event.id, status, ports.clock.now_ms(), outcome)
    what = f"made champion {outcome['champion']}" if status == "champion" else "changed nothing"
    message = f"recalibration {event.id} of {event.asset.symbol} {what}: {outcome['reason']}"
    log("info", message, {"event": event.id, "campaign": outcome["campaign"], "champion": outcome["champion"]})
    return _known(ended)


def _known(event: RecalibrationEvent) -> Recalibrated:
    outcome = event.outcome or {}
    return Recalibrated(event, outcome.get("campaign"), outcome.get("champion"), str(outcome.get("reason", "")))
