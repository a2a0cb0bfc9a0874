"""The pair of keys that a process trades with: proven before it is used, renewed while it trades, without a restart.

A person adds a newer version of each secret; within `LOOK_S` the process reads the account with it, and from then on signs with
it. What the venue refuses is told, tried again after `AGAIN_S`, and changes nothing: the pair in force goes on. Nothing is
disabled here: that is `maintain`'s, once a day, which leaves every process the time to follow.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from shared.domain.errors import OstError

if TYPE_CHECKING:
    from shared.adapters.gcp.key_ring import KeyRing
    from shared.ports import Clock

KEYS = ("binance-api-key", "binance-api-secret")
LOOK_S = 60.0
AGAIN_S = 900.0
_LOG = logging.getLogger(__name__)


class AccountKeys:
    """Key and secret in force, of the ring of both."""

    def __init__(self, ring: KeyRing, clock: Clock) -> None:
        self._ring, self._clock = ring, clock
        self._forgot_ms = clock.now_ms()

    @property
    def pair(self) -> tuple[str, str]:
        """Key and secret in force; `ready` comes first."""
        values = self._ring.values
        return values[KEYS[0]], values[KEYS[1]]

    async def ready(self) -> None:
        """See that a pair is in force. Raises `ConfigError`, `SecretsUnavailable` and the `VenueError` tree where none is."""
        if not self._ring.values:
            await self._renew()

    async def look(self) -> None:
        """Take over what is newer and proves itself. Whatever else happens is told, and the pair in force goes on."""
        try:
            await self._renew()
        except OstError as error:
            _tell(logging.WARNING, "secret.unread", f"the keys in force go on: {error}")

    async def follow(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def _renew(self) -> None:
        now_ms = self._clock.now_ms()
        if now_ms - self._forgot_ms >= AGAIN_S * 1000:
            self._forgot_ms = now_ms
            self._ring.forget_refusals()
        was_empty = not self._ring.values
        renewal = await self._ring.renew()
        for refused in renewal.refused:
            _tell(logging.ERROR, "secret.refused", refused)
        if renewal.is_new and not was_empty:
            _tell(logging.INFO, "secret.renewed", f"trading goes on with {renewal.text}")


def _tell(level: int, event: str, message: str) -> None:
    _LOG.log(level, "%s", message, extra={"json_fields": {"event": event}})
