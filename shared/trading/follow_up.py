"""What orders leave to be done between decisions: open questions, slices that are due, remainders, and the stop of it all.

One pass over a symbol settles what is open, sends the next slice of a large order where the position so far is protected and
nothing but its decision has moved it, orders what a partial fill left over while its bar is fresh, and lets the guard protect
what is held. A pass that finds nothing to do asks nobody. A trader passes each second and after each message about an order; a
request passes until all is at rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from shared.domain.errors import NotApproved
from shared.domain.money import ZERO
from shared.domain.orders import OrderIntent, OrderKind, OrderRecord, OrderReport, OrderState
from shared.ports import Clock, Ledger
from shared.risk.approval import ApprovedOrder
from shared.trading.book import BookState
from shared.trading.execution import Approve, Executor
from shared.trading.execution_params import ExecutionParams
from shared.trading.order_desk import OrderDesk
from shared.trading.reconciliation import Reconciler


class FollowUp:
    """Looks after the orders of one book between its decisions."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        clock: Clock,
        book: BookState,
        executor: Executor,
        reconciler: Reconciler,
        desk: OrderDesk,
        params: ExecutionParams,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._book = book
        self._executor = executor
        self._reconciler = reconciler
        self._desk = desk
        self._params = params
        self._next_look_ms: dict[str, int] = {}
        self._early: dict[str, set[str]] = {}
        """by symbol: slices that were seen before they were due, so that no process can have sent them before this one"""
        self._undisturbed: dict[str, tuple[str, Decimal]] = {}
        """by symbol: the decision that is being carried out and the position in which nothing else had moved it"""

    async def tend(self, symbols: Iterable[str]) -> bool:
        """One pass over `symbols`; whether everything is at rest. Raises what ledger, lease and venue raise."""
        at_rest = True
        try:
            for symbol in symbols:
                at_rest = await self._tend(symbol) and at_rest
        except BaseException:
            self._book.changed()  # what has failed may have been written before
            raise
        return at_rest

    async def finish(self, symbols: Iterable[str]) -> bool:
        """Pass again and again until everything is at rest, for as long as slices, fills and stops may take."""
        symbols = list(symbols)
        span_s = 3 * self._params.stop_deadline_s + (self._params.twap_seconds if self._book.waiting_slices() else 0.0)
        for _ in range(round(span_s / self._params.query_backoff_s)):
            if await self.tend(symbols):
                return True
            await self._clock.sleep(self._params.query_backoff_s)
        return False

    async def finished(self, client_id: str) -> None:
        """An order has come to its end by a message: what it left unfilled is ordered again while its bar is fresh."""
        record = self._ledger.order(client_id)
        try:
            if record is not None and record.state.is_final:
                await self._desk.complete(record)
        finally:
            self._book.changed()

    async def supersede(self, bar_close_ms: int) -> None:
        """End the slices of decisions before the bar that closed at `bar_close_ms`: a newer one is about to be decided.

        All of them together are asked about for `answer_patience_s`. One that may be out is an open question after that: it is
        not sent any more, and its symbol takes no new risk until it is answered; the others are decided meanwhile.
        """
        self._desk.superseded_ms = bar_close_ms
        until_ms = self._clock.now_ms() + round(1000 * self._params.answer_patience_s)
        for record in self._book.waiting_slices():
            if record.intent.created_ms >= bar_close_ms:
                continue
            reason = f"a newer bar is decided than that of {record.intent.client_id}"
            left_s = max(0.0, (until_ms - self._clock.now_ms()) / 1000)
            settled = await self._give_up(record, reason, patience_s=left_s)
            if settled.state is OrderState.INTENT:
                report = OrderReport(record.intent.client_id, record.intent.symbol, OrderState.UNKNOWN, ZERO, reason=reason)
                self._ledger.advance_order(report)
                self._book.changed()

    async def _tend(self, symbol: str) -> bool:
        for record in self._moving(symbol):
            settled = await self._executor.settle(record, self._desk.again, patience_s=0.0)
            self._book.changed()
            if settled.state is OrderState.UNKNOWN:
                settled = await self._look_at_fills(settled)
            if settled.filled > record.filled or settled.state.is_final:
                await self._desk.complete(settled)
        protected = await self._desk.protect(symbol)
        wanted = await self._wanted_still(symbol)
        due = [record.intent for record in wanted if record.intent.due_ms <= self._clock.now_ms()]
        is_read = symbol not in self._reconciler.unread  # else what an order would lead to is not known
        if due and protected and is_read and not (self._desk.held_back and not due[0].reduce_only):
            await self._desk.send_slice(min(due, key=lambda intent: intent.due_ms))
            protected = await self._desk.protect(symbol)
        return protected and not self._waiting(symbol) and not self._moving(symbol)

    def _waiting(self, symbol: str) -> list[OrderRecord]:
        return [record for record in self._book.waiting_slices() if record.intent.symbol == symbol]

    async def _wanted_still(self, symbol: str) -> list[OrderRecord]:
        """The slices of a symbol that wait; they are given up where anything but their decision has moved the position."""
        waiting, now_ms = self._waiting(symbol), self._clock.now_ms()
        if not waiting:
            self._undisturbed.pop(symbol, None)
            self._early.pop(symbol, None)
            return []
        early = self._early.setdefault(symbol, set())
        early.update(record.intent.client_id for record in waiting if record.intent.due_ms > now_ms)
        seen = (waiting[0].intent.decision_id, self._book.held(symbol))
        if self._undisturbed.get(symbol) == seen:
            return waiting
        why_not = self._desk.disturbed(waiting[0].intent)
        if not why_not:
            self._undisturbed[symbol] = seen
            return waiting
        for record in waiting:
            await self._give_up(record, why_not, patience_s=0.0)
        return []

    async def _give_up(self, record: OrderRecord, reason: str, patience_s: float) -> OrderRecord:
        """End a slice that was not sent. Where it may have been, by a process that was killed before it said so, ask first."""
        intent = record.intent
        untouched = intent.client_id in self._early.get(intent.symbol, ()) and not self._executor.may_be_out(intent.client_id)
        if untouched or intent.due_ms > self._clock.now_ms():
            settled = self._executor.abandon(intent, reason)
        else:
            settled = await self._executor.settle(record, _refusal(reason), patience_s=patience_s)
        self._book.changed()
        return settled

    async def _look_at_fills(self, record: OrderRecord) -> OrderRecord:
        """Where an order cannot be looked up its executions may still be listed: what they prove is known from then on."""
        intent, now_ms = record.intent, self._clock.now_ms()
        if now_ms < self._next_look_ms.get(intent.symbol, 0):
            return record
        self._next_look_ms[intent.symbol] = now_ms + round(self._params.resend_grace_s * 1000)
        await self._reconciler.book_fills(intent.symbol)
        self._book.changed()
        filled = sum((fill.quantity for fill in self._ledger.fills(intent.book, client_id=intent.client_id)), ZERO)
        if filled < intent.quantity:
            return record
        return self._ledger.advance_order(OrderReport(intent.client_id, intent.symbol, OrderState.FILLED, filled))

    def _moving(self, symbol: str) -> list[OrderRecord]:
        """Orders of a symbol whose fate is open; stops are the guard's."""
        questions = self._book.open_questions()
        return [
            record
            for record in questions
            if record.intent.symbol == symbol
            and record.intent.kind is not OrderKind.STOP
            and not (record.state is OrderState.INTENT and record.intent.due_ms > self._clock.now_ms())
        ]


def _refusal(reason: str) -> Approve:
    def refuse(_: OrderIntent) -> ApprovedOrder:
        raise NotApproved(reason)

    return refuse
