"""From a decision to its orders: approved one by one, sent, booked, protected.

The market leg goes first and alone; what follows it (booking its fills, the stop) waits until every asset of the bar is
decided, so that no asset's entry waits for another one's stop. What is on its way counts as held for everybody else. Nothing
is sent without a valid lease, beyond the age of its decision, or into a halt; what only reduces passes every halt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from shared.domain.errors import NotApproved, NotNow
from shared.domain.interval import DAY_MS
from shared.domain.money import ZERO, SymbolRules, to_decimal
from shared.domain.orders import Account, Fill, OrderIntent, OrderKind, OrderRecord, OrderState
from shared.domain.records import Halt, Lease
from shared.ports import Clock, Ledger
from shared.risk.approval import ApprovedOrder, OrderContext, OrderLimits, approve
from shared.risk.pace import OrderPace
from shared.trading.book import BookState
from shared.trading.execution import Executor
from shared.trading.legs import EXIT, TRIM, leg_number, remainder
from shared.trading.move import Move as Move
from shared.trading.overshoot import Trimmer
from shared.trading.params import SystemParams
from shared.trading.protection import Guard
from shared.trading.reconciliation import Reconciler
from shared.trading.target import moved_by_others
from shared.trading.workbench import Workbench


class OrderDesk:
    """Everything that a session sends goes through here."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        book: BookState,
        executor: Executor,
        reconciler: Reconciler,
        rules: Mapping[str, SymbolRules],
        params: SystemParams,
        max_age_ms: int,
        check_lease: Callable[[], None],
        lease: Callable[[], Lease],
        clock: Clock,
        equity: Callable[[], Decimal],
        price: Callable[[str], Decimal],
        name: str,
        available: Callable[[], Decimal | None] = lambda: None,
        leverage: int = 1,
    ) -> None:
        self._ledger = ledger
        self._book = book
        self._executor = executor
        self._reconciler = reconciler
        self._params = params
        self._max_age_ms = max_age_ms
        self._now_ms = clock.now_ms
        self._check_lease = check_lease
        self._name = name
        self._lease = lease
        self._equity = equity
        self._price = price
        self._available = available
        self._leverage = leverage
        self._limits = OrderLimits.of(params.risk)
        executor.pace = OrderPace(arrival.sent_ms for arrival in ledger.arrivals(name, clock.now_ms() - DAY_MS))
        self.rules = dict(rules)
        bench = Workbench(ledger, clock, name, book, executor, reconciler, lambda: self.rules, self.protective, lease)
        self._guard, self._trimmer = Guard(bench, params.execution), Trimmer(bench)
        self.held_back = ""
        """why nothing that opens or increases is sent, whatever was decided; empty where it may be"""
        self.is_ending = False
        """whether that is for good, as far as this process goes"""
        self.superseded_ms = max((decision.bar_close_ms for decision in ledger.decisions(name, limit=1)), default=0)
        """close of the newest bar that was decided: slices of older decisions are not sent any more"""
        self.unwritten: list[Halt] = []
        """halts that are in force though the ledger does not have them yet"""

    @property
    def bare(self) -> tuple[str, ...]:
        """Symbols whose position is not fully protected, as far as the guard has seen."""
        return self._guard.bare

    def expect(self, move: Move) -> None:
        """Count the market leg as held from now on."""
        legs = [intent for intent in move.intents if intent.kind is not OrderKind.STOP]
        if legs:
            self._book.in_flight[move.symbol] = sum((leg.quantity * leg.side.sign for leg in legs), ZERO)

    async def carry_out(self, move: Move, all_decided: asyncio.Event) -> list[Fill]:
        """Send the orders of a move; returns the fills that were booked. Raises what ledger and lease raise."""
        fills: list[Fill] = []
        stop = next((intent for intent in move.intents if intent.kind is OrderKind.STOP), None)
        legs = [intent for intent in move.intents if intent is not stop and intent.due_ms <= self._now_ms()]
        try:
            for leg in legs:
                record = await self.send(leg, move)
                await all_decided.wait()
                if record.filled == 0:  # nothing to protect; what is still open is settled before the next decision
                    for other in move.intents:
                        self._reconciler.abandon_orphan(OrderRecord(other, OrderState.INTENT))
                    return fills
                fills += await self._booked(record, move)
        finally:
            self._book.in_flight.pop(move.symbol, None)
            self._book.changed()
        await self.protect(move.symbol, stop)
        return fills

    async def send_slice(self, intent: OrderIntent) -> None:
        """Send a slice whose time has come, approved now, and book what it filled."""
        sent = await self.send(intent, self._move(intent))
        self._book.changed()
        await self.complete(sent)

    async def complete(self, record: OrderRecord) -> list[Fill]:
        """Book what an order has filled, and order again what a partial fill has left; the executions that were booked."""
        if record.intent.kind is not OrderKind.MARKET or record.filled == 0:
            return []
        return await self._booked(record, self._move(record.intent))

    def _move(self, intent: OrderIntent) -> Move:
        """A move of one order, with the account as it is now. Raises `NotApproved` where its decision is not known."""
        decision = self._ledger.decision(intent.decision_id)
        if decision is None:
            raise NotApproved(f"{intent.client_id} has no decision in the ledger")
        return Move(intent.symbol, (intent,), self._equity(), to_decimal(decision.price), decision.bar_close_ms)

    async def _booked(self, record: OrderRecord, move: Move) -> list[Fill]:
        """Book what was filled, and try again for what a partial fill has left while the bar is fresh."""
        fills = await self._reconciler.book_fills_of(record)
        self._book.changed()
        while True:
            legs = self._ledger.orders(self._name, decision_id=record.intent.decision_id) if _is_partial(record) else []
            attempts = self._params.execution.remainder_attempts
            rest, note = remainder(record, legs, self.rules[move.symbol], move.price, attempts, self._now_ms())
            if rest is not None and (why_not := self.disturbed(rest)):
                note, rest = f"{rest.quantity} {rest.symbol} stays unfilled: {why_not}", None
            if note:
                self._ledger.log(self._name, "execution", "info", note, self._now_ms())
            if rest is None:
                return fills
            self._ledger.add_intents([rest], self._lease())
            record = await self.send(rest, move)
            fills += await self._reconciler.book_fills_of(record)
            self._book.changed()

    async def send(self, intent: OrderIntent, move: Move) -> OrderRecord:
        """Place a committed intent of a move, or abandon it with the reason where risk control says no."""

        def approve_now(intent: OrderIntent) -> ApprovedOrder:
            return self.approved(intent, move)

        if self._executor.may_be_out(intent.client_id):  # cut off while it was sent: its fate comes first
            return await self._executor.settle(OrderRecord(intent, OrderState.INTENT), approve_now, patience_s=0.0)
        try:
            order = approve_now(intent)
        except NotApproved as error:
            return self._executor.abandon(intent, str(error))
        return await self._executor.place(order, move.price, approve_now)

    def disturbed(self, intent: OrderIntent) -> str:
        """Why an order that goes on with a decision must not be sent: something else has moved the position. Empty if nothing.

        A stop or an exit has ended what the decision began, or has done a part of it already: the next bar decides anew.
        """
        moved = moved_by_others(self._ledger, intent.decision_id, self._book.held(intent.symbol), self.rules[intent.symbol])
        if moved is None:
            return "it is not known what its decision was sized with"
        return f"a stop or an exit has moved the position by {moved} since it was decided" if moved else ""

    def protective(self, intent: OrderIntent) -> ApprovedOrder:
        """Risk control for a stop or an exit, which pass every halt. Raises `NotApproved`, or `LeaseLost`."""
        if intent.leg.startswith(EXIT) and self._is_followed(intent):
            raise NotApproved(f"another exit was sent after {intent.client_id}")
        price = self._price(intent.symbol)
        return self.approved(intent, Move(intent.symbol, (intent,), self._equity(), price, intent.created_ms))

    def _is_followed(self, intent: OrderIntent) -> bool:
        """Whether an exit has a younger one: it was given up, and what is left was ordered anew."""
        legs = self._ledger.orders(self._name, decision_id=intent.decision_id)
        number = leg_number(EXIT, intent.leg)
        exits = [leg for leg in legs if leg.intent.leg.startswith(EXIT) and not (leg.state.is_final and leg.filled == 0)]
        return any(leg_number(EXIT, leg.intent.leg) > number for leg in exits)

    def approved(self, intent: OrderIntent, move: Move) -> ApprovedOrder:
        """Risk control for one intent, with the book as it is now. Raises `NotApproved`, or `LeaseLost`."""
        now_ms = self._now_ms()  # before anything is asked: a process that is stopped from here on sends what is too old
        self._check_lease()
        held = self._book.held(intent.symbol)
        age_ms = now_ms - max(move.bar_close_ms, intent.due_ms)
        if age_ms > self._max_age_ms and intent.kind is not OrderKind.STOP:
            raise NotApproved(f"the bar of {intent.client_id} closed {age_ms / 1000:.0f} s ago, too long to be sent now")
        if intent.due_ms and intent.created_ms < self.superseded_ms:
            raise NotApproved(f"a newer bar is decided than that of {intent.client_id}")
        after = held + intent.quantity * intent.side.sign
        if intent.symbol in self._reconciler.unread and not intent.reduce_only:  # what it leads to is not known
            raise NotNow(f"{intent.symbol}: no new risk is taken now (its executions cannot be read)")
        if self.held_back and not intent.reduce_only and not (held * after >= 0 and abs(after) < abs(held)):
            refusal = NotApproved if self.is_ending else NotNow
            raise refusal(f"{intent.symbol}: no new risk is taken now ({self.held_back})")
        minute, day = self._executor.pace.recent(now_ms)
        context = OrderContext(
            rules=self.rules[intent.symbol],
            held=held,
            price=move.price,
            equity=move.equity,
            max_asset_exposure=to_decimal(self._params.risk.max_asset_exposure),
            halts=[*self._halts(move, now_ms), *self.unwritten],
            limits=self._limits,
            last_price=self._price(intent.symbol),
            orders_minute=minute,
            orders_day=day,
            available=self._available(),
            leverage=self._leverage,
            approved_ms=now_ms,
        )
        return approve(intent, context)

    def _halts(self, move: Move, now_ms: int) -> Sequence[Halt]:
        """Halts in force: those that the move was committed under where that was just now, else the ledger is asked."""
        known = move.halts_at(now_ms)
        return self._ledger.halts(self._name, now_ms) if known is None else known

    def again(self, intent: OrderIntent) -> ApprovedOrder:
        """Risk control for an order that never arrived. Raises `NotApproved`, or `LeaseLost`."""
        return self.protective(intent) if intent.leg.startswith((EXIT, TRIM)) else self._again(intent, self._move(intent))

    def _again(self, intent: OrderIntent, move: Move) -> ApprovedOrder:
        """As `approved`, for what goes on with a decision: nothing else may have moved the position meanwhile."""
        if intent.kind is OrderKind.MARKET and not intent.reduce_only and (why_not := self.disturbed(intent)):
            raise NotApproved(f"{intent.client_id} is not sent: {why_not}")
        return self.approved(intent, move)

    async def settle(self, account: Account) -> None:
        """Establish the fate of every unfinished order but resting stops; what never arrived is sent again while fresh."""
        prices = {position.symbol: position.mark_price for position in account.positions}

        def again(intent: OrderIntent) -> ApprovedOrder:
            decision = self._ledger.decision(intent.decision_id)
            if decision is None:
                raise NotApproved(f"{intent.client_id} has no decision in the ledger")
            price = prices.get(intent.symbol) or to_decimal(decision.price)
            self._book.changed()  # what was found out about the orders before it may have been booked since
            return self._again(intent, Move(intent.symbol, (intent,), account.equity, price, decision.bar_close_ms))

        try:
            await self._reconciler.settle_orders(again)
        finally:
            self._book.changed()

    async def protect(self, symbol: str, planned: OrderIntent | None = None) -> bool:
        """One pass: no more than was decided, a stop of that size, no stop without a position; whether nothing is left."""
        try:
            await self._trimmer.trim(symbol)
            return await self._guard.protect(symbol, planned)
        except BaseException:
            self._book.changed()  # what has failed may have been written before
            raise


def _is_partial(record: OrderRecord) -> bool:
    return record.state.is_final and ZERO < record.filled < record.intent.quantity
