"""Sending orders, and finding out what became of them: nothing lost, nothing doubled.

An intent is in the ledger before it comes here. Sending has three outcomes (`shared/domain/errors.py`): answered, never
reached, unknown. Unknown is not an error to retry: the order is looked up by its client id, and sent again only with the
same id, only after the venue has said "does not exist" twice with a grace period between, and only while its bar is fresh.
Whatever is sent again, for whatever reason, is approved again first: lease, age and halts of that moment. What stays unknown
past the bound freezes the symbol for a person to look at. Source: design/failures.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import Decimal

from shared.domain.errors import (
    UNANSWERED,
    ClockRefused,
    NotApproved,
    NotNow,
    OutcomeUnknown,
    RateLimited,
    VenueRejected,
    VenueUnreachable,
    WouldTrigger,
)
from shared.domain.money import ZERO, to_decimal
from shared.domain.orders import OrderIntent, OrderKind, OrderRecord, OrderReport, OrderState
from shared.domain.records import Arrival, Halt, Lease
from shared.domain.stream import QuoteMessage
from shared.ports import Clock, Exchange, Ledger
from shared.risk.approval import ApprovedOrder
from shared.risk.pace import OrderPace
from shared.trading.doubts import Doubts
from shared.trading.execution_params import ExecutionParams as ExecutionParams
from shared.trading.inquiry import LONGEST_PAUSE_S, Answer, Inquiries
from shared.trading.legs import is_decided

Approve = Callable[[OrderIntent], ApprovedOrder]
"""Risk control for one intent, with the account as it is now; raises `NotApproved`."""
Quote = Callable[[str], QuoteMessage | None]
"""The newest quote of a symbol, if a fresh one is known"""


@dataclass(frozen=True, slots=True)
class _Unsent:
    """An order that did not reach the venue: not tried again before `next_ms`."""

    next_ms: int
    pause_s: float


class Executor:
    """Sends approved orders of one book and settles those whose outcome is open."""

    def __init__(
        self,
        exchange: Exchange,
        ledger: Ledger,
        clock: Clock,
        book: str,
        params: ExecutionParams,
        quote: Quote | None = None,
        lease: Callable[[], Lease] | None = None,
    ) -> None:
        """`lease` is the one in force, which an abandoned intent is fenced by; `None`: the book has no other writer."""
        self._exchange = exchange
        self._ledger = ledger
        self._clock = clock
        self._book = book
        self._params = params
        self._quote: Quote = quote or _no_quote
        self._lease = lease
        self._inquiries = Inquiries(exchange, clock, params)
        self.pace = OrderPace()
        """orders that open or increase and did not fail on their way to the venue"""
        self._unsent: dict[str, _Unsent] = {}
        """by client id: what this process has tried to send and what certainly did not reach the venue"""
        self._begun: set[str] = set()
        """client ids of orders that were on their way when something failed: the ledger does not know yet"""
        self._doubted: set[str] = set()
        """client ids of stops that the venue does not list among what rests, and that it has not told of when it was asked"""
        self._unconfirmed: dict[str, int] = {}
        """by client id of a stop: since when (ms) the venue says in no way whether it rests"""
        self._unproven: set[str] = set()
        """client ids of stops of which it has not for too long"""
        self.doubts = Doubts()
        self.crossed: set[str] = set()
        """client ids of stops that were refused because the market had crossed their price already"""

    async def place(self, order: ApprovedOrder, price: Decimal | None = None, again: Approve | None = None) -> OrderRecord:
        """Send an order whose intent is committed; returns its record, final or not.

        `price` is what the order was decided at (default: its decision's), for the record of its arrival. An order that came to
        the venue with a time it does not accept was not taken: `again` approves it anew, for one more try at once. An unknown
        outcome is looked into for `answer_patience_s`; what is open by then is left to the next settlement.
        """
        intent = order.intent
        sent_ms, mid = self._clock.now_ms(), self._mid(intent)
        self._inquiries.sent(intent.client_id, order.approved_ms)
        self._begun.add(intent.client_id)
        if not intent.reduce_only:
            self.pace.sent(sent_ms)
        try:
            report = await self._exchange.send(order)
        except (VenueUnreachable, RateLimited) as error:
            # It stays an INTENT: a later settlement sends it while its bar is fresh.
            if not intent.reduce_only:
                self.pace.not_sent(sent_ms)
            self._not_sent(intent, error)
            record = OrderRecord(intent, OrderState.INTENT)
            if again is None or not isinstance(error, ClockRefused):
                return record
            return await self.settle(record, again)
        except OutcomeUnknown as error:
            self._log("warning", f"the outcome of {intent.client_id} is unknown: {error}")
            record = self._ledger.advance_order(_report(intent, OrderState.UNKNOWN, str(error)))
            self._arrived(intent, price, mid, sent_ms, answered=False)
            self._begun.discard(intent.client_id)
            return await self.settle(record, None, patience_s=self._params.answer_patience_s)
        except VenueRejected as error:
            report = _report(intent, OrderState.REJECTED, str(error))
            self._doubt(intent, error)
        self._forget(intent.client_id)
        record = self._ledger.advance_order(report)
        self._arrived(intent, price, mid, sent_ms, answered=True)
        self._begun.discard(intent.client_id)  # last: where one of these fails, whoever holds an older record asks first
        return record

    def may_be_out(self, client_id: str) -> bool:
        """Whether this process has begun to send an order that the ledger still takes for one that was not sent."""
        return client_id in self._begun

    def is_doubted(self, client_id: str) -> bool:
        """Whether the venue has said, once and nothing else since, that a stop does not rest: it need not be gone."""
        return client_id in self._doubted or self._inquiries.denied(client_id)

    def is_unproven(self, client_id: str) -> bool:
        """Whether the venue has not said for too long whether a stop rests: another one is placed, and no position closed."""
        return client_id in self._unproven

    @property
    def unconfirmed(self) -> bool:
        """Whether there is a stop of which the venue says in no way whether it rests."""
        return bool(self._unconfirmed)

    def forget_but(self, resting: Collection[str]) -> None:
        """Nothing is open about stops but those in `resting`: of the others another message has told the end."""
        self._unconfirmed = {client_id: since for client_id, since in self._unconfirmed.items() if client_id in resting}
        self._unproven &= set(resting)
        self._doubted &= set(resting)

    def trust(self, client_id: str) -> None:
        """The venue lists a stop: it rests."""
        self._forget(client_id)

    def is_too_late(self, record: OrderRecord) -> bool:
        """Whether an order that only reduces, and whose fate is open, can change nothing any more that it has not changed."""
        unproven = record.state in (OrderState.INTENT, OrderState.UNKNOWN)
        return unproven and record.intent.reduce_only and self._inquiries.is_too_late(record.intent.client_id)

    async def confirm(self, stop: OrderRecord, *, unlisted: bool) -> OrderRecord:
        """Find out what became of a stop that is taken for resting; `unlisted`: the venue has not listed it with what rests.

        Raises `VenueUnreachable` where the venue says nothing of it in either way, until it has not for `stop_deadline_s` and
        answers for the account all the same: from then on the stop is unproven.
        """
        settled = await self.settle(stop, None, patience_s=self._params.answer_patience_s)
        client_id = stop.intent.client_id
        if not self._inquiries.is_open(client_id) or self.is_doubted(client_id) or self.is_unproven(client_id):
            return settled
        now_ms = self._clock.now_ms()
        since_ms = self._unconfirmed.setdefault(client_id, now_ms)
        if unlisted:
            self._doubted.add(client_id)
        elif now_ms - since_ms >= self._params.stop_deadline_s * 1000:
            await self._exchange.account()  # a venue that is away altogether has lost no stop
            self._unproven.add(client_id)
        else:
            raise VenueUnreachable(f"the venue says in no way whether the stop {client_id} rests")
        self._unconfirmed.pop(client_id, None)
        return settled

    async def settle(self, record: OrderRecord, approve: Approve | None, *, patience_s: float | None = None) -> OrderRecord:
        """Find out what became of an unfinished order.

        An order that never reached the venue is sent again if `approve` allows it, else abandoned; with `approve=None`
        it stays as it is until the next settlement. An order that cannot be looked up within the bound freezes its symbol.
        After `patience_s` the search is broken off, to be continued by the next call.
        """
        intent = record.intent
        found: OrderReport | Answer = Answer.MISSING
        unsent = self._unsent.get(intent.client_id) if record.state is OrderState.INTENT else None
        if unsent is None:
            if record.state is OrderState.OPEN:
                found = await self._inquiries.look_up(intent, patience_s, rests=True)
            else:
                found = await self._inquiries.look_up(intent, patience_s, max(intent.created_ms, intent.due_ms))
        if isinstance(found, OrderReport):
            self._forget(intent.client_id)
            return self._advanced(found)
        if found is Answer.UNANSWERED and not _is_resting_stop(record):  # a stop is replaced where it cannot be confirmed
            self._freeze(intent)
        if found not in (Answer.MISSING, Answer.DENIED):
            return record
        if record.state is OrderState.OPEN:
            self._forget(intent.client_id)
            return self._ledger.advance_order(_report(intent, OrderState.CANCELLED, "the venue no longer knows the order"))
        if approve is None:
            return record
        try:
            order = approve(intent)
        except NotApproved as error:
            if found is Answer.DENIED or isinstance(error, NotNow):
                return record  # it may still arrive, or go out
            return self.abandon(intent, f"never reached the venue; {error}")
        if unsent is not None and self._clock.now_ms() < unsent.next_ms:
            return record
        self._log("info", f"{intent.client_id} never reached the venue; sending it again under the same id")
        return await self.place(order)

    def abandon(self, intent: OrderIntent, reason: str) -> OrderRecord:
        """End an intent that was certainly never taken. Raises `LeaseLost`: another process may have sent it meanwhile."""
        self._forget(intent.client_id)
        report = _report(intent, OrderState.ABANDONED, reason)
        record = self._ledger.advance_order(report, None if self._lease is None else self._lease())
        self._begun.discard(intent.client_id)
        return record

    async def cancel(self, record: OrderRecord) -> OrderRecord:
        """Cancel a resting order; it stays where the venue is unreachable, or may yet take an earlier sending of it."""
        if self._inquiries.is_doubled(record.intent.client_id):
            return record
        try:
            report = await self._exchange.cancel(record.intent)
        except UNANSWERED as error:
            self._log("warning", f"{record.intent.client_id} is not known to be cancelled: {error}")
            return record
        if report is None:
            report = _report(record.intent, OrderState.CANCELLED, "the venue no longer knows the order")
        self._forget(report.client_id)
        return self._ledger.advance_order(report)

    def _advanced(self, report: OrderReport) -> OrderRecord:
        """The record of an order after a report; from then on the ledger knows what became of the sending."""
        record = self._ledger.advance_order(report)
        self._begun.discard(report.client_id)
        return record

    def _forget(self, client_id: str) -> None:
        """The fate of an order is known, or it is on its way again."""
        self._unsent.pop(client_id, None)
        self._doubted.discard(client_id)
        self._unconfirmed.pop(client_id, None)
        self._unproven.discard(client_id)
        self._inquiries.forget(client_id)

    def _not_sent(self, intent: OrderIntent, error: VenueUnreachable | RateLimited) -> None:
        before = self._unsent.get(intent.client_id)
        pause_s = self._params.query_backoff_s if before is None else min(2 * before.pause_s, LONGEST_PAUSE_S)
        wait_s = getattr(error, "retry_after_s", None) or pause_s
        if before is None and isinstance(error, ClockRefused):
            wait_s = 0.0  # the venue's time is known now
        self._begun.discard(intent.client_id)
        self._unsent[intent.client_id] = _Unsent(self._clock.now_ms() + round(wait_s * 1000), pause_s)
        self._log("warning", f"{intent.client_id} was not sent: {error}")

    def _doubt(self, intent: OrderIntent, error: VenueRejected) -> None:
        """A refusal is final for its order. What it says about our view of account, rules and position is asked again."""
        if isinstance(error, WouldTrigger):
            self.crossed.add(intent.client_id)
        level = self.doubts.note(intent.symbol, error)
        self._log(level, f"{intent.client_id} ({intent.side} {intent.quantity} {intent.symbol}) was refused: {error}")

    def _arrived(
        self, intent: OrderIntent, price: Decimal | None, mid: Decimal | None, sent_ms: int, *, answered: bool
    ) -> None:
        """Record what the order met; a stop is judged by its own price, and by no quote of the time when it was placed."""
        if intent.stop_price is not None:
            price = intent.stop_price
        elif not is_decided(intent.leg):
            price = mid  # an exit is decided when it is sent, whatever bar its id names
        elif price is None and (decision := self._ledger.decision(intent.decision_id)) is not None:
            price = to_decimal(decision.price)
        if price is not None:
            answered_ms = self._clock.now_ms() if answered else None
            arrival = Arrival(intent.client_id, self._book, intent.symbol, price, mid, sent_ms, answered_ms)
            self._ledger.record_arrival(arrival)

    def _mid(self, intent: OrderIntent) -> Decimal | None:
        quote = None if intent.kind is OrderKind.STOP else self._quote(intent.symbol)
        return None if quote is None else quote.mid

    def _freeze(self, intent: OrderIntent) -> None:
        now_ms = self._clock.now_ms()
        reason = (
            f"the outcome of order {intent.client_id} could not be established; compare the venue's order list, then resume"
        )
        if any(halt.symbol == intent.symbol and halt.reason == reason for halt in self._ledger.halts(self._book, now_ms)):
            return
        self._ledger.set_halt(Halt(self._book, reason, now_ms, None, intent.symbol))
        self._log("warning", f"{intent.symbol} is frozen: {reason}")

    def _log(self, level: str, message: str) -> None:
        self._ledger.log(self._book, "execution", level, message, self._clock.now_ms())


def _is_resting_stop(record: OrderRecord) -> bool:
    return record.intent.kind is OrderKind.STOP and record.state is OrderState.OPEN


def _report(intent: OrderIntent, state: OrderState, reason: str) -> OrderReport:
    return OrderReport(intent.client_id, intent.symbol, state, ZERO, reason=reason)


def _no_quote(_: str) -> QuoteMessage | None:
    return None
