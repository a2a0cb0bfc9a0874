"""Who carries an emergency out: the trader that is alive, which is watched, or else this process, under the book's lease."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from shared.domain.errors import ConfigError, LeaseLost, LedgerUnavailable, OstError
from shared.trading.emergency_log import emergency_id

if TYPE_CHECKING:
    from shared.cli.live_run import LiveBook
    from shared.domain.records import BookRecord, EmergencyRecord, Halt, Lease
    from shared.ports import Clock, Ledger

LEASE_MS = 15_000
LOOK_S = 0.5
Say = Callable[[str], None]


def book_time_ms(ledger: Ledger, record: BookRecord, clock: Clock) -> int:
    """Now, in the time that the book lives in: a book on a paper exchange has that of its newest bar."""
    if record.settings.get("simulated") or "market_hash" in record.settings:
        last = ledger.last_equity(record.book)
        return record.created_ms if last is None else last.time_ms
    return clock.now_ms()


async def execute(ledger: Ledger, record: BookRecord, halt: Halt, patience_s: float, say: Say) -> EmergencyRecord | None:
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
            return await _run_here(ledger, record, halt, lease, (until_ms - clock.now_ms()) / 1000, say)
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
    ledger: Ledger, record: BookRecord, halt: Halt, lease: Lease, patience_s: float, say: Say
) -> EmergencyRecord | None:
    """Run the protocol under `lease`, which is given back in any case."""
    holder = _LeaseHolder(ledger, lease)
    try:
        book = _reachable(record)
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


def _reachable(record: BookRecord) -> LiveBook:
    """The book at a venue that runs without its trader. Raises `ConfigError` where there is none."""
    from shared.cli import wiring
    from shared.cli.live_book import book_name, external_book

    settings = wiring.settings({"bot.book": record.book, "interval": record.settings.get("interval")})
    if book_name(settings) is None:
        raise ConfigError(
            f"nobody trades the book {record.book}, and its paper exchange runs only while somebody does; the halt stays. "
            "Start `ost live` with the same settings: it closes the book before anything else"
        )
    if record.settings.get("mode", settings.mode.value) != settings.mode.value:
        raise ConfigError(
            f"the book {record.book} trades in mode {record.settings['mode']}, the settings say {settings.mode.value}. It "
            "stays halted; give the command with the settings of the book"
        )
    return external_book(settings)


async def _protocol(
    book: LiveBook, record: BookRecord, halt: Halt, holder: _LeaseHolder, patience_s: float, say: Say
) -> EmergencyRecord:
    from shared.cli.live_run import opened
    from shared.trading.emergency import EmergencyProtocol
    from shared.trading.fence import FencedExchange

    async with opened(book) as live:
        protocol = EmergencyProtocol(
            FencedExchange(live.ports.exchange, holder.check),
            live.ports.ledger,
            live.ports.clock,
            record.book,
            [str(symbol) for symbol in record.settings.get("symbols", [asset.symbol for asset in book.universe])],
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
