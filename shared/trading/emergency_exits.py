"""The orders that close a book in an emergency: reduce-only market orders whose client ids are derived from the emergency.

Number n of a symbol has the same client id in every process, with and without the ledger: what was sent before a kill is found
again, and the venue refuses what it has already. An exit is in the ledger before it is sent; while the ledger is away it is in
the exit journal. Reduce-only: it cannot open anything, and goes no further than flat; so nothing waits for an exit that nobody
answers for once the venue can no longer take it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from shared.domain.errors import (
    LedgerError,
    LedgerUnavailable,
    OutcomeUnknown,
    RateLimited,
    StorageError,
    VenueRejected,
)
from shared.domain.ids import client_order_id
from shared.domain.money import ZERO, SymbolRules
from shared.domain.orders import OrderIntent, OrderKind, OrderRecord, OrderReport, OrderState, Side
from shared.domain.records import Lease
from shared.ports import Clock, Exchange, ExitJournal, Ledger
from shared.risk.approval import ApprovedOrder, OrderContext, approve
from shared.trading.execution import Approve, Executor
from shared.trading.inquiry import Answer, Inquiries
from shared.trading.own_position import OwnPosition

LEG = "emergency"
PATIENCE_S = 5.0
"""How long the fate of one exit is asked for before the next symbol has its turn"""
NO_DECISION = "emergency"
"""Decision id of an exit that was journalled while nobody could ask the ledger for one (`adopted`)"""


def exit_id(book: str, emergency: str, symbol: str, number: int) -> str:
    """Client id of the exit `number` (from 1) of a symbol."""
    return client_order_id(book, emergency, f"{LEG}-{symbol}-{number}")


def adopted(intents: Sequence[OrderIntent], ledger: Ledger) -> list[OrderIntent]:
    """Journalled exits as they are filed in the ledger, for `Ledger.add_intents`. Raises what the ledger raises."""
    found: list[OrderIntent] = []
    for intent in intents:
        known = ledger.order(intent.client_id)
        found.append(known.intent if known is not None else _filed(intent, ledger, found))
    return found


class EmergencyExits:
    """Sends the exits of one book."""

    def __init__(
        self,
        *,
        exchange: Exchange,
        ledger: Ledger,
        clock: Clock,
        executor: Executor,
        inquiries: Inquiries,
        book: str,
        lease: Callable[[], Lease],
        journal: ExitJournal | None,
        own: OwnPosition,
    ) -> None:
        """`own` is told of what is closed without the ledger."""
        self._exchange = exchange
        self._ledger = ledger
        self._clock = clock
        self._executor = executor
        self._inquiries = inquiries
        self._book = book
        self._lease = lease
        self._journal = journal
        self._own = own
        self._used: dict[str, int] = {}
        """by symbol: the last number that may have been sent"""
        self._unanswered: dict[str, OrderIntent] = {}
        """by symbol: an exit that was sent without the ledger and whose fate is open"""
        self._passed: set[str] = set()
        """client ids of exits that nobody answers for and that are too late by now: the next one may be sent"""

    async def close(self, emergency: str, held: Decimal, rules: SymbolRules) -> str:
        """Send the next exit for `held` (signed base units) of a symbol; what became of it, in words.

        Raises the `VenueError` tree where it is not known to have been sent or refused, `LedgerUnavailable` where it could be
        neither committed nor journalled, `LeaseLost`.
        """
        size = rules.quantity(held)
        if size == 0:
            return f"{held} {rules.symbol} is below what the venue accepts and stays as dust"
        try:
            open_exit, number = self._next(emergency, rules.symbol)
            if open_exit is not None:
                settled = await self._settled(open_exit, lambda intent: _approved(intent, held, rules))
                if self._executor.is_too_late(settled):  # what it has done is seen before the next one: in another round
                    self._passed.add(settled.intent.client_id)
                return _fate(settled)
            intent = self._intent(emergency, rules.symbol, number, size)
            decided = _filed(intent, self._ledger)
            order = _approved(decided, held, rules)
            self._ledger.add_intents([decided], self._lease())
            self._used[rules.symbol] = number
            return _fate(await self._executor.place(order))
        except LedgerUnavailable:
            if self._journal is None:
                raise
            return await self._close_without_ledger(self._journal, emergency, held, size, rules)

    def take_over(self) -> int:
        """Bring the journal into the ledger; how many exits there were. Raises `LedgerUnavailable`, `StorageError`."""
        pending = self._journal.pending() if self._journal is not None else []
        if self._journal is not None and pending:
            self._ledger.add_intents(adopted(pending, self._ledger), self._lease())
            self._journal.clear()
            self._unanswered.clear()  # they are unfinished orders of the ledger now
        return len(pending)

    def closed(self, emergency: str, symbols: Sequence[str]) -> list[str]:
        """Symbols of which an exit of the emergency was executed. Raises `LedgerUnavailable`."""
        found = []
        for symbol in symbols:
            number = 1
            while (record := self._ledger.order(exit_id(self._book, emergency, symbol, number))) is not None:
                if record.filled > 0:
                    found.append(symbol)
                    break
                number += 1
        return found

    def _next(self, emergency: str, symbol: str) -> tuple[OrderRecord | None, int]:
        """The exit whose fate is to be found out first, if there is one, and the first number that is free."""
        number = 1
        while (record := self._ledger.order(exit_id(self._book, emergency, symbol, number))) is not None:
            if not record.state.is_final and record.intent.client_id not in self._passed:
                return record, number
            number += 1
        return None, number

    async def _settled(self, record: OrderRecord, approve_again: Approve) -> OrderRecord:
        return await self._executor.settle(record, approve_again, patience_s=PATIENCE_S)

    async def _close_without_ledger(
        self, journal: ExitJournal, emergency: str, held: Decimal, size: Decimal, rules: SymbolRules
    ) -> str:
        symbol = rules.symbol
        waiting = self._unanswered.get(symbol)
        if waiting is not None:
            found = await self._inquiries.look_up(waiting, patience_s=PATIENCE_S)
            if found in (Answer.PENDING, Answer.UNANSWERED) or (isinstance(found, OrderReport) and not found.state.is_final):
                if self._inquiries.is_too_late(waiting.client_id):
                    del self._unanswered[symbol]  # as above; the journal keeps it
                return f"{symbol}: the fate of {waiting.client_id} is open"
            del self._unanswered[symbol]
            self._own.exited(waiting, found.filled if isinstance(found, OrderReport) else ZERO)
            if isinstance(found, OrderReport):
                return f"{symbol}: {waiting.client_id} is {found.state.value}"
        number = self._used.get(symbol, 0) + 1
        intent = self._intent(emergency, symbol, number, size)
        order = _approved(intent, held, rules)
        try:
            journal.append(intent)
        except StorageError as error:
            raise LedgerUnavailable(f"an exit can be kept neither in the ledger nor in the journal: {error}") from error
        try:
            report = await self._exchange.send(order)
        except OutcomeUnknown:
            self._unanswered[symbol], self._used[symbol] = intent, number
            self._own.exited(intent, intent.quantity)
            raise
        except VenueRejected as error:
            if not isinstance(error, RateLimited):  # answered for good: the next exit is another one
                self._used[symbol] = number
            raise
        self._used[symbol] = number
        self._own.exited(intent, report.filled if report.state.is_final else intent.quantity)
        return f"{symbol}: {intent.side.value} {intent.quantity} is {report.state.value} (journalled: the ledger is away)"

    def _intent(self, emergency: str, symbol: str, number: int, size: Decimal) -> OrderIntent:
        return OrderIntent(
            client_id=exit_id(self._book, emergency, symbol, number),
            book=self._book,
            decision_id=NO_DECISION,
            leg=f"{LEG}-{number}",
            symbol=symbol,
            side=Side.of(-size),
            kind=OrderKind.MARKET,
            quantity=abs(size),
            created_ms=self._clock.now_ms(),
            reduce_only=True,
        )


def _approved(intent: OrderIntent, held: Decimal, rules: SymbolRules) -> ApprovedOrder:
    """Risk control lets everything through that only reduces; prices, equity and limits are not asked."""
    return approve(intent, OrderContext(rules, held, ZERO, ZERO, ZERO))


def _filed(intent: OrderIntent, ledger: Ledger, beside: Sequence[OrderIntent] = ()) -> OrderIntent:
    """An exit under the newest decision of its symbol, as a leg that this one has not got yet, nor `beside` it.

    Raises `LedgerError` where the symbol never had a decision.
    """
    if intent.decision_id != NO_DECISION:
        return intent
    decision_id = _newest_decision(ledger, intent)
    legs = [record.intent for record in ledger.orders(intent.book, decision_id=decision_id)]
    used = {leg.leg for leg in (*legs, *beside) if leg.decision_id == decision_id}
    leg = next(name for number in range(1, len(used) + 2) if (name := f"{LEG}-{number}") not in used)
    return replace(intent, decision_id=decision_id, leg=leg)


def _newest_decision(ledger: Ledger, intent: OrderIntent) -> str:
    """The decision that an exit is filed under. Raises `LedgerError` where the symbol never had one."""
    newest = ledger.decisions(intent.book, symbol=intent.symbol, limit=1)
    if not newest:
        raise LedgerError(f"{intent.symbol}: the book {intent.book} has no decision of it; close the position by hand")
    return newest[0].id


def _fate(record: OrderRecord) -> str:
    intent = record.intent
    text = f"{intent.symbol}: {intent.side.value} {intent.quantity} {intent.client_id} is {record.state.value}"
    if record.state is OrderState.INTENT:
        return f"{text}: not sent yet"
    return f"{text} ({record.reason})" if record.reason else text
