"""Sending orders, and finding out what became of them: nothing lost, nothing doubled.

An intent is in the ledger before it comes here. Sending has three outcomes (`shared/domain/errors.py`): answered, never
reached, unknown. Unknown is not an error to retry: the order is looked up by its client id, and sent again only with the
same id, only after the venue has said "does not exist" twice with a grace period between, and only while its bar is fresh.
What stays unknown past the bound freezes the symbol for a person to look at. Source: design/failures.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared.domain.errors import ConfigError, NotApproved, OutcomeUnknown, RateLimited, VenueRejected, VenueUnreachable
from shared.domain.money import ZERO
from shared.domain.orders import OrderIntent, OrderRecord, OrderReport, OrderState
from shared.domain.records import Halt
from shared.ports import Clock, Exchange, Ledger
from shared.risk.approval import ApprovedOrder

Approve = Callable[[OrderIntent], ApprovedOrder]
"""Risk control for one intent, with the account as it is now; raises `NotApproved`."""


@dataclass(frozen=True, slots=True)
class ExecutionParams:
    """How patient the executor is."""

    resend_grace_s: float = 2.0
    """seconds between the two "does not exist" answers that allow an order to be sent again"""
    query_attempts: int = 8
    """look-ups of an unknown order before the symbol is frozen"""
    query_backoff_s: float = 0.5
    """first pause between look-ups; it doubles each time, up to 30 s"""

    def __post_init__(self) -> None:
        if self.resend_grace_s < 0 or self.query_attempts < 2 or self.query_backoff_s <= 0:
            raise ConfigError(
                "execution: resend_grace_s >= 0, query_attempts >= 2 and query_backoff_s > 0 are expected, found "
                f"{self.resend_grace_s}, {self.query_attempts} and {self.query_backoff_s}"
            )


class Executor:
    """Sends approved orders of one book and settles those whose outcome is open."""

    def __init__(self, exchange: Exchange, ledger: Ledger, clock: Clock, book: str, params: ExecutionParams) -> None:
        self._exchange = exchange
        self._ledger = ledger
        self._clock = clock
        self._book = book
        self._params = params

    async def place(self, order: ApprovedOrder) -> OrderRecord:
        """Send an order whose intent is committed; returns its record, final or not."""
        intent = order.intent
        try:
            report = await self._exchange.send(order)
        except VenueRejected as error:
            report = _report(intent, OrderState.REJECTED, str(error))
        except VenueUnreachable as error:
            # It stays an INTENT: the next settlement looks it up, and sends it while its bar is fresh.
            self._log("warning", f"{intent.client_id} was not sent: {error}")
            return OrderRecord(intent, OrderState.INTENT)
        except OutcomeUnknown as error:
            self._log("warning", f"the outcome of {intent.client_id} is unknown: {error}")
            record = self._ledger.advance_order(_report(intent, OrderState.UNKNOWN, str(error)))
            return await self.settle(record, None)
        return self._ledger.advance_order(report)

    async def settle(self, record: OrderRecord, approve: Approve | None) -> OrderRecord:
        """Find out what became of an unfinished order.

        An order that never reached the venue is sent again if `approve` allows it, else abandoned; with `approve=None`
        it stays as it is until the next settlement. An order that cannot be looked up within the bound freezes its symbol.
        """
        intent = record.intent
        found = await self._look_up(intent)
        if isinstance(found, OrderReport):
            return self._ledger.advance_order(found)
        if found is _UNANSWERED:
            self._freeze(intent)
            return record
        if record.state is OrderState.OPEN:
            return self._ledger.advance_order(_report(intent, OrderState.CANCELLED, "the venue no longer knows the order"))
        if approve is None:
            return record
        try:
            order = approve(intent)
        except NotApproved as error:
            return self._ledger.advance_order(_report(intent, OrderState.ABANDONED, f"never reached the venue; {error}"))
        self._log("info", f"{intent.client_id} never reached the venue; sending it again under the same id")
        return await self.place(order)

    def abandon(self, intent: OrderIntent, reason: str) -> OrderRecord:
        """End an intent that was never sent."""
        return self._ledger.advance_order(_report(intent, OrderState.ABANDONED, reason))

    async def cancel(self, record: OrderRecord) -> OrderRecord:
        """Cancel a resting order; an unreachable venue leaves it for the next settlement."""
        try:
            report = await self._exchange.cancel(record.intent)
        except (VenueUnreachable, OutcomeUnknown, RateLimited) as error:
            self._log("warning", f"{record.intent.client_id} is not known to be cancelled: {error}")
            return record
        if report is None:
            report = _report(record.intent, OrderState.CANCELLED, "the venue no longer knows the order")
        return self._ledger.advance_order(report)

    async def _look_up(self, intent: OrderIntent) -> OrderReport | _Answer:
        """The venue's report, `_MISSING` (confirmed past the grace period) or `_UNANSWERED`."""
        pause = self._params.query_backoff_s
        denials = 0
        for _ in range(self._params.query_attempts):
            try:
                report = await self._exchange.find(intent)
            except (VenueUnreachable, OutcomeUnknown, RateLimited) as error:
                wait = getattr(error, "retry_after_s", None) or pause
                pause = min(2 * pause, 30.0)
            else:
                if report is not None:
                    return report
                denials += 1
                if denials == 2:
                    return _MISSING
                wait = self._params.resend_grace_s
            await self._clock.sleep(wait)
        return _UNANSWERED

    def _freeze(self, intent: OrderIntent) -> None:
        now_ms = self._clock.now_ms()
        reason = (
            f"the outcome of order {intent.client_id} could not be established; compare the venue's order list, then resume"
        )
        self._ledger.set_halt(Halt(self._book, reason, now_ms, None, intent.symbol))
        self._log("error", f"{intent.symbol} is frozen: {reason}")

    def _log(self, level: str, message: str) -> None:
        self._ledger.log(self._book, "execution", level, message, self._clock.now_ms())


class _Answer:
    """A look-up that brought no report."""


_MISSING = _Answer()
_UNANSWERED = _Answer()


def _report(intent: OrderIntent, state: OrderState, reason: str) -> OrderReport:
    return OrderReport(intent.client_id, intent.symbol, state, ZERO, reason=reason)
