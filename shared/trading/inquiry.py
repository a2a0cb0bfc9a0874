"""What became of an order? Questions to the venue by client id: bounded, backed off, continued where they were broken off.

An order is missing only once the venue has said "does not exist" twice with a grace period between, in which an order that is
still under way has become too old for the venue to take; what only closes may be under way for longer. A protective stop may be
sent again after the first denial: the venue takes an id once while it rests, so a late first one makes the second a duplicate,
and a position should not wait; until the first is dead the stop is not cancelled, or the venue would take it anew.

Whoever asks may run out of patience; the next one goes on with what is known and does not start again. The bound is the age of
the question, which a restart knows; it counts only while the venue answers other questions. After it an order is asked about
once each time, without waiting: what cannot be answered must not hold up other orders.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from shared.domain.errors import UNANSWERED
from shared.domain.orders import OrderIntent, OrderKind, OrderReport
from shared.ports import Clock, Exchange
from shared.trading.execution_params import ExecutionParams

LONGEST_PAUSE_S = 30.0
LONGEST_WAIT_S = 60.0
"""A venue that asks to wait for longer is not waited for: the question stays open"""
LEAST_ATTEMPTS = 4
"""Questions that a process asks at least before it calls an order unanswered, however old it is"""


class Answer(Enum):
    """A look-up that brought no report."""

    MISSING = "the venue does not know the order, confirmed past the grace period"
    DENIED = "the venue does not know the stop yet: it may be sent again under its id, but not given up"
    UNANSWERED = "the bound is reached without an answer"
    PENDING = "broken off for want of patience"


@dataclass(slots=True)
class _Inquiry:
    """What was asked about one order so far."""

    pause_s: float
    since_ms: int
    dead_ms: int
    """from when on the venue takes it no more, if it is still under way"""
    rests: bool
    """whether the venue had it"""
    may_go_again: bool = False
    """whether it may be sent again under its id while it may still be under way"""
    attempts: int = 0
    failure: Answer | None = None
    """what the last question came to where it found nothing out, past the bound"""
    denials: int = 0
    next_ms: int = 0


class Inquiries:
    """All open questions of one process."""

    def __init__(self, exchange: Exchange, clock: Clock, params: ExecutionParams) -> None:
        self._exchange = exchange
        self._clock = clock
        self._params = params
        self._open: dict[str, _Inquiry] = {}
        self._approved_ms: dict[str, int] = {}
        """by client id: when what this process has sent was approved, which is the time that it was signed with"""
        self._doubled_ms: dict[str, int] = {}
        """by client id of a stop that was sent again: until when the venue may still take its first sending"""

    def sent(self, client_id: str, approved_ms: int | None) -> None:
        """An order goes out (again): what was denied before says nothing about it."""
        before = self._open.get(client_id)
        if before is not None and before.may_go_again and self._clock.now_ms() < before.dead_ms:
            self._doubled_ms[client_id] = before.dead_ms
        self.forget(client_id)
        if approved_ms is not None:
            self._approved_ms[client_id] = approved_ms

    async def look_up(
        self, intent: OrderIntent, patience_s: float | None = None, since_ms: int | None = None, *, rests: bool = False
    ) -> OrderReport | Answer:
        """The venue's report of an order, or why there is none. Raises what else than silence the venue answers.

        `since_ms` is when its fate became open (default: now), which the bound is measured from. `rests`: the venue had it.
        """
        began_ms, waited_s = self._clock.now_ms(), 0.0
        since_ms = began_ms if since_ms is None else since_ms
        dead_ms = began_ms if rests else self._dead_ms(intent, began_ms)
        inquiry = self._open.get(intent.client_id)
        if inquiry is None or (rests and not inquiry.rests):  # what was denied before it was there says nothing
            again = intent.kind is OrderKind.STOP and not rests
            inquiry = _Inquiry(self._params.query_backoff_s, since_ms, dead_ms, rests, again)
            self._open[intent.client_id] = inquiry
        while True:
            wait_s = (inquiry.next_ms - self._clock.now_ms()) / 1000
            if wait_s > 0:
                if inquiry.denials and inquiry.may_go_again:
                    return Answer.DENIED
                if inquiry.failure is not None and not inquiry.denials:
                    return inquiry.failure
                waited_s = max(waited_s, (self._clock.now_ms() - began_ms) / 1000) + wait_s
                if wait_s > LONGEST_WAIT_S or (patience_s is not None and waited_s > patience_s):
                    return Answer.PENDING
                await self._clock.sleep(wait_s)
            inquiry.next_ms = 0  # has passed, also where waiting does not move the clock (a run in lockstep)
            answer = await self._ask(intent, inquiry)
            if answer is None:
                continue
            if isinstance(answer, OrderReport):
                self.forget(intent.client_id)
            return answer

    def forget(self, client_id: str) -> None:
        """The question is answered, by whomever, or was drawn: the next one begins anew."""
        self._open.pop(client_id, None)
        self._approved_ms.pop(client_id, None)

    def is_open(self, client_id: str) -> bool:
        """Whether an order was asked about and the venue has not told of it."""
        return client_id in self._open

    def denied(self, client_id: str) -> bool:
        """Whether the venue has said once that it does not know an order that it had, and nothing since."""
        inquiry = self._open.get(client_id)
        return inquiry is not None and inquiry.rests and inquiry.denials > 0

    def is_doubled(self, client_id: str) -> bool:
        """Whether an earlier sending may still arrive: the venue would take it as soon as the later one rests no more."""
        return self._clock.now_ms() < self._doubled_ms.get(client_id, 0)

    def is_too_late(self, client_id: str) -> bool:
        """Whether the venue can no longer take an order that was asked about: what it has done with it, it has done by now."""
        inquiry = self._open.get(client_id)
        return inquiry is not None and not inquiry.rests and self._clock.now_ms() >= inquiry.dead_ms

    def _dead_ms(self, intent: OrderIntent, asked_ms: int) -> int:
        """From when on the venue takes an order no more; one that another process sent was sent before it is asked about."""
        if not intent.reduce_only:
            return asked_ms  # is over within the grace period
        return self._approved_ms.get(intent.client_id, asked_ms) + round(1000 * self._params.closing_grace_s)

    async def _ask(self, intent: OrderIntent, inquiry: _Inquiry) -> OrderReport | Answer | None:
        """One question; `None` where there has to be another one."""
        inquiry.attempts += 1
        try:
            report = await self._exchange.find(intent)
        except UNANSWERED as error:
            pause_s = getattr(error, "retry_after_s", None) or inquiry.pause_s
            inquiry.next_ms = self._clock.now_ms() + round(pause_s * 1000)
            inquiry.pause_s = min(2 * inquiry.pause_s, LONGEST_PAUSE_S)
            if self._is_exhausted(inquiry):
                # A venue that answers nobody is another trouble than an order that it does not answer for.
                inquiry.failure = Answer.UNANSWERED if await self._venue_answers() else Answer.PENDING
            return inquiry.failure
        if report is not None:
            return report
        inquiry.denials += 1
        if inquiry.denials >= 2:
            return Answer.MISSING
        inquiry.next_ms = max(self._clock.now_ms() + round(self._params.resend_grace_s * 1000), inquiry.dead_ms)
        return Answer.DENIED if inquiry.may_go_again else None

    async def _venue_answers(self) -> bool:
        try:
            await self._exchange.server_time_ms()
        except UNANSWERED:
            return False
        return True

    def _is_exhausted(self, inquiry: _Inquiry) -> bool:
        """Whether enough was asked."""
        is_old = self._clock.now_ms() - inquiry.since_ms >= round(1000 * self._params.query_bound_s)
        return is_old and inquiry.attempts >= LEAST_ATTEMPTS
