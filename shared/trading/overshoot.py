"""A reversal that went too far is brought back to what was decided, at once.

A reversal is one order of the old and the new size. The stop of the old position may be executed between the moment that the
order was sized in and its execution; then the new position is larger than decided, by what the stop has closed. What is beyond
the target is closed by a reduce-only order with a name of its own in its decision: sent again it is the same order, and it can
neither open nor turn anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from shared.domain.errors import NotApproved
from shared.domain.money import SymbolRules
from shared.domain.orders import OrderKind
from shared.domain.records import Lease
from shared.ports import Clock, Ledger
from shared.trading.book import BookState
from shared.trading.execution import Approve, Executor
from shared.trading.legs import TRIM, leg_order, next_leg
from shared.trading.reconciliation import Reconciler
from shared.trading.target import excess

MOST = 3
"""Corrections of one decision; what is beyond its target then is told to a person"""


class Trimmer:
    """Keeps the positions of one book within what was decided."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        clock: Clock,
        name: str,
        book: BookState,
        executor: Executor,
        reconciler: Reconciler,
        rules: Callable[[], Mapping[str, SymbolRules]],
        approve: Approve,
        lease: Callable[[], Lease],
    ) -> None:
        """`approve` lets reducing orders through, whatever is halted; `lease` is the one in force."""
        self._ledger = ledger
        self._clock = clock
        self._name = name
        self._book = book
        self._executor = executor
        self._reconciler = reconciler
        self._rules = rules
        self._approve = approve
        self._lease = lease
        self._within: dict[str, Decimal] = {}
        """by symbol: the position that was looked at last and found to be as decided"""

    async def trim(self, symbol: str) -> None:
        """Close what is held beyond the decided target. Asks the ledger only after the position has changed, and nobody else.

        Raises what ledger and lease raise; what the venue does not answer is settled like any other order.
        """
        held = self._book.held(symbol)
        if held == 0 or self._within.get(symbol) == held or self._is_moving(symbol):
            return
        beyond, decision = excess(self._ledger, self._name, symbol, held, self._rules()[symbol])
        if beyond == 0 or decision is None:
            self._within[symbol] = held
            return
        legs = self._ledger.orders(self._name, decision_id=decision.id)
        now_ms = self._clock.now_ms()
        if sum(record.intent.leg.startswith(TRIM) for record in legs) >= MOST:
            self._within[symbol] = held
            self._log("error", f"{held} {symbol} is {beyond} beyond what was decided, and {MOST} orders could not correct it")
            return
        self._log("warning", f"{held} {symbol} is {beyond} beyond what was decided (a stop was executed meanwhile): it is closed")
        intent = leg_order(self._name, decision.id, next_leg(TRIM, legs), symbol, -beyond, now_ms, reduce_only=True)
        self._ledger.add_intents([intent], self._lease())
        try:
            record = await self._executor.place(self._approve(intent), again=self._approve)
        except NotApproved as error:
            record = self._executor.abandon(intent, str(error))
        await self._reconciler.book_fills_of(record)
        self._book.changed()

    def _is_moving(self, symbol: str) -> bool:
        """Whether the fate of an order is open that may change the position yet."""
        return any(
            record.intent.symbol == symbol and record.intent.kind is OrderKind.MARKET for record in self._book.open_questions()
        )

    def _log(self, level: str, message: str) -> None:
        self._ledger.log(self._name, "protection", level, message, self._clock.now_ms())
