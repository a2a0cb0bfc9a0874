"""Everything that is open is settled and every position explained, with as few questions to the venue as that takes.

    orders whose fate is open -> positions -> funding -> foreign orders; in full also resting stops, foreign positions, balance

While the user stream is trusted a step asks nothing here: book and account are compared, and only a difference is a question.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.domain.orders import Account
from shared.ports import Exchange
from shared.trading.balance import Balance
from shared.trading.book import AccountState, BookState, differing
from shared.trading.follow_up import FollowUp
from shared.trading.order_desk import OrderDesk
from shared.trading.reconciliation import Reconciler


class Settlement:
    """Settles the book of one session against its account."""

    def __init__(
        self,
        *,
        exchange: Exchange,
        symbols: Sequence[str],
        book: BookState,
        account: AccountState,
        desk: OrderDesk,
        follow_up: FollowUp,
        reconciler: Reconciler,
        balance: Balance,
    ) -> None:
        self._exchange = exchange
        self._symbols = symbols
        self._book = book
        self._account = account
        self._desk = desk
        self._follow_up = follow_up
        self._reconciler = reconciler
        self._balance = balance

    async def before_step(self, *, trusted: bool) -> None:
        """What is open is settled and what differs is explained; `trusted`: the account as it is known may be believed.

        Raises what ledger, lease and venue raise.
        """
        if self._book.open_questions():
            await self._desk.settle(await self._exchange.account(), resting=False)
        if not (trusted and self._account.known) or differing(self._book, self._account, self._symbols):
            await self.positions()
        await self._follow_up.tend(self._symbols)

    async def reconcile(self, *, full: bool) -> None:
        """Orders first, then positions, funding and foreign orders; what nothing explains freezes its symbol.

        With `full` also the stops that rest at the venue are asked for, one by one. The account is known from then on.
        """
        if full or self._book.open_questions():
            await self._desk.settle(await self._exchange.account(), resting=full)
        account = await self.positions()
        await self._reconciler.book_funding()
        await self._reconciler.find_foreign_orders()
        if full:
            self._reconciler.find_foreign_positions(self._symbols, account)
            await self._balance.settle()

    async def positions(self) -> Account:
        """A snapshot of the account, every position of it explained or its symbol frozen."""
        account = await self._exchange.account()
        self._account.snapshot(account)
        if differing(self._book, self._account, self._symbols):
            try:
                await self._reconciler.settle_positions(self._symbols, account)
            finally:
                self._book.changed()
        return account
