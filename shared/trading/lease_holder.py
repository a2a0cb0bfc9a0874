"""The lease as the process that holds it sees it: taken once, renewed in time, looked at before anything is changed.

A process that was stopped and woke up does not know how long it slept; so the lease is measured at every look, on the lease
clock and on the event loop's time (a clock may be set back, a suspended machine may not count): whichever says that it is over
is believed. The ledger decides whether it is still ours: the token is the one that every commit is checked against.
"""

from __future__ import annotations

import asyncio

from shared.domain.errors import LeaseLost
from shared.domain.records import Lease
from shared.ports import Clock, Ledger


class LeaseHolder:
    """Holds the lease of one book. Make it with `take`."""

    def __init__(self, ledger: Ledger, clock: Clock, lease: Lease, ttl_ms: int, asked_s: float) -> None:
        """`asked_s`: the event loop's time before `lease` was asked for."""
        self._ledger = ledger
        self._clock = clock
        self._ttl_ms = ttl_ms
        self._asked_s = asked_s
        self._kept = False
        self.current = lease
        """as it was last renewed"""

    @classmethod
    def take(cls, ledger: Ledger, clock: Clock, book: str, holder: str, ttl_ms: int) -> LeaseHolder:
        """Take the lease of `book` for `ttl_ms`. Raises `LeaseLost` where another process holds it."""
        asked_s = asyncio.get_running_loop().time()
        lease = ledger.acquire_lease(book, holder, ttl_ms, clock.now_ms())
        if lease is None:
            raise LeaseLost(f"another process trades the book {book}; stop it, or wait {ttl_ms // 1000} s for its lease")
        return cls(ledger, clock, lease, ttl_ms, asked_s)

    def renew(self, *, force: bool = False) -> None:
        """Renew the lease where half of it is over, or in any case. Raises `LeaseLost`, `LedgerUnavailable`."""
        if not force and self._left_ms() > self._ttl_ms / 2:
            return  # every commit is checked against the lease's token anyway
        asked_s, lease = asyncio.get_running_loop().time(), self.current
        renewed = self._ledger.renew_lease(lease, self._ttl_ms, self._clock.now_ms())
        if renewed is None:
            raise LeaseLost(f"another process has taken over the book {lease.book}; this one stops")
        self.current, self._asked_s = renewed, asked_s

    def check(self) -> None:
        """Nothing while the lease is valid; else renew it. Raises `LeaseLost`, `LedgerUnavailable`."""
        if self._left_ms() <= 0:
            self.renew(force=True)

    def _left_ms(self) -> float:
        """What is left of the lease by the clock that leaves less."""
        passed_ms = (asyncio.get_running_loop().time() - self._asked_s) * 1000
        return min(self.current.expires_ms - self._clock.now_ms(), self._ttl_ms - passed_ms)

    def keep(self) -> None:
        """Something that was sent may arrive later: the lease is not given back, it runs out by itself."""
        self._kept = True

    def release(self) -> None:
        """Give it up, unless it is to be kept."""
        if not self._kept:
            self._ledger.release_lease(self.current)
