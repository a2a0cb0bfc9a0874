"""The exchange behind the lease: nothing is sent or cancelled by a process that may have lost its book.

A process that was stopped and woke up again does not know how long it slept. Before each change the lease is looked at; where
it has run out the ledger is asked. Where the ledger cannot answer, only what reduces a position goes out: it cannot open
anything, whoever else may be trading. Questions are always allowed. A change that is cut off may still arrive: the lease is
not given back after it, so that whoever comes next comes when it has died.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from shared.domain.errors import LedgerUnavailable
from shared.domain.money import SymbolRules
from shared.domain.orders import Account, Fill, OrderIntent, OrderKind, OrderReport
from shared.domain.records import FundingPayment
from shared.ports import Exchange
from shared.risk.approval import ApprovedOrder
from shared.trading.lease_holder import LeaseHolder


class FencedExchange:
    """An `Exchange` whose changes ask the holder of the lease first, who raises `LeaseLost` or `LedgerUnavailable`."""

    def __init__(self, exchange: Exchange, holder: LeaseHolder) -> None:
        self._exchange = exchange
        self._holder = holder

    async def send(self, order: ApprovedOrder) -> OrderReport:
        """Place an order; see the port. Raises `LeaseLost` before anything is sent."""
        self._check(reduces=order.intent.reduce_only)
        with self._on_its_way():
            return await self._exchange.send(order)

    async def cancel(self, intent: OrderIntent) -> OrderReport | None:
        """Cancel an order; see the port. Raises `LeaseLost` before anything is sent."""
        self._check(reduces=not intent.reduce_only)  # without the ledger an entry may be called back, a stop may not
        with self._on_its_way():
            return await self._exchange.cancel(intent)

    async def prepare(self, symbols: Iterable[str], leverage: int) -> None:
        """Verify the account's settings; see the port."""
        self._holder.check()
        await self._exchange.prepare(symbols, leverage)

    async def server_time_ms(self) -> int:
        """The venue's clock."""
        return await self._exchange.server_time_ms()

    async def rules(self, symbols: Iterable[str]) -> Mapping[str, SymbolRules]:
        """What the venue accepts."""
        return await self._exchange.rules(symbols)

    async def account(self) -> Account:
        """Balances and positions now."""
        return await self._exchange.account()

    async def find(self, intent: OrderIntent) -> OrderReport | None:
        """The order with the intent's client id."""
        return await self._exchange.find(intent)

    async def open_orders(self) -> Sequence[tuple[OrderReport, OrderKind]]:
        """Every resting order of the account."""
        return await self._exchange.open_orders()

    async def fills(self, symbol: str, since_ms: int) -> list[Fill]:
        """Executions of a symbol."""
        return await self._exchange.fills(symbol, since_ms)

    async def funding_paid(self, since_ms: int) -> list[FundingPayment]:
        """Funding entries of the account."""
        return await self._exchange.funding_paid(since_ms)

    async def close(self) -> None:
        """Release connections."""
        await self._exchange.close()

    @contextmanager
    def _on_its_way(self) -> Iterator[None]:
        try:
            yield
        except asyncio.CancelledError:
            self._holder.keep()
            raise

    def _check(self, *, reduces: bool) -> None:
        try:
            self._holder.check()
        except LedgerUnavailable:
            if not reduces:
                raise
