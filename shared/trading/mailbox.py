"""The mailbox of a trader: everything that happens, for one worker, in the order in which it came.

What the user stream says comes first: a stop that was filled is booked before the next closed bar is decided. Ticks are not
piled up behind a long step: one that nobody has looked at yet stands for all.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from itertools import count

from shared.domain.stream import MarketMessage, UserMessage


class Source(StrEnum):
    """Where a letter comes from."""

    MARKET = "market stream"
    USER = "user stream"
    TIMER = "timer"


@dataclass(frozen=True, slots=True)
class Letter:
    """One message; a tick of the timer has none."""

    source: Source
    message: MarketMessage | UserMessage | None = None
    heard_ms: int = 0
    """when it came, on our clock"""


class Mailbox:
    """An unbounded queue: its writers keep only what must not be lost (`tape.py`)."""

    def __init__(self) -> None:
        self._letters: asyncio.PriorityQueue[tuple[bool, int, Letter]] = asyncio.PriorityQueue()
        self._number = count()
        self._tick_waits = False

    def put(self, letter: Letter) -> None:
        """Add a letter."""
        self._letters.put_nowait((letter.source is not Source.USER, next(self._number), letter))

    def tick(self) -> None:
        """Add a tick, unless one waits already."""
        if not self._tick_waits:
            self._tick_waits = True
            self.put(Letter(Source.TIMER))

    async def take(self) -> Letter:
        """The oldest letter of the user stream, else the oldest one; waits for one."""
        _, _, letter = await self._letters.get()
        if letter.source is Source.TIMER:
            self._tick_waits = False
        return letter
