"""The orders of a book in an emergency: entries called back and settled, stops cancelled at the end.

Whatever the venue or the ledger refuses is written to the record and tried again in the next round (`Tries`).
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from shared.domain.errors import (
    DataError,
    LedgerError,
    LedgerUnavailable,
    NotApproved,
    OstError,
    StorageError,
    VenueError,
    VenueRejected,
)
from shared.domain.orders import OrderIntent, OrderKind, OrderRecord, OrderReport, OrderState
from shared.ports import Clock, Exchange, Ledger
from shared.risk.approval import ApprovedOrder
from shared.trading.emergency_exits import PATIENCE_S
from shared.trading.emergency_log import EmergencyLog
from shared.trading.execution import Executor

T = TypeVar("T")


class Tries:
    """What did not succeed in a round."""

    def __init__(self, log: EmergencyLog) -> None:
        self._log = log
        self.wait_s = 0.0
        """how long the venue has asked to be left alone"""
        self.may_be_last = True
        """whether all that was sent and done so far is in the ledger"""

    def begin(self) -> None:
        """Another round."""
        self.wait_s, self.may_be_last = 0.0, True

    async def asked(self, what: str, work: Awaitable[T]) -> T | None:
        """The answer of the venue; `None` where it refuses, is silent or makes no sense, which costs a pause."""
        try:
            return await work
        except (LedgerError, StorageError):
            raise
        except OstError as error:
            self.wait_s = max(self.wait_s, getattr(error, "retry_after_s", None) or 0.0)
            self.trouble(what, error)
            return None

    def without_ledger(self, error: LedgerError | StorageError, what: str = "the ledger") -> None:
        """Go on without it, or without the journal; what it does not know yet keeps this round from being the last."""
        self.may_be_last = False
        self.trouble(what, error)

    def trouble(self, what: str, error: Exception) -> bool:
        """Write it down; false."""
        self._log.step(f"{what}: {error}")
        return False


class EmergencyOrders:
    """The orders of one book."""

    def __init__(
        self, exchange: Exchange, ledger: Ledger, clock: Clock, executor: Executor, log: EmergencyLog, tries: Tries, book: str
    ) -> None:
        self._exchange = exchange
        self._ledger = ledger
        self._clock = clock
        self._executor = executor
        self._log = log
        self._tries = tries
        self._book = book

    async def call_back_entries(self) -> bool:
        """Ask the venue to cancel every entry that may rest there; what is not due yet is not sent any more.

        What the ledger does not take of it waits for another round: nothing that is held does.
        """
        goes_well = True
        for record in self._unfinished(stops=False):
            try:
                await self._call_back(record)
            except (DataError, VenueError) as error:
                goes_well = self._tries.trouble(f"cancelling {record.intent.client_id}", error)
            except LedgerUnavailable as error:
                self._tries.without_ledger(error)
        return goes_well

    async def _call_back(self, record: OrderRecord) -> None:
        intent = record.intent
        if record.state is OrderState.INTENT and intent.due_ms > self._clock.now_ms():
            self._executor.abandon(intent, "not sent: the book is in the emergency protocol")
        elif not intent.reduce_only and (report := await self._exchange.cancel(intent)) is not None:
            self._ledger.advance_order(report)
            self._log.step(f"{intent.symbol}: the entry {intent.client_id} is {report.state.value}")

    async def settle_entries(self) -> bool:
        """Whether nothing but stops can still reach the venue. Raises `LedgerUnavailable`, `LeaseLost`."""
        settled = True
        for record in self._unfinished(stops=False):
            settled = await self._settle(record) and settled
        return settled

    async def _settle(self, record: OrderRecord) -> bool:
        """Whether the fate of an order is known now; one that never arrived is not sent again."""
        what = f"settling {record.intent.client_id}"
        work = self._executor.settle(record, _refuse, patience_s=PATIENCE_S)
        settled = await self._tries.asked(what, work)
        if settled is None or not settled.state.is_final:
            return False
        self._log.step(f"{settled.intent.symbol}: {settled.intent.client_id} is {settled.state.value}")
        return True

    async def cancel_stops(self) -> bool:
        """Whether no stop of the book rests any more. Raises `LedgerUnavailable`, `LeaseLost`."""
        cancelled = True
        for record in self._unfinished(stops=True):
            if record.state is not OrderState.OPEN:
                cancelled = await self._settle(record) and cancelled
                continue
            ended = await self._tries.asked(f"cancelling the stop {record.intent.client_id}", self._cancelled(record))
            if ended is None or not ended.state.is_final:
                cancelled = False
                continue
            self._log.step(f"{record.intent.symbol}: the stop {record.intent.client_id} is {ended.state.value}")
        return cancelled

    async def cancel_left_over(self, client_id: str) -> bool:
        """Whether an order that rests although all are thought to have ended was the ledger's, and is cancelled now."""
        record = self._ledger.order(client_id)
        if record is None:
            return False
        self._log.step(f"{record.intent.symbol}: {client_id} is {record.state.value} and rests all the same: it is cancelled")
        await self._tries.asked(f"cancelling {client_id}", self._executor.cancel(record))
        return True

    async def _cancelled(self, stop: OrderRecord) -> OrderRecord:
        """A stop after its cancellation. Raises what the venue answers, unless it does not list the stop any more."""
        intent = stop.intent
        try:
            return await self._executor.cancel(stop)
        except (DataError, VenueRejected) as error:
            if any(report.client_id == intent.client_id for report, _ in await self._exchange.open_orders()):
                raise
            # Nothing is held and it does not rest: whatever the venue means, it has nothing left to do.
            reason = f"not listed among what rests ({error})"
            return self._ledger.advance_order(
                OrderReport(intent.client_id, intent.symbol, OrderState.CANCELLED, stop.filled, reason=reason)
            )

    def _unfinished(self, *, stops: bool) -> list[OrderRecord]:
        """Unfinished orders, stops or all others; none while the ledger is away, which `_finish` finds out."""
        try:
            orders = self._ledger.orders(self._book, unfinished=True)
        except LedgerUnavailable as error:
            self._tries.without_ledger(error)
            return []
        return [record for record in orders if (record.intent.kind is OrderKind.STOP) == stops]


def _refuse(intent: OrderIntent) -> ApprovedOrder:
    raise NotApproved(f"{intent.symbol}: the book is in the emergency protocol")
