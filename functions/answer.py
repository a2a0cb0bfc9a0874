"""From a request to an answer: parse, do, and say by the status whether the same message is to come again.

    204  done, or done before, or too old to matter
    422  it can never be done: after five attempts it is a dead letter
    503  not now: try again
    500  a bug

Every line of the log carries the trace of the request and the id of the event.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from functions.call import Tick, called_by
from shared.adapters.gcp.log import about, set_up, trace_of
from shared.domain.errors import PASSING, MalformedData, NotEnoughData, OstError, needs_help
from shared.domain.events import Event

if TYPE_CHECKING:
    from flask import Request

DONE, MALFORMED, AGAIN, BUG = 204, 422, 503, 500
_LOG = logging.getLogger("functions")

Answer = tuple[dict[str, str], int]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Jobs:
    """What a function does; each handler raises the `OstError` tree."""

    on_event: Callable[[Event], None] | None = None
    on_tick: Callable[[Tick], None] | None = None


class NotNow(OstError):
    """Parts of the work failed for a reason that passes; the others are done."""


def for_each(items: Iterable[T], work: Callable[[T], None], failure: str, field: str = "asset") -> None:
    """`work` on every item, whatever becomes of the others; each failure is a line called `failure`, with the item as `field`.

    Raises `NotNow` at the end where one failed for a reason that passes. Too few bars are no failure: an asset may be young.
    """
    again = []
    for item in items:
        try:
            work(item)
        except NotEnoughData as error:
            say("INFO", "data.too_short", f"{item}: {error}", **{field: str(item)})
        except OstError as error:
            is_passing = isinstance(error, (NotNow, *PASSING))
            is_noted = isinstance(error, NotNow) or not needs_help(error)
            say("WARNING" if is_noted else "ERROR", failure, f"{item}: {error}", **{field: str(item)})
            again += [str(item)] if is_passing else []
    if again:
        raise NotNow(f"{' '.join(again)}: not now; tried again")


def answered(request: Request, jobs: Jobs) -> Answer:
    """Let the right one of `jobs` do what `request` asks for."""
    _speak()
    headers = {name.lower(): text for name, text in request.headers.items()}
    with about(trace_of(headers)):
        if request.method != "POST":
            return {"error": f"found {request.method}, expected POST"}, 405
        try:
            call = called_by(headers, request.get_data())
        except MalformedData as error:
            return _refused("", error, MALFORMED)
        name = call.id if isinstance(call, Event) else f"slot {call.slot_ms}"
        with about(event_id=name):
            return _done(call, name, jobs)


def say(severity: str, event: str, message: str, **fields: Any) -> None:
    """A line of the log. `event` is what happened, in the words that alerts and metrics look for."""
    level = logging.getLevelNamesMapping()[severity]
    _LOG.log(level, "%s", message, extra={"json_fields": {"event": event, **fields}}, stacklevel=2)


def _done(call: Event | Tick, name: str, jobs: Jobs) -> Answer:
    try:
        _do(call, jobs)
    except OstError as error:
        return _refused(name, error, AGAIN if isinstance(error, (NotNow, *PASSING)) else MALFORMED)
    except Exception as error:  # noqa: BLE001 - the end of the line: told with its event, answered as what it is
        _LOG.exception("a bug: %s", error, extra={"json_fields": {"event": "bug"}})
        return {"error": "internal error; the log has it", "event": name}, BUG
    return {}, DONE


def _do(call: Event | Tick, jobs: Jobs) -> None:
    if isinstance(call, Tick) and jobs.on_tick is not None:
        jobs.on_tick(call)
    elif isinstance(call, Event) and jobs.on_event is not None:
        jobs.on_event(call)
    else:
        what = "a schedule" if isinstance(call, Tick) else f"the event {call.kind.value}"
        raise MalformedData(f"{what} came to a function that is called otherwise; check the schedules and subscriptions")


def _refused(name: str, error: OstError, status: int) -> Answer:
    # What is tried again is no error yet: if it stays, the message becomes a dead letter, which alerts.
    say("WARNING" if status == AGAIN else "ERROR", "call.refused", str(error), status=status, error=type(error).__name__)
    return {"error": str(error), "event": name}, status


@cache
def _speak() -> None:
    set_up(os.environ.get("GOOGLE_CLOUD_PROJECT"))
