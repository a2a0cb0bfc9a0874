"""From the ledger's outbox to the bus: every event at least once, those of a subject in the order of their effects.

An event is marked only after the bus has taken it, so a kill in between publishes it again, with the same id. One that the bus
does not take holds up what comes after it about the same subject, and nothing else; where others were not taken either, the bus
is away. An event that was refused `MOST_ATTEMPTS` times while the bus took another one is set aside: it stays in the ledger and
an event of its own tells of it. Where nothing waits, a pass is one indexed query.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.domain.errors import BusUnavailable
from shared.domain.events import Event
from shared.ports import Bus, Clock, Ledger

MOST_ATTEMPTS = 10
"""Attempts at an event after which others about its subject may pass it."""

BUS_IS_AWAY = 2
"""Subjects whose event was refused, and none taken, after which a pass ends."""

WIDER = 10
"""How many times as many events are looked at where the first ones are refused."""

Key = tuple[str, str]
"""book and subject"""


async def relay(ledger: Ledger, bus: Bus, clock: Clock, limit: int = 100) -> int:
    """Publish up to `limit` waiting events and mark those that the bus took; return how many there were.

    Raises `BusUnavailable` where the bus did not take one (those that it took are marked; the caller waits and tries again),
    and `LedgerUnavailable`, after which what was published may be published again.
    """
    one_pass = _Pass(ledger, bus)
    try:
        waiting = ledger.unpublished_events(limit)
        await one_pass.publish(waiting)
        if one_pass.refused and not one_pass.taken and len(waiting) == limit:
            waiting = ledger.unpublished_events(
                WIDER * limit
            )  # behind a long queue of one subject the others are not to be seen
            await one_pass.publish(waiting)
        if one_pass.refused:
            await one_pass.judge(waiting, clock.now_ms())
    finally:
        if one_pass.taken:
            ledger.mark_published([event.id for event in one_pass.taken], clock.now_ms())
    if one_pass.error is not None:
        raise one_pass.error
    return len(one_pass.taken)


@dataclass
class _Pass:
    """What became of the events of one pass."""

    ledger: Ledger
    bus: Bus
    taken: list[Event] = field(default_factory=list)
    refused: dict[Key, Event] = field(default_factory=dict)
    error: BusUnavailable | None = None

    async def publish(self, waiting: Sequence[Event]) -> None:
        """Hand over what waits, a subject up to its first event that is refused."""
        for event in waiting:
            if _key(event) not in self.refused and not await self._took(event):
                self.refused[_key(event)] = event
                if not self.taken and len(self.refused) >= BUS_IS_AWAY:
                    return

    async def judge(self, waiting: Sequence[Event], now_ms: int) -> None:
        """Count what was refused; set aside what had its chances, if the bus is there for others."""
        attempts = self.ledger.note_refused([event.id for event in self.refused.values()])
        tired = [event for event in self.refused.values() if attempts.get(event.id, 0) >= MOST_ATTEMPTS]
        if tired and (self.taken or await self._takes_what_follows(tired[0], waiting)):
            self.ledger.set_aside([event.id for event in tired], now_ms)

    async def _takes_what_follows(self, tired: Event, waiting: Sequence[Event]) -> bool:
        """Whether the bus is there for the next event about the same subject: with one subject, nobody else can tell."""
        later = waiting[waiting.index(tired) + 1 :]
        following = next((event for event in later if _key(event) == _key(tired)), None)
        return following is not None and await self._took(following)

    async def _took(self, event: Event) -> bool:
        try:
            await self.bus.publish(event)
        except BusUnavailable as error:
            self.error = self.error or error
            return False
        self.taken.append(event)
        return True


def _key(event: Event) -> Key:
    return event.book, event.subject
