"""Who may ask: API key, HMAC-SHA256 signature and timestamp, as Binance checks them.

The signature covers the query string followed by the body, without the `signature` parameter. A venue at the
speed of real time checks `timestamp` against its own clock within `recvWindow` (-1021), so a client with a wrong clock finds
out. In lockstep and at other speeds simulated time stands still or runs away from any client's clock; there a timestamp within
a day of either real or simulated time is accepted.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from cloudrun.exchange.filters import integer
from cloudrun.exchange.refusal import HTTP_UNAUTHORISED, Refusal, missing, refusal
from shared.domain.interval import DAY_MS

AHEAD_MS = 1000
DEFAULT_WINDOW_MS = 5000
MAX_WINDOW_MS = 60_000


@dataclass(frozen=True, slots=True)
class Credentials:
    """The one account's key and secret."""

    key: str = "paper"
    secret: str = field(default="paper", repr=False)

    def check_key(self, headers: Mapping[str, str]) -> None:
        """Raises -2014 without a key and -2015 with another one."""
        key = headers.get("X-MBX-APIKEY")
        if not key:
            raise refusal(-2014, status=HTTP_UNAUTHORISED)
        if not hmac.compare_digest(key.encode(), self.key.encode()):
            raise refusal(-2015, status=HTTP_UNAUTHORISED)

    def check_signature(self, query: str, body: str) -> None:
        """Raises -1102 without a signature and -1022 with a wrong one."""
        given = None
        parts = []
        for text in (query, body):
            pairs = [pair for pair in text.split("&") if pair]
            for pair in pairs:
                if pair.startswith("signature="):
                    given = pair.removeprefix("signature=")
            parts.append("&".join(pair for pair in pairs if not pair.startswith("signature=")))
        if not given:
            raise missing("signature")
        expected = hmac.new(self.secret.encode(), "".join(parts).encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(given.encode(), expected.encode()):
            raise refusal(-1022)


def check_timestamp(params: Mapping[str, str], venue_ms: int, real_ms: int, *, strict: bool) -> None:
    """Raises -1102, -1131 or -1021. `strict`: the venue runs at the speed of real time."""
    timestamp = integer(params, "timestamp")
    window = integer(params, "recvWindow", DEFAULT_WINDOW_MS)
    if not 0 < window <= MAX_WINDOW_MS:
        raise Refusal(-1131, "recvWindow must be less than 60000")
    if not strict:
        if min(abs(timestamp - venue_ms), abs(timestamp - real_ms)) > DAY_MS:
            raise refusal(-1021)
        return
    if timestamp >= venue_ms + AHEAD_MS:
        raise Refusal(-1021, f"Timestamp for this request was {AHEAD_MS}ms ahead of the server's time.")
    if venue_ms - timestamp > window:
        raise refusal(-1021)
