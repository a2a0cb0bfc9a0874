"""What the orders that follow from a position are made and sent with: stops, exits, corrections.

Such an order is committed under a name of its own in its decision, approved with the book as it is at that moment, and sent; it
passes every halt because it only reduces. What the venue does not answer is settled like any other order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shared.domain.errors import NotApproved
from shared.domain.money import SymbolRules
from shared.domain.orders import OrderIntent, OrderRecord
from shared.domain.records import Lease
from shared.ports import Clock, Ledger
from shared.trading.book import BookState
from shared.trading.execution import Approve, Executor
from shared.trading.reconciliation import Reconciler


@dataclass(frozen=True, slots=True)
class Workbench:
    """The means of one book."""

    ledger: Ledger
    clock: Clock
    name: str
    """of the book"""
    book: BookState
    executor: Executor
    reconciler: Reconciler
    rules: Callable[[], Mapping[str, SymbolRules]]
    approve: Approve
    """lets stops and reducing orders through, whatever is halted"""
    lease: Callable[[], Lease]
    """the one in force"""

    def commit(self, intent: OrderIntent) -> None:
        """Store an intent that follows from a decision. Raises what the ledger raises, `LeaseLost`."""
        self.ledger.add_intents([intent], self.lease())

    async def send(self, intent: OrderIntent) -> OrderRecord:
        """Send a committed intent for the first time, or abandon it where risk control refuses. Raises `LeaseLost`."""
        try:
            order = self.approve(intent)
        except NotApproved as error:
            return self.executor.abandon(intent, str(error))
        return await self.executor.place(order, again=self.approve)

    def log(self, level: str, message: str) -> None:
        """Into the book's log."""
        self.ledger.log(self.name, "protection", level, message, self.clock.now_ms())
