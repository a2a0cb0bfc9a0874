"""From the ledger's outbox to the bus: every event at least once, in the order in which the effects were stored.

An event is marked only after the bus has taken it, so a kill in between publishes it again, with the same id. A failed publish
ends the pass: nothing overtakes the event that could not be handed over. Where nothing waits, a pass is one indexed query.
"""

from __future__ import annotations

from shared.ports import Bus, Clock, Ledger


async def relay(ledger: Ledger, bus: Bus, clock: Clock, limit: int = 100) -> int:
    """Publish up to `limit` waiting events and mark those that the bus took; return how many there were.

    Raises `BusUnavailable` where the bus did not take one (those before it are marked; the caller waits and tries again), and
    `LedgerUnavailable`, after which what was published may be published again.
    """
    taken: list[str] = []
    try:
        for event in ledger.unpublished_events(limit):
            await bus.publish(event)
            taken.append(event.id)
    finally:
        if taken:
            ledger.mark_published(taken, clock.now_ms())
    return len(taken)
