"""Everything that is open is settled and every position explained, with as few questions to the venue as that takes.

    orders whose fate is open -> positions -> funding -> foreign orders; in full also resting stops, foreign positions, balance

While the user stream is trusted a step asks nothing here: book and account are compared, and only a difference is a question.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from shared.domain.errors import LedgerError, OstError, OutcomeUnknown, RateLimited, VenueUnreachable
from shared.domain.orders import Account
from shared.ports import Exchange
from shared.trading.balance import Balance
from shared.trading.book import AccountState, BookState, differing
from shared.trading.follow_up import FollowUp
from shared.trading.order_desk import OrderDesk
from shared.trading.reconciliation import Reconciler

FUNDING, FOREIGN_ORDERS, BALANCE = "funding", "foreign orders", "balance"
PARTS = (FUNDING, FOREIGN_ORDERS, BALANCE)
"""Parts of a reconciliation that no decision waits for; the last one only in full"""


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
        self.unsettled: dict[str, str] = {}
        """parts of the last reconciliation that have failed, and why"""

    async def before_step(self, *, trusted: bool) -> None:
        """What is open is settled and what differs is explained; `trusted`: the account as it is known may be believed.

        Raises what ledger, lease and venue raise.
        """
        if self._book.open_questions():
            await self._desk.settle(await self._exchange.account(), resting=False)
        if not (trusted and self._account.known) or differing(self._book, self._account, self._symbols):
            await self.positions()
        for symbol in self._symbols:
            await self._reconciler.alone(symbol, self._follow_up.tend([symbol]))

    async def reconcile(self, *, full: bool) -> None:
        """Orders first, then positions, funding and foreign orders; what nothing explains freezes its symbol.

        With `full` also the stops that rest at the venue are asked for, one by one. The account is known from then on. Raises
        what ledger, lease and venue raise about orders and positions; the other parts fail by themselves (`unsettled`).
        """
        if full or self._book.open_questions():
            await self._desk.settle(await self._exchange.account(), resting=full)
        account = await self.positions()
        self._reconciler.take_note()
        if full:
            self._reconciler.find_foreign_positions(self._symbols, account)
            self._reconciler.excess.look(self._desk.rules)
        await self._settle_parts(PARTS if full else PARTS[:2])

    async def settle_rest(self) -> None:
        """Try again what has failed in the last reconciliation. Raises what the ledger raises."""
        await self._settle_parts([part for part in PARTS if part in self.unsettled])

    async def book_funding(self) -> None:
        """Bring new funding into the ledger, now or with `settle_rest`. Raises what the ledger raises."""
        await self._settle_parts([FUNDING])

    async def _settle_parts(self, parts: Sequence[str]) -> None:
        """Parts that decide about nothing that is traded now; after one that hangs the others are left for later."""
        work: dict[str, Callable[[], Awaitable[object]]] = {
            FUNDING: self._reconciler.book_funding,
            FOREIGN_ORDERS: self._reconciler.find_foreign_orders,
            BALANCE: self._balance.settle,
        }
        hangs = ""
        for part in parts:
            if hangs:
                self.unsettled.setdefault(part, hangs)
                continue
            try:
                await work[part]()
            except LedgerError:
                raise
            except OstError as error:
                self.unsettled[part] = str(error)
                hangs = str(error) if isinstance(error, VenueUnreachable | OutcomeUnknown | RateLimited) else ""
            else:
                self.unsettled.pop(part, None)

    async def positions(self) -> Account:
        """A snapshot of the account, every position of it explained or its symbol frozen."""
        account = await self._exchange.account()
        self._account.snapshot(account)
        if self._reconciler.unread or differing(self._book, self._account, self._symbols):
            try:
                await self._reconciler.settle_positions(self._symbols, account)
            finally:
                self._book.changed()
        return account
