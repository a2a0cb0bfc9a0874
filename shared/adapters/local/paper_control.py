"""The control interface of a paper exchange: where its time stands, how fast it goes, and its advance in lockstep.

`/paper/v1/…` is signed like the venue's own requests; every paper exchange has it, whoever started the process.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import aiohttp

from shared.domain.errors import VenueRejected, VenueUnreachable

HTTP_OK, CLOCK_SKEW = 200, -1021
TIMEOUT_S = 120.0
"""A long advance in lockstep is one request"""


class PaperControl:
    """The control of the paper exchange at `base_url`; `admission` gives what a private one asks for. Close it after use."""

    def __init__(
        self,
        base_url: str,
        key: str,
        secret: str,
        admission: Callable[[], Awaitable[Mapping[str, str]]] | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = key
        self._secret = secret
        self._admission = admission
        self._http: aiohttp.ClientSession | None = None
        self._in_its_time = False

    async def state(self) -> dict[str, Any]:
        """The exchange's own account of itself: `now_ms`, `end_ms`, `speed` (`None` in lockstep), `symbols` among it."""
        return await self._call("GET", "/paper/v1/state", {})

    async def advance(self, to_ms: int) -> None:
        """In lockstep: move simulated time forward to `to_ms`, through every bar, funding stamp and stop on the way."""
        await self._call("POST", "/paper/v1/advance", {"to_ms": to_ms})

    async def close(self) -> None:
        """Release the connection."""
        if self._http is not None:
            await self._http.close()

    async def _call(self, method: str, path: str, params: dict[str, int]) -> dict[str, Any]:
        """A signed request; at the speed of real time the exchange wants signatures of its own time, and gets them."""
        status, body = await self._signed(method, path, params)
        if status != HTTP_OK and body.get("code") == CLOCK_SKEW and not self._in_its_time:
            self._in_its_time = True
            status, body = await self._signed(method, path, params)
        if status != HTTP_OK:
            raise VenueRejected(f"the paper exchange refused {method} {path}: {body}", body.get("code"))
        return body

    async def _signed(self, method: str, path: str, params: dict[str, int]) -> tuple[int, dict[str, Any]]:
        now_ms = int(time.time() * 1000)
        if self._in_its_time:
            now_ms = int((await self._request("GET", "/fapi/v1/time"))[1].get("serverTime", now_ms))
        query = urlencode({**params, "timestamp": now_ms})
        signature = hmac.new(self._secret.encode(), query.encode(), hashlib.sha256).hexdigest()
        return await self._request(method, f"{path}?{query}&signature={signature}")

    async def _request(self, method: str, path: str) -> tuple[int, dict[str, Any]]:
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        headers = {"X-MBX-APIKEY": self._key, **(await self._admission() if self._admission is not None else {})}
        try:
            async with self._http.request(method, f"{self._base_url}{path}", headers=headers) as response:
                body = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise VenueUnreachable(f"the paper exchange does not answer ({error or type(error).__name__})") from error
        if not isinstance(body, dict):
            raise VenueRejected(f"the paper exchange answered {method} with something else than an object")
        return response.status, body
