"""The request budget of one egress address: a token bucket of Binance's request weight, shared by concurrent calls.

The bucket holds `limit` tokens and refills at limit / 60 s; a request of weight w takes w and waits for them where they are
missing, in order of arrival. The bucket is this process's; what all processes behind the address have spent comes with each
answer: the venue's own count (`X-MBX-USED-WEIGHT-1M`) can only lower it. Beyond the limit lies a reserve for what is urgent;
a budget that is short (`WeightSpent`) is our own trouble and binds no other request, least of all an order. A 429 or 418 blocks
every call until its Retry-After is over; nothing is sent meanwhile, and other processes that trade are told through the ledger
(`pauses.py`; commands that only fetch market data hear of it with their first request). Without a limit (`None`, the paper
exchange) only blocks hold requests back. Time comes from the clock; a clock that stands still while one waits (lockstep) is
credited with the waits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from shared.adapters.exchange.errors import WeightSpent
from shared.domain.errors import RateLimited
from shared.ports import Clock

MINUTE_S = 60.0
USED_WEIGHT_HEADER = "x-mbx-used-weight-1m"
UNSTATED_BLOCK_S = 10.0
"""wait after a 429 that names no time"""


class RequestBudget:
    """What may still be asked of the venue this minute."""

    def __init__(self, clock: Clock, limit: float | None, wait_limit_s: float, reserve: float = 0.0) -> None:
        """`limit` is the weight of a minute for everything, `reserve` what urgent requests may spend besides."""
        self._clock = clock
        self._limit = limit
        self._reserve = reserve
        self._wait_limit_s = wait_limit_s
        self._credit_s = 0.0
        self._tokens = limit or 0.0
        self._filled_s = self._now_s()
        self._blocked_until_s = 0.0

    @property
    def available(self) -> float:
        """Weight that can be spent at once; negative while callers wait, infinite without a limit."""
        self._refill()
        return self._tokens if self._limit is not None else math.inf

    async def spend(self, weight: float, *, urgent: bool = False) -> None:
        """Take `weight`, after a wait where it is missing.

        Where that wait is too long: raises `RateLimited` during a block, else `WeightSpent`.
        """
        missing_s = self._missing_s(weight, self._reserve if urgent else 0.0)
        self._check_block(self.blocked_s)
        if missing_s > self._wait_limit_s:
            raise WeightSpent(
                f"the request budget of this address is used up for {missing_s:.0f} s, more than the "
                f"{self._wait_limit_s:.0f} s that a request may wait; nothing was asked"
            )
        self._tokens -= weight
        if missing_s > 0:
            await self._sleep(missing_s)
        while (blocked_s := self.blocked_s) > 0:  # a block may have begun, or been prolonged, meanwhile
            self._check_block(blocked_s)
            await self._sleep(blocked_s)

    def refuse_while_blocked(self) -> None:
        """Raise `RateLimited` during a 429 or 418 block: a request that must not wait is not sent at all."""
        if self.blocked_s > 0:
            raise RateLimited(
                f"the venue has asked to wait {self.blocked_s:.0f} s more; nothing was sent", retry_after_s=self.blocked_s
            )

    @property
    def blocked_s(self) -> float:
        """Seconds until the venue accepts requests again; 0 where it does."""
        return max(0.0, self._blocked_until_s - self._now_s())

    def block(self, retry_after_s: float | None) -> None:
        """The venue asked to slow down: nothing is sent for `retry_after_s` seconds."""
        wait_s = UNSTATED_BLOCK_S if retry_after_s is None else retry_after_s
        self._blocked_until_s = max(self._blocked_until_s, self._now_s() + wait_s)

    def observe(self, headers: Mapping[str, str]) -> None:
        """Adopt the venue's count of the weight used this minute where it is higher than ours."""
        used = next((value for name, value in headers.items() if name.lower() == USED_WEIGHT_HEADER), "")
        if used.isdigit() and self._limit is not None:
            self._refill()
            self._tokens = min(self._tokens, self._limit - int(used))

    def _missing_s(self, weight: float, reserve: float) -> float:
        """Seconds until `weight` is there; a weight above the whole limit waits for a full bucket."""
        if self._limit is None:
            return 0.0
        self._refill()
        return max(0.0, min(weight, self._limit) - self._tokens - reserve) * MINUTE_S / self._limit

    def _check_block(self, wait_s: float) -> None:
        if wait_s > self._wait_limit_s:
            raise RateLimited(
                f"the venue has asked to wait {wait_s:.0f} s, more than the {self._wait_limit_s:.0f} s that a request may "
                "wait; try again later",
                retry_after_s=wait_s,
            )

    def _refill(self) -> None:
        now_s = self._now_s()
        if self._limit is not None:
            gained = max(0.0, now_s - self._filled_s) * self._limit / MINUTE_S
            self._tokens = min(self._limit, self._tokens + gained)
        self._filled_s = now_s

    def _now_s(self) -> float:
        return self._clock.now_ms() / 1000 + self._credit_s

    async def _sleep(self, seconds: float) -> None:
        until_s = self._now_s() + seconds
        await self._clock.sleep(seconds)
        # Concurrent sleepers end in any order: time is credited up to the end of this wait, never twice.
        self._credit_s += max(0.0, until_s - self._now_s())
