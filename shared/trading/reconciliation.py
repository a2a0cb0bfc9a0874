"""Ledger = exchange, or the symbol freezes with the exact difference.

The ledger's position of a symbol is the sum of its fills. Where the venue reports another one, the missing fills are
fetched; a fill that the venue made itself (liquidation, deleveraging, settlement) is booked and latches the symbol; a fill
or a difference that nothing of ours explains freezes it. Source: design/failures.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from shared.domain.ids import book_tag
from shared.domain.orders import Account, Fill, OrderKind, OrderRecord, OrderState
from shared.domain.records import Halt
from shared.ports import Clock, Exchange, Ledger
from shared.trading.execution import Approve, Executor

VENUE_CLIENT_IDS = ("autoclose-", "adl_autoclose", "settlement_autoclose-", "delivery_autoclose-")
"""Client ids of the orders that Binance makes by itself: liquidation, deleveraging, settlement."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A position that ledger and venue see differently, base units."""

    symbol: str
    ledger: Decimal
    venue: Decimal

    def __str__(self) -> str:
        return f"{self.symbol}: the ledger holds {self.ledger}, the venue {self.venue} (difference {self.venue - self.ledger})"


class Reconciler:
    """Keeps the ledger of one book equal to the account."""

    def __init__(self, exchange: Exchange, ledger: Ledger, clock: Clock, executor: Executor, book: str, since_ms: int) -> None:
        self._exchange = exchange
        self._ledger = ledger
        self._clock = clock
        self._executor = executor
        self._book = book
        self._since_ms = since_ms

    async def settle_orders(self, approve: Approve | None, *, resting: bool) -> None:
        """Establish the fate of every unfinished order; of resting stops only where `resting` is set."""
        for record in self._ledger.orders(self._book, unfinished=True):
            is_resting_stop = record.intent.kind is OrderKind.STOP and record.state is OrderState.OPEN
            if self.abandon_orphan(record):
                continue
            if record.intent.kind is OrderKind.STOP and record.state is OrderState.INTENT:
                # Its market leg may be known as filled while the fills are not booked yet: the stop would protect nothing.
                await self.book_fills(record.intent.symbol)
            if resting or not is_resting_stop:
                settled = await self._executor.settle(record, approve)
                if settled.filled > 0:
                    # Booked at once: whether the next order may go out (a stop, say) depends on the position.
                    await self.book_fills(record.intent.symbol)

    def abandon_orphan(self, record: OrderRecord) -> bool:
        """End a stop that was not sent because the market leg of its decision ended without a fill; whether it was one.

        Its size is that of a position that was never reached: sent later, it would replace the stop of the one that is held.
        """
        if record.intent.kind is not OrderKind.STOP or record.state is not OrderState.INTENT:
            return False
        legs = self._ledger.orders(self._book, decision_id=record.intent.decision_id)
        if not any(leg.intent.kind is not OrderKind.STOP and leg.state.is_final and leg.filled == 0 for leg in legs):
            return False
        self._executor.abandon(record.intent, "not sent: the market leg of its decision ended without a fill")
        return True

    async def settle_positions(self, symbols: Iterable[str], account: Account) -> list[Difference]:
        """Fetch what explains each difference; freeze the symbols where nothing does and return those differences."""
        unexplained = []
        known = self._ledger.positions(self._book)
        for symbol in symbols:
            if symbol in known and known[symbol].quantity == account.position(symbol):
                continue
            if symbol not in known and account.position(symbol) == 0:
                continue
            await self._settle_stops(symbol)
            await self.book_fills(symbol)
            difference = self._difference(symbol, account)
            if difference is not None:
                unexplained.append(difference)
                self._halt(symbol, f"position differs: {difference}")
        return unexplained

    async def book_fills(self, symbol: str) -> list[Fill]:
        """Bring the symbol's new executions into the ledger; freeze it where one is not ours."""
        known = self._ledger.fills(self._book, symbol=symbol)
        since = known[-1].time_ms if known else self._since_ms
        fills = await self._exchange.fills(symbol, since)
        ours = [fill for fill in fills if self._is_ours(fill) or _is_venue_made(fill)]
        booked = self._ledger.add_fills(self._book, ours)
        for fill in booked:
            if _is_venue_made(fill):
                self._halt(symbol, f"the venue closed {fill.quantity} at {fill.price} by itself ({fill.client_id})")
        for fill in fills:
            if fill not in ours:
                # Since the execution: a halt that a person has lifted does not come back with the same execution.
                reason = f"foreign execution {fill.trade_id}: {fill.side} {fill.quantity} at {fill.price}"
                self._halt(symbol, reason, since_ms=fill.time_ms)
        return booked

    async def book_funding(self) -> int:
        """Bring new funding entries into the ledger."""
        known = self._ledger.funding(self._book)
        since = known[-1].time_ms if known else self._since_ms
        return self._ledger.add_funding(self._book, await self._exchange.funding_paid(since))

    async def find_foreign_orders(self) -> list[str]:
        """Freeze the symbol of every resting order that this book did not place; returns their client ids."""
        foreign = []
        for report, _ in await self._exchange.open_orders():
            if self._ledger.order(report.client_id) is None:
                foreign.append(report.client_id)
                self._halt(report.symbol, f"foreign order {report.client_id} rests on the account")
        return foreign

    def _is_ours(self, fill: Fill) -> bool:
        return fill.client_id is not None and fill.client_id.startswith(book_tag(self._book))

    async def _settle_stops(self, symbol: str) -> None:
        for record in self._stops(symbol):
            await self._executor.settle(record, None)

    def _stops(self, symbol: str) -> list[OrderRecord]:
        unfinished = self._ledger.orders(self._book, unfinished=True)
        return [record for record in unfinished if record.intent.symbol == symbol and record.intent.kind is OrderKind.STOP]

    def _difference(self, symbol: str, account: Account) -> Difference | None:
        position = self._ledger.positions(self._book).get(symbol)
        ledger = position.quantity if position else Decimal(0)
        venue = account.position(symbol)
        return None if ledger == venue else Difference(symbol, ledger, venue)

    def _halt(self, symbol: str, reason: str, since_ms: int | None = None) -> None:
        now_ms = self._clock.now_ms()
        if self._is_halted(symbol, reason, now_ms):
            return
        self._ledger.set_halt(Halt(self._book, reason, now_ms if since_ms is None else min(since_ms, now_ms), None, symbol))
        if self._is_halted(symbol, reason, now_ms):
            self._ledger.log(self._book, "reconciliation", "error", f"{symbol} is frozen: {reason}", now_ms)

    def _is_halted(self, symbol: str, reason: str, now_ms: int) -> bool:
        return any(halt.symbol == symbol and halt.reason == reason for halt in self._ledger.halts(self._book, now_ms))


def _is_venue_made(fill: Fill) -> bool:
    return fill.client_id is not None and fill.client_id.startswith(VENUE_CLIENT_IDS)
