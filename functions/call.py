"""What called a function: Pub/Sub with an event, or Cloud Scheduler with the slot that the call is for.

Both are told apart by their body. The slot comes from the scheduler's header, the same in every attempt, never from a clock.
Whoever may call at all was checked by the platform (IAM) before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.domain.errors import MalformedData, UsageError
from shared.domain.events import Event
from shared.domain.fields import Fields
from shared.domain.interval import parse_date_ms
from shared.domain.pushes import is_push, pushed

SLOT_HEADER = "x-cloudscheduler-scheduletime"


@dataclass(frozen=True, slots=True)
class Tick:
    """A call of the scheduler."""

    slot_ms: int
    """the instant that the schedule names"""
    body: Fields
    """what `functions/schedules.yaml` says to send"""


def called_by(headers: Mapping[str, str], content: bytes) -> Event | Tick:
    """What a request with these headers (by name in lower case) carries. Raises `MalformedData`."""
    body = Fields("the request", _object(content))
    if is_push(body):
        return pushed(body)
    text = headers.get(SLOT_HEADER)
    if not text:
        raise MalformedData(f"the request is no message of Pub/Sub and has no {SLOT_HEADER}; expected one or the other")
    try:
        return Tick(parse_date_ms(text), body)
    except UsageError as error:
        raise MalformedData(f"{SLOT_HEADER}: {error}") from None


def _object(content: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MalformedData(f"the body of the request is no JSON ({str(error)[:80]})") from None
    if not isinstance(value, dict):
        raise MalformedData(f"the body of the request is a {type(value).__name__}, expected an object")
    return value
