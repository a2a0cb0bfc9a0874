"""The event inside of a delivery of Pub/Sub: `{"message": {"data": BASE64, ...}, "subscription": ...}`.

Only the data are read: emulator and service differ in everything beside them.
"""

from __future__ import annotations

import base64
import binascii

from shared.domain.errors import MalformedData
from shared.domain.event_reading import read_event
from shared.domain.events import Event
from shared.domain.fields import Fields


def is_push(body: Fields) -> bool:
    """Whether a request with this body is a delivery of Pub/Sub."""
    return isinstance(body.values.get("message"), dict)


def pushed(body: Fields) -> Event:
    """The event that is delivered. Raises `MalformedData`."""
    try:
        return read_event(base64.b64decode(body.inner("message").text("data"), validate=True))
    except binascii.Error as error:
        raise MalformedData(f"the message's data are no base64 ({error})") from None
