"""Who carries an emergency out: the trader that is alive, which is watched, or else this process, under the book's lease."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from shared.domain.errors import ConfigError, LeaseLost, LedgerUnavailable, OstError, VenueUnreachable
from shared.trading.emergency_log import emergency_id

if TYPE_CHECKING:
    from shared.cli.live_run import LiveBook
    from shared.config.settings import Settings
    from shared.domain.records import BookRecord, EmergencyRecord, Halt, Lease
    from shared.ports import Clock, Ledger

LEASE_MS = 15_000
LOOK_S = 0.5
Say = Callable[[str], None]


def book_time_ms(ledger: Ledger, record: BookRecord, clock: Clock) -> int:
    """Now, in the time that the book lives in: on a paper exchange just after its newest bar, which was decided already."""
    if record.settings.get("simulated") or "market_hash" in record.settings:
        last = ledger.last_equity(record.book)
        return record.created_ms if last is None else last.time_ms + 1
    return clock.now_ms()


async def execute(
    ledger: Ledger, record: BookRecord, halt: Halt, settings: Settings, patience_s: float, say: Say
) -> EmergencyRecord | None:
    """See the emergency of `halt` to its end, for `patience_s` at most; its record, `None` where nobody has begun it."""
    from shared.cli import wiring

    clock, shown = wiring.clock(), 0
    until_ms = clock.now_ms() + round(patience_s * 1000)
    holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    said = False
    while True:
        known = next((row for row in ledger.emergencies(record.book) if row.id == emergency_id(halt)), None)
        for step in known.steps[shown:] if known else ():
            say(step)
        shown = len(known.steps) if known else 0
        if known is not None and known.finished_ms is not None:
            return known
        lease = ledger.acquire_lease(record.book, holder, LEASE_MS, clock.now_ms())
        if lease is not None:
            return await _run_here(ledger, record, halt, settings, lease, (until_ms - clock.now_ms()) / 1000, say)
        if not said:
            say(
                f"a trader holds the lease of the book {record.book} and closes it; if it is dead, this process does when the "
                "lease has run out"
            )
            said = True
        if clock.now_ms() >= until_ms:
            return known
        await clock.sleep(LOOK_S)


async def _run_here(
    ledger: Ledger, record: BookRecord, halt: Halt, settings: Settings, lease: Lease, patience_s: float, say: Say
) -> EmergencyRecord | None:
    """Run the protocol under `lease`, which is given back in any case."""
    holder = _LeaseHolder(ledger, lease)
    try:
        book = _reachable(record, settings)
        keeper = asyncio.create_task(holder.keep())
        try:
            return await _protocol(book, record, halt, holder, patience_s, say)
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
    except LeaseLost:
        say("another process has taken the book over: it closes the book")
        return None
    finally:
        ledger.release_lease(holder.lease)


def _reachable(record: BookRecord, settings: Settings) -> LiveBook:
    """The book at a venue that runs without its trader. Raises `ConfigError` or `VenueUnreachable` where there is none."""
    from shared.cli.books import settings_of_book
    from shared.cli.live_book import external_book

    try:
        return external_book(settings_of_book(record, settings))
    except (ConfigError, VenueUnreachable) as error:
        raise type(error)(f"{error}. The halt stays: a trader of the book closes it before anything else") from None


async def _protocol(
    book: LiveBook, record: BookRecord, halt: Halt, holder: _LeaseHolder, patience_s: float, say: Say
) -> EmergencyRecord:
    from shared.cli.books import symbols_of
    from shared.cli.live_run import opened
    from shared.trading.emergency import EmergencyProtocol
    from shared.trading.fence import FencedExchange

    async with opened(book) as live:
        protocol = EmergencyProtocol(
            FencedExchange(live.ports.exchange, holder.check),
            live.ports.ledger,
            live.ports.clock,
            record.book,
            symbols_of(live.ports.ledger, record),
            record.created_ms,
            lease=lambda: holder.lease,
            exits=live.ports.exits,
            params=live.spec.params.execution,
            tell=say,
        )
        return await protocol.run(halt, patience_s=patience_s * live.venue.speed)  # the protocol waits in the venue's time


class _LeaseHolder:
    """Keeps a lease for as long as the protocol runs."""

    def __init__(self, ledger: Ledger, lease: Lease) -> None:
        from shared.cli import wiring

        self._ledger = ledger
        self._clock = wiring.clock()
        self.lease = lease

    async def keep(self) -> None:
        """Renew three times in its life, until cancelled; a ledger that is away is asked again."""
        while True:
            await self._clock.sleep(LEASE_MS / 3000)
            try:
                self.renew()
            except LedgerUnavailable:
                continue
            except OstError:
                return  # `check` says so to whoever sends next

    def renew(self) -> None:
        """Renew now. Raises `LeaseLost`."""
        old = self.lease
        renewed = self._ledger.acquire_lease(old.book, old.holder, LEASE_MS, self._clock.now_ms())
        if renewed is None or renewed.token != old.token:
            raise LeaseLost(f"another process has taken over the book {old.book}")
        self.lease = renewed

    def check(self) -> None:
        """Nothing while the lease is valid; else renew it. Raises `LeaseLost`, `LedgerUnavailable`."""
        if self._clock.now_ms() >= self.lease.expires_ms:
            self.renew()
