"""A holder believes in its lease for no longer than it lasts, whatever happens to its clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from live_world import BOOK, START_MS, LoopClock

from cloudrun.simulation.loop import VirtualLoop, run_virtual
from shared.adapters.sql import SqlLedger
from shared.domain.errors import LeaseLost
from shared.domain.records import Lease
from shared.trading.lease_holder import LeaseHolder

TTL_MS = 30_000


@dataclass
class Machine(LoopClock):
    """A machine whose clock is wrong by `error_ms`."""

    error_ms: int = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.error_ms


class Counting:
    """A ledger that judges by its own clock, and how often it was asked for a lease."""

    def __init__(self, real: SqlLedger) -> None:
        self.real, self.asked = real, 0

    def acquire_lease(self, book: str, holder: str, ttl_ms: int, now_ms: int) -> Lease | None:
        self.asked += 1
        lease = self.real.acquire_lease(book, holder, ttl_ms, LoopClock().now_ms())
        return lease and replace(lease, expires_ms=now_ms + ttl_ms)

    def renew_lease(self, lease: Lease, ttl_ms: int, now_ms: int) -> Lease | None:
        self.asked += 1
        renewed = self.real.renew_lease(lease, ttl_ms, LoopClock().now_ms())
        return renewed and replace(renewed, expires_ms=now_ms + ttl_ms)


def lived(ledger: SqlLedger, story: Callable[[LeaseHolder, Machine, Counting], object]) -> None:
    async def main() -> None:
        ledger.register_book(BOOK, START_MS, {})
        machine, counting = Machine(), Counting(ledger)
        holder = LeaseHolder.take(counting, machine, BOOK, "me", TTL_MS)  # type: ignore[arg-type]
        await story(holder, machine, counting)  # type: ignore[misc]

    run_virtual(main(), VirtualLoop())


def test_a_lease_that_is_valid_is_not_asked_for(ledger: SqlLedger) -> None:
    async def story(holder: LeaseHolder, _: Machine, counting: Counting) -> None:
        await asyncio.sleep(14.0)
        holder.renew()
        await asyncio.sleep(15.0)
        holder.check()
        assert counting.asked == 1

    lived(ledger, story)


def test_a_clock_that_is_set_back_makes_no_lease_last_longer(ledger: SqlLedger) -> None:
    async def story(holder: LeaseHolder, machine: Machine, _: Counting) -> None:
        machine.error_ms = -60_000
        await asyncio.sleep(31.0)
        assert ledger.acquire_lease(BOOK, "another", TTL_MS, LoopClock().now_ms()) is not None
        with pytest.raises(LeaseLost):
            holder.check()

    lived(ledger, story)


def test_a_clock_that_is_set_forward_and_back_again_makes_none_last_longer(ledger: SqlLedger) -> None:
    async def story(holder: LeaseHolder, machine: Machine, counting: Counting) -> None:
        machine.error_ms = 60_000
        holder.check()
        assert counting.asked == 2
        machine.error_ms = 0
        await asyncio.sleep(16.0)
        holder.renew()
        assert counting.asked == 3
        await asyncio.sleep(31.0)
        holder.check()
        assert counting.asked == 4

    lived(ledger, story)


def test_a_clock_that_is_set_forward_makes_the_holder_ask(ledger: SqlLedger) -> None:
    """The loop's time does not count while a machine is suspended; its clock does."""

    async def story(holder: LeaseHolder, machine: Machine, counting: Counting) -> None:
        machine.error_ms = TTL_MS
        holder.check()
        assert counting.asked == 2

    lived(ledger, story)


def test_a_process_that_has_lost_its_book_does_not_take_it_again_as_it_ends(ledger: SqlLedger) -> None:
    """Another one has taken the lease meanwhile, and given it back: whoever comes next does not wait for a ghost."""

    async def story(holder: LeaseHolder, _: Machine, __: Counting) -> None:
        await asyncio.sleep(31.0)
        other = ledger.acquire_lease(BOOK, "another", TTL_MS, LoopClock().now_ms())
        assert other is not None
        ledger.release_lease(other)
        with pytest.raises(LeaseLost):
            holder.check()
        assert ledger.acquire_lease(BOOK, "next", TTL_MS, LoopClock().now_ms()) is not None

    lived(ledger, story)


def test_a_lease_that_is_to_be_kept_is_not_given_back(ledger: SqlLedger) -> None:
    async def story(holder: LeaseHolder, _: Machine, __: Counting) -> None:
        holder.keep()
        holder.release()
        assert ledger.acquire_lease(BOOK, "another", TTL_MS, LoopClock().now_ms()) is None
        await asyncio.sleep(31.0)
        assert ledger.acquire_lease(BOOK, "another", TTL_MS, LoopClock().now_ms()) is not None

    lived(ledger, story)
