"""The one factory of ccxt clients: which hosts, which options, and nothing that the project did not ask for.

Every request goes through ccxt's implicit methods (`fapiPrivatePostOrder` …): ccxt knows hosts, paths and signatures, and
the venue's own decimal strings arrive unchanged. ccxt's throttle is off because `RequestBudget` is the one budget.
Invariant: only futures hosts are configured, so a stray spot, margin or delivery call fails instead of leaving the machine.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from shared.adapters.exchange.ccxt_import import load_exchange
from shared.domain.errors import ConfigError

VENUES = ("binanceusdm",)

Admission = Callable[[], Awaitable[Mapping[str, str]]]
"""Headers with which a server that is private admits us, asked for before each request. Raises `VenueUnreachable`."""

_PATHS = {
    "fapiPublic": "/fapi/v1",
    "fapiPublicV2": "/fapi/v2",
    "fapiPublicV3": "/fapi/v3",
    "fapiPrivate": "/fapi/v1",
    "fapiPrivateV2": "/fapi/v2",
    "fapiPrivateV3": "/fapi/v3",
    "fapiData": "/futures/data",
}
_OPTIONS = {
    "defaultType": "swap",
    "defaultSubType": "linear",
    "fetchMarkets": {"types": ["linear"]},
    "fetchCurrencies": False,
    "adjustForTimeDifference": False,
    "warnOnFetchOpenOrdersWithoutSymbol": False,
}


@dataclass(slots=True)
class HttpReply:
    """The HTTP answer to the request of the current task; `status` stays `None` where none came."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


CURRENT_REPLY: ContextVar[HttpReply | None] = ContextVar("CURRENT_REPLY", default=None)
"""Where the answer to the request of the current task is kept; ccxt's exceptions do not carry it."""


def make_client(
    venue: str,
    *,
    base_url: str | None = None,
    demo: bool = False,
    api_key: str | None = None,
    secret: str | None = None,
    timeout_s: float = 10.0,
    receive_window_ms: int = 5_000,
    streaming: bool = False,
) -> Any:
    """A ccxt client of `venue`, not yet connected.

    `base_url` points every host at another server (`http://127.0.0.1:8080`, the paper exchange); `demo` selects the venue's
    own test venue; `streaming` returns the ccxt.pro client with WebSocket methods. Keys are not part of any `repr` or log.
    Raises `ConfigError` for a venue that is not supported or contradictory hosts.
    """
    if venue not in VENUES:
        raise ConfigError(f"no adapter for the venue {venue!r}; supported: {' '.join(VENUES)}")
    if base_url is not None and demo:
        raise ConfigError("give either a base URL or the venue's test venue, not both")
    client = load_exchange("ccxt.pro" if streaming else "ccxt.async_support", venue)(
        {
            "apiKey": api_key or "",
            "secret": secret or "",
            "timeout": round(timeout_s * 1000),
            "enableRateLimit": False,
            "aiohttp_trust_env": base_url is None,  # the machine's proxy settings, but not for a server that is named
            "options": {**_OPTIONS, "recvWindow": receive_window_ms},
            "logger": _logger(),
        }
    )
    if demo:
        client.enable_demo_trading(True)
    client.urls["api"] = _hosts(client.urls["api"], base_url)
    if base_url is not None and base_url.startswith("http://"):
        client.timeout_on_exit = 0  # ccxt waits 250 ms for the end of TLS connections; here there are none
    client.on_rest_response = _keep_reply
    return client


def _hosts(api: Mapping[str, Any], base_url: str | None) -> dict[str, Any]:
    """The futures hosts of `api`, moved to `base_url` where one is given."""
    root = base_url.rstrip("/") if base_url is not None else None
    hosts: dict[str, Any] = {
        name: api[name] if root is None else root + path for name, path in _PATHS.items() if root or name in api
    }
    if "ws" in api:
        stream, socket_api = api["ws"]["linear"], api["ws"]["ws-api"]["linear"]
        if root is not None:
            socket = "ws" + root.removeprefix("http")
            stream, socket_api = f"{socket}/ws", f"{socket}/ws-fapi/v1"
        hosts["ws"] = {"linear": stream, "ws-api": {"linear": socket_api}}
    return hosts


def _keep_reply(
    status: int, _text: str, _url: str, _method: str, headers: Mapping[str, str], body: str, *_request: object
) -> str:
    """ccxt's hook for every HTTP answer: keep what its exceptions leave out."""
    reply = CURRENT_REPLY.get()
    if reply is not None:
        reply.status, reply.headers, reply.body = status, headers, body
    return body.strip()


def _logger() -> logging.Logger:
    """ccxt's logger without its debug lines: they hold signed requests and the API key."""
    logger = logging.getLogger("shared.adapters.exchange.ccxt")
    logger.setLevel(logging.INFO)
    return logger
