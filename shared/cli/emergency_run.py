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
from shared.trading.lease_holder import LeaseHolder

if TYPE_CHECKING:
    from shared.cli.live_run import LiveBook
    from shared.config.settings import Settings
    from shared.domain.records import BookRecord, EmergencyRecord, Halt
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
        try:
            taken = LeaseHolder.take(ledger, clock, record.book, holder, LEASE_MS)
        except LeaseLost:
            if not said:
                say(
                    f"a trader holds the lease of the book {record.book} and closes it; if it is dead, this process does when "
                    "the lease has run out"
                )
                said = True
        else:
            return await _run_here(record, halt, settings, taken, (until_ms - clock.now_ms()) / 1000, say)
        if clock.now_ms() >= until_ms:
            return known
        await clock.sleep(LOOK_S)


async def _run_here(
    record: BookRecord, halt: Halt, settings: Settings, holder: LeaseHolder, patience_s: float, say: Say
) -> EmergencyRecord | None:
    """Run the protocol under the lease of `holder`, which is given back in any case."""
    try:
        book = _reachable(record, settings)
        keeper = asyncio.create_task(_keep(holder))
        try:
            return await _protocol(book, record, halt, holder, patience_s, say)
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
    except LeaseLost:
        say("another process has taken the book over: it closes the book")
        return None
    finally:
        holder.release()


def _reachable(record: BookRecord, settings: Settings) -> LiveBook:
    """The book at a venue that runs without its trader. Raises `ConfigError` or `VenueUnreachable` where there is none."""
    from shared.cli.books import settings_of_book
    from shared.cli.live_book import external_book

    try:
        return external_book(settings_of_book(record, settings))
    except (ConfigError, VenueUnreachable) as error:
        raise type(error)(f"{error}. The halt stays: a trader of the book closes it before anything else") from None


async def _protocol(
    book: LiveBook, record: BookRecord, halt: Halt, holder: LeaseHolder, patience_s: float, say: Say
) -> EmergencyRecord:
    from shared.cli.books import symbols_of
    from shared.cli.live_run import opened
    from shared.trading.emergency import EmergencyProtocol
    from shared.trading.fence import FencedExchange

    async with opened(book) as live:
        protocol = EmergencyProtocol(
            FencedExchange(live.ports.exchange, holder),
            live.ports.ledger,
            live.ports.clock,
            record.book,
            symbols_of(live.ports.ledger, record),
            record.created_ms,
            lease=lambda: holder.current,
            exits=live.ports.exits,
            params=live.spec.params.execution,
            tell=say,
        )
        return await protocol.run(halt, patience_s=patience_s * live.venue.speed)  # the protocol waits in the venue's time


async def _keep(holder: LeaseHolder) -> None:
    """Renew three times in the life of the lease, until cancelled; a ledger that is away is asked again."""
    from shared.cli import wiring

    clock = wiring.clock()
    while True:
        await clock.sleep(LEASE_MS / 3000)
        try:
            holder.renew(force=True)
        except LedgerUnavailable:
            continue
        except OstError:
            return  # `check` says so to whoever sends next
