"""Where events go."""

from __future__ import annotations

from typing import Protocol

from shared.domain.events import Event


class Bus(Protocol):
    """Where events are published."""

    async def publish(self, event: Event) -> None:
        """Hand an event over; returning means that it was taken. Raises `BusUnavailable` where it was not, for all we know."""
        ...
