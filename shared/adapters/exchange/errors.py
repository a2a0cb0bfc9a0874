"""What an exception of ccxt means: never reached, maybe reached, or answered with a no.

Decided from the HTTP answer where there is one (status, Binance's `code` and `msg`), else from how the connection ended.
The same event means different things for a read, which may be repeated, and for a request that changes something, which may
not: a timeout of a sent order is an unknown outcome. Sources: Binance USD-M "General Info" and "Error Codes"; the recorded
bodies in the project's data; design/failures.md. Invariant: no message holds a URL, a signature or a key.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from shared.adapters.exchange.ccxt_import import load_module
from shared.adapters.exchange.client import HttpReply
from shared.domain.errors import (
    NoMargin,
    NothingToReduce,
    OutcomeUnknown,
    RateLimited,
    RulesBroken,
    VenueError,
    VenueRejected,
    VenueUnreachable,
    WouldTrigger,
)

CLOCK_SKEW = -1021
TIME_REFUSED = frozenset({CLOCK_SKEW, -4188, -5028})
"""A request came too late for its `recvWindow`, at the venue's door or at its matching engine: it was not executed."""
UNKNOWN_ORDER = frozenset({-2011, -2013})
"""The venue does not know the order (Binance: cancel and query)."""
DUPLICATE_ORDER = frozenset({-4116, -4015, -20132})
"""The client id is taken, or was refused as an id: the order may exist and has to be looked up."""
NO_CHANGE = frozenset({-4046, -4059})
"""The margin type or the position mode already is what was asked for."""

_KINDS: Mapping[int, type[VenueRejected]] = {
    **dict.fromkeys((-2018, -2019), NoMargin),
    **dict.fromkeys((-2022, -4118), NothingToReduce),
    -2021: WouldTrigger,
    # Filters, precision, and the limits of price and size: our copy of the exchange info is out of date.
    **dict.fromkeys((-1013, -1111, -4002, -4003, -4004, -4005, -4013, -4014, -4023, -4029, -4030, -4164), RulesBroken),
}
_BUSY = -1003
"""Too many requests of this address: everything waits."""
_NOT_TAKEN = frozenset({-1008, -1015})
"""Overload, or too many orders of this account: that request was not executed, and no other has to wait for it."""
_OUTCOME_UNKNOWN = frozenset({-1000, -1001, -1006, -1007})
_BANNED_UNTIL = re.compile(r"banned until (\d{13})")
_NEVER_CONNECTED = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    socket.gaierror,
)
_HINTS = {
    -1021: "set this machine's clock (NTP)",
    -1022: "check the API secret",
    -1121: "check the symbol's spelling",
    -2014: "check the API key",
    -2015: "check the API key, its permissions and its list of addresses",
    -2019: "the account holds too little free margin",
}


class AccessBlocked(VenueUnreachable):
    """The venue refuses this network address or region: trying again at once does not help."""


class WeightSpent(VenueUnreachable):
    """We do not ask, for the venue would refuse: our own budget is short. It has not asked to be left alone."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The parts of a venue's answer that decide what an error means."""

    status: int | None
    code: int | None = None
    message: str = ""
    retry_after_s: float | None = None

    @classmethod
    def of(cls, reply: HttpReply) -> Answer:
        """Read a reply; a body that is not Binance's `{"code", "msg"}` gives neither."""
        code, message = _code_and_message(reply.body)
        return cls(reply.status, code, message, _retry_after_s(reply))

    def __str__(self) -> str:
        words = f"{self.message} " if self.message else ""
        number = f"code {self.code}" if self.code is not None else f"HTTP {self.status}"
        return f"{words}({number})"


def translate(error: Exception, reply: HttpReply, action: str, *, changes: bool, now_ms: int) -> VenueError:
    """Our error for `error`, raised by ccxt while doing `action` (words for the message).

    `changes` tells a request that changes something at the venue from a read. `now_ms` turns a ban's end into a wait.
    """
    answer = Answer.of(reply)
    if answer.status is None:
        return _from_connection(error, action, changes=changes)
    if (refusal := _from_status(answer, action, now_ms)) is not None:
        return refusal
    uncertain = answer.status >= 500 or answer.status == 408 or answer.code in _OUTCOME_UNKNOWN
    if uncertain or (answer.code is None and answer.status < 400):
        return _uncertain(f"{action}: the venue could not say what happened: {answer}", changes=changes)
    hint = f"; {_HINTS[answer.code]}" if answer.code in _HINTS else ""
    kind = _KINDS.get(answer.code or 0, VenueRejected)
    return kind(f"{action}: the venue refused: {answer}{hint}", answer.code)


def _from_status(answer: Answer, action: str, now_ms: int) -> VenueError | None:
    """Answers by which nothing was done, whatever was asked: blocked region or address, too many requests, overload."""
    if answer.status == 451:
        return AccessBlocked(
            f"{action}: the venue does not serve this region (HTTP 451); use an allowed region or another venue"
        )
    if answer.status == 403 and answer.code is None:
        return AccessBlocked(f"{action}: the venue's firewall refuses this address (HTTP 403); wait some minutes")
    if answer.code in _NOT_TAKEN:
        return VenueUnreachable(f"{action}: the venue did not take the request: {answer}; it may be sent again")
    if answer.status not in (418, 429) and answer.code != _BUSY:
        return None
    wait_s = answer.retry_after_s
    banned = _BANNED_UNTIL.search(answer.message)
    if wait_s is None and banned:
        wait_s = max(0.0, (int(banned[1]) - now_ms) / 1000)
    when = "" if wait_s is None else f"; it asks to wait {wait_s:.0f} s"
    return RateLimited(f"{action}: the venue asks to slow down{when}: {answer}", answer.code, wait_s)


def _from_connection(error: Exception, action: str, *, changes: bool) -> VenueError:
    """No HTTP answer: the connection was never made, or it broke, or nothing was sent at all."""
    cause = error if isinstance(error, _NEVER_CONNECTED) else error.__cause__ or error
    if isinstance(cause, _NEVER_CONNECTED):
        return VenueUnreachable(f"{action}: the venue cannot be reached ({_reason(cause)}); check network and address")
    if isinstance(error, load_module("ccxt.base.errors").AuthenticationError):
        return VenueRejected(f"{action}: no API key and secret are configured")
    if isinstance(error, load_module("ccxt.base.errors").NotSupported):
        return VenueRejected(f"{action}: this venue has no such service")
    return _uncertain(f"{action}: the connection ended without an answer ({type(cause).__name__})", changes=changes)


def _uncertain(message: str, *, changes: bool) -> VenueError:
    return OutcomeUnknown(message) if changes else VenueUnreachable(message)


def _reason(cause: BaseException) -> str:
    """Why no connection was made, in the operating system's words and without addresses."""
    system = getattr(cause, "os_error", cause)
    if isinstance(system, OSError) and not isinstance(system, socket.gaierror) and system.errno:
        return os.strerror(system.errno)
    return "the name cannot be resolved" if isinstance(system, socket.gaierror) else type(cause).__name__


def _code_and_message(body: str) -> tuple[int | None, str]:
    try:
        content = json.loads(body)
        return int(content["code"]), str(content.get("msg", ""))[:300]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, ""


def _retry_after_s(reply: HttpReply) -> float | None:
    value = next((value for name, value in reply.headers.items() if name.lower() == "retry-after"), "")
    try:
        return float(value)
    except ValueError:
        return None
