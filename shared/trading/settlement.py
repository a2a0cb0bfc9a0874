"""Everything that is open is settled and every position explained, with as few questions to the venue as that takes.

    what rests: foreign orders, our stops -> orders whose fate is open -> positions -> foreign positions -> funding -> balance

In full it begins with the stops, one list for all of them: what is bare is known whatever else the venue does not answer. While
the user stream is trusted a step asks nothing here: book and account are compared, and only a difference is a question.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial

from shared.domain.errors import UNANSWERED, LedgerError, OstError
from shared.domain.orders import Account
from shared.ports import Exchange
from shared.trading.balance import Balance
from shared.trading.book import AccountState, BookState, differing
from shared.trading.follow_up import FollowUp
from shared.trading.order_desk import OrderDesk
from shared.trading.reconciliation import Reconciler
from shared.trading.side_by_side import side_by_side

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
        self._resting: Collection[str] | None = None
        """client ids of what rests at the venue, where it has told in this reconciliation"""
        self.unsettled: dict[str, str] = {}
        """parts of the last reconciliation that have failed, and why"""

    async def before_step(self, *, trusted: bool) -> None:
        """What is open is settled and what differs is explained; `trusted`: the account as it is known may be believed.

        Raises what ledger, lease and venue raise.
        """
        if self._book.open_questions():
            await self._desk.settle(await self._exchange.account())
        if not (trusted and self._account.known) or differing(self._book, self._account, self._symbols):
            await self.positions()
        asking = {record.intent.symbol for record in self._book.open_questions()}.union(self._desk.bare)
        if asking:
            await side_by_side([self._tend(symbol) for symbol in self._symbols if symbol in asking])
        for symbol in self._symbols:  # one after the other: whoever has no question asks nobody
            if symbol not in asking:
                await self._tend(symbol)

    async def _tend(self, symbol: str) -> None:
        await self._reconciler.alone(symbol, partial(self._follow_up.tend, [symbol]))

    async def reconcile(self, *, full: bool) -> None:
        """Orders first, then positions, funding and foreign orders; what nothing explains freezes its symbol.

        With `full` also the stops that rest at the venue are confirmed. The account is known from then on. Raises what ledger,
        lease and venue raise about orders and positions; the other parts fail by themselves (`unsettled`).
        """
        hung = await self.confirm_stops() if full else ""
        if full or self._book.open_questions():
            await self._desk.settle(await self._exchange.account())
        if full:
            self._reconciler.expect_unbooked(self._symbols)
        account = await self.positions()
        self._reconciler.take_note()
        if full:
            self._reconciler.find_foreign_positions(self._symbols, account)
            self._reconciler.excess.look(self._desk.rules)
        await self._settle_parts((FUNDING, BALANCE) if full else (FUNDING, FOREIGN_ORDERS), hung)

    async def confirm_stops(self) -> str:
        """Stops that are no more are known by their absence from the list; why there was none in time, else empty.

        Raises `VenueUnreachable` where the venue tells of a stop in no way, and what ledger and lease raise.
        """
        self._resting = None
        hung = await self._settle_parts([FOREIGN_ORDERS])
        try:
            await self._reconciler.confirm_stops(self._resting)
        finally:
            self._book.changed()
        return hung

    async def _list_resting(self) -> None:
        self._resting = await self._reconciler.find_foreign_orders()

    async def settle_rest(self) -> None:
        """Try again what has failed in the last reconciliation. Raises what the ledger raises."""
        await self._settle_parts([part for part in PARTS if part in self.unsettled])

    async def book_funding(self) -> None:
        """Bring new funding into the ledger, now or with `settle_rest`. Raises what the ledger raises."""
        await self._settle_parts([FUNDING])

    async def _settle_parts(self, parts: Sequence[str], hangs: str = "") -> str:
        """Parts that decide about nothing that is traded now; after one that hangs (its error) the others wait."""
        work: dict[str, Callable[[], Awaitable[object]]] = {
            FUNDING: self._reconciler.book_funding,
            FOREIGN_ORDERS: self._list_resting,
            BALANCE: self._balance.settle,
        }
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
                hangs = str(error) if isinstance(error, UNANSWERED) else ""
            else:
                self.unsettled.pop(part, None)
        return hangs

    async def positions(self) -> Account:
        """A snapshot of the account, every position of it explained or its symbol frozen."""
        account = await self._exchange.account()
        self._account.snapshot(account)
        if self._reconciler.untold or differing(self._book, self._account, self._symbols):
            try:
                await self._reconciler.settle_positions(self._symbols, account)
            finally:
                self._book.changed()
        return account
