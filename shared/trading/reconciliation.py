"""Ledger = exchange, or the symbol freezes with the exact difference.

The ledger's position of a symbol is the sum of its fills. Where the venue reports another one, the missing fills are
fetched; a fill that the venue made itself (liquidation, deleveraging, settlement) is booked and latches the symbol; a fill
or a difference that nothing of ours explains freezes it. A difference is looked at twice, past a grace period, before it
counts: of two answers the later one may be the older. Source: design/failures.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from shared.domain.errors import DataError, VenueError, VenueRejected
from shared.domain.ids import book_tag
from shared.domain.interval import DAY_MS
from shared.domain.money import ZERO
from shared.domain.orders import Account, Fill, OrderKind, OrderRecord, OrderReport, OrderState
from shared.domain.records import Halt
from shared.ports import Clock, Exchange, ExitJournal, Ledger
from shared.trading.excess_report import ExcessReport
from shared.trading.execution import Approve, Executor
from shared.trading.execution_params import ExecutionParams
from shared.trading.own_position import OwnPosition, is_venue_made
from shared.trading.side_by_side import side_by_side

LOOK_AGAIN_S = 2.0
"""pause between the two looks that a difference has to be seen in before it counts"""
NEWEST = 20
"""orders of a symbol that are compared with what is booked of them when a process begins"""
FILL_LOOKS = 5
"""times that the executions of a filled order are asked for"""
UNKNOWN_SYMBOL = frozenset({-1121, -1122})
"""codes with which a venue refuses every question about a symbol, and about no other one"""
LOOK_BACK_MS = DAY_MS
"""How far before the newest known execution the first question of a process begins."""


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

    def __init__(
        self,
        exchange: Exchange,
        ledger: Ledger,
        clock: Clock,
        executor: Executor,
        book: str,
        since_ms: int,
        params: ExecutionParams | None = None,
        exits: ExitJournal | None = None,
    ) -> None:
        """`exits` holds orders of the book that are not in the ledger yet."""
        self._exits = exits
        self._exchange = exchange
        self._ledger = ledger
        self._clock = clock
        self._executor = executor
        self._book = book
        self._since_ms = since_ms
        self._params = params or ExecutionParams()
        self._complete_ms: dict[str, int] = {}
        """by symbol: up to here every execution was asked for by REST"""
        self.excess = ExcessReport(ledger, clock, book)
        self.own = OwnPosition(exchange, book, since_ms)
        """for when the ledger is away"""
        self.unread: dict[str, int] = {}
        """by symbol: since when (ms) what the venue says about it, and about no other one, cannot be read"""
        self._unlisted: dict[str, int] = {}
        """by symbol: since when (ms) its executions cannot be had, whatever keeps them back"""
        self.listening = False
        """whether a user stream is believed, which has to tell of every execution"""
        self.unheard: dict[tuple[str, str], int] = {}
        """(symbol, trade id) of executions that REST has told and the user stream has not, and since when (ms)"""

    async def confirm_stops(self, resting: Collection[str] | None) -> None:
        """Establish the fate of the stops that the ledger takes for resting; raises where the venue says nothing of one.

        `resting`: client ids of what the venue lists, which are asked for no more; `None` where it gives no list.
        """
        stops = [
            record
            for record in self._ledger.orders(self._book, unfinished=True)
            if record.intent.kind is OrderKind.STOP and record.state is OrderState.OPEN
        ]
        self._executor.forget_but({stop.intent.client_id for stop in stops})
        questions = []
        for stop in stops:
            if resting is not None and stop.intent.client_id in resting:
                self._executor.trust(stop.intent.client_id)
            else:
                work = partial(self._confirm, stop, unlisted=resting is not None)
                questions.append(self.alone(stop.intent.symbol, work))
        await side_by_side(questions)

    async def _confirm(self, stop: OrderRecord, *, unlisted: bool) -> None:
        settled = await self._executor.confirm(stop, unlisted=unlisted)
        if settled.filled > 0:
            await self.book_fills(stop.intent.symbol)

    async def settle_orders(self, approve: Approve | None) -> None:
        """Establish the fate of every unfinished order but resting stops; the symbols side by side."""
        by_symbol = defaultdict[str, list[OrderRecord]](list)
        for record in self._ledger.orders(self._book, unfinished=True):
            if not (record.intent.kind is OrderKind.STOP and record.state is OrderState.OPEN):
                by_symbol[record.intent.symbol].append(record)
        await side_by_side(self._settle_symbol(records, approve) for records in by_symbol.values())

    async def _settle_symbol(self, records: Sequence[OrderRecord], approve: Approve | None) -> None:
        for record in records:
            if not (self.abandon_orphan(record) or self._is_waiting(record)):
                await self.alone(record.intent.symbol, partial(self._settle_order, record, approve))

    async def _settle_order(self, record: OrderRecord, approve: Approve | None) -> None:
        if record.intent.kind is OrderKind.STOP and record.state is OrderState.INTENT:
            # Its market leg may be known as filled while the fills are not booked yet: the stop would protect nothing.
            await self.book_fills(record.intent.symbol)
        settled = await self._executor.settle(record, approve, patience_s=self._params.answer_patience_s)
        if settled.filled > 0:
            # Booked at once: whether the next order may go out (a stop, say) depends on the position.
            await self.book_fills(record.intent.symbol)

    async def alone(self, symbol: str, work: Callable[[], Awaitable[object]]) -> None:
        """Work for one symbol, by which no other one is held up: what cannot be read about it freezes it, past a bound."""
        try:
            await work()
        except (DataError, VenueRejected) as error:
            if isinstance(error, VenueRejected) and error.code not in UNKNOWN_SYMBOL:
                raise
            now_ms = self._clock.now_ms()
            if symbol not in self.unread:
                self._ledger.log(self._book, "reconciliation", "warning", f"{symbol}: {error}", now_ms)
            since_ms = self.unread.setdefault(symbol, now_ms)
            if now_ms - since_ms >= self._params.query_bound_s * 1000:
                self._halt(symbol, "what the venue says about it cannot be read", since_ms=since_ms)

    @property
    def untold(self) -> dict[str, int]:
        """By symbol: since when (ms) the venue does not tell, or not readably, what was done in it."""
        symbols = {*self._unlisted, *self.unread}
        return {symbol: min(known[symbol] for known in (self._unlisted, self.unread) if symbol in known) for symbol in symbols}

    def expect_unbooked(self, symbols: Iterable[str]) -> None:
        """Symbols whose newest orders have filled more than is booked are asked about, though their positions may agree.

        An earlier process could not read the executions; those that have cancelled each other out are profit and fees still.
        """
        for symbol in symbols:
            filled = [record for record in self._ledger.orders(self._book, symbol=symbol, limit=NEWEST) if record.filled > 0]
            fills = self._ledger.fills(self._book, symbol=symbol, limit=2 * NEWEST) if filled else []
            for record in filled:  # one whose executions are further back, or under the venue's id, is asked about in vain
                if record.filled > _total(fill for fill in fills if fill.client_id == record.intent.client_id):
                    self._unlisted.setdefault(symbol, self._clock.now_ms())

    def unread_since(self, earlier: Mapping[str, int]) -> None:
        """Since when (ms) an earlier process could not read the symbols: one that cannot be read yet, never could meanwhile."""
        self.unread |= {symbol: min(since_ms, earlier.get(symbol, since_ms)) for symbol, since_ms in self.unread.items()}

    def _is_waiting(self, record: OrderRecord) -> bool:
        """Whether it is a slice whose time has not come."""
        return record.state is OrderState.INTENT and record.intent.due_ms > self._clock.now_ms()

    def abandon_orphan(self, record: OrderRecord) -> bool:
        """End a stop that was not sent because the market leg of its decision ended without a fill; whether it was one.

        Its size is that of a position that was never reached: sent later, it would replace the stop of the one that is held.
        """
        if record.intent.kind is not OrderKind.STOP or record.state is not OrderState.INTENT:
            return False
        legs = self._ledger.orders(self._book, decision_id=record.intent.decision_id)
        # All of them: where one was filled, a stop may have been sent by a process that was killed before it could say so.
        if not all(leg.state.is_final and leg.filled == 0 for leg in legs if leg.intent.kind is not OrderKind.STOP):
            return False
        self._executor.abandon(record.intent, "not sent: the market leg of its decision ended without a fill")
        return True

    async def settle_positions(self, symbols: Iterable[str], account: Account) -> list[Difference]:
        """Fetch what explains each difference; freeze the symbols where nothing does and return those differences.

        What is left is looked at again past a grace period. Where executions came meanwhile, an order is being filled and the
        account is older than they are: the next comparison tells.
        """
        left = await self._differences(list(symbols), account)
        if not left:
            return []
        await self._clock.sleep(LOOK_AGAIN_S)
        before = {difference.symbol: self._held(difference.symbol) for difference in left}
        left = await self._differences(list(before), await self._exchange.account())
        lasting = [difference for difference in left if difference.ledger == before[difference.symbol]]
        for difference in lasting:
            self._halt(difference.symbol, f"position differs: {difference}")
        return lasting

    def find_foreign_positions(self, symbols: Iterable[str], account: Account) -> list[Difference]:
        """Report positions of the account in symbols that are not traded here and that this book knows nothing of."""
        ours = {*symbols, *self._ledger.positions(self._book)}
        foreign = [Difference(p.symbol, ZERO, p.quantity) for p in account.positions if p.symbol not in ours and p.quantity]
        for difference in foreign:
            self._halt(difference.symbol, f"foreign position: {difference}")
        return foreign

    async def book_fills_of(self, record: OrderRecord) -> list[Fill]:
        """Bring the executions of an order into the ledger, asking again while the venue lists fewer than it has filled.

        Where a stream has told all of them nobody is asked.
        """
        intent, pause_s = record.intent, self._params.query_backoff_s
        booked: list[Fill] = []
        for attempt in range(FILL_LOOKS if record.filled > 0 else 0):
            if _total(self._ledger.fills(self._book, client_id=intent.client_id)) >= record.filled:
                break
            if attempt > 0:
                await self._clock.sleep(pause_s)
                pause_s *= 2
            booked += await self.book_fills(intent.symbol)
            if _total(fill for fill in booked if fill.client_id == intent.client_id) >= record.filled:
                break
        return booked

    async def book_fills(self, symbol: str) -> list[Fill]:
        """Bring the symbol's new executions into the ledger; freeze it where one is not ours."""
        since = self._complete_ms.get(symbol)
        if since is None:
            # What a stream has told may have gaps before it: the first question of a process looks back further.
            known = self._ledger.fills(self._book, symbol=symbol, limit=1)
            since = max(self._since_ms, known[-1].time_ms - LOOK_BACK_MS) if known else self._since_ms
        try:
            fills = await self._exchange.fills(symbol, since)
        except (DataError, VenueError):
            self._unlisted.setdefault(symbol, self._clock.now_ms())
            raise
        booked = self.booked(symbol, fills)
        if self.listening:
            self.unheard |= {(symbol, fill.trade_id): self._clock.now_ms() for fill in booked}
        self._complete_ms[symbol] = max([since, *(fill.time_ms for fill in fills)])
        self.unread.pop(symbol, None)
        self._unlisted.pop(symbol, None)
        return booked

    def booked(self, symbol: str, fills: Sequence[Fill]) -> list[Fill]:
        """Book executions that the venue has told, by REST or by stream; the new ones. Freezes where one is not ours."""
        ours = [fill for fill in fills if self._is_ours(fill) or is_venue_made(fill)]
        booked = self._ledger.add_fills(self._book, ours)
        self.own.booked(booked)
        for fill in booked:
            if is_venue_made(fill):
                self._halt(symbol, f"the venue closed {fill.quantity} at {fill.price} by itself ({fill.client_id})")
        for fill in fills:
            if fill.foreign_fee:
                reason = (
                    f"the fee {fill.foreign_fee} of execution {fill.trade_id} is not in the books: "
                    "switch off fees in that currency at the venue, then resume"
                )
                self._halt(symbol, reason, since_ms=fill.time_ms)
            if fill not in ours:
                # Since the execution: a halt that a person has lifted does not come back with the same execution.
                reason = f"foreign execution {fill.trade_id}: {fill.side} {fill.quantity} at {fill.price}"
                self._halt(symbol, reason, since_ms=fill.time_ms)
        return booked

    async def told_of_unknown(self, report: OrderReport, fill: Fill | None) -> list[Fill]:
        """The stream tells of an order that the ledger does not know; the executions that were booked.

        It may be what a stop of ours has become, so nobody is taken for a stranger before the venue was asked what rests and
        what was executed. What it does not answer now the next reconciliation asks.
        """
        try:
            if fill is None:
                if report.state is OrderState.OPEN and not self._is_frozen(report.symbol):
                    await self.find_foreign_orders()
                return []
            if self._unfinished_stops(report.symbol):
                return await self._book_all(report.symbol)
        except (DataError, VenueError) as error:
            told = f"{report.symbol}: it is not known yet whose order {report.client_id} is: {error}"
            self._ledger.log(self._book, "reconciliation", "warning", told, self._clock.now_ms())
            return []
        known = self._ledger.fills(self._book, symbol=report.symbol, trade_id=fill.trade_id)
        return [] if known else self.booked(report.symbol, [fill])

    def _is_frozen(self, symbol: str) -> bool:
        halts = self._ledger.halts(self._book, self._clock.now_ms())
        return any(halt.symbol == symbol and halt.until_ms is None for halt in halts)

    def _unfinished_stops(self, symbol: str) -> list[OrderRecord]:
        return [
            record
            for record in self._ledger.orders(self._book, unfinished=True)
            if record.intent.symbol == symbol and record.intent.kind is OrderKind.STOP
        ]

    def listen(self, *, trusted: bool) -> None:
        """Whether the user stream is believed from now on; what it missed before is known by reconciliation."""
        if trusted != self.listening:
            self.unheard.clear()
        self.listening = trusted

    def heard(self, fill: Fill) -> None:
        """The user stream has told of an execution."""
        self.unheard.pop((fill.symbol, fill.trade_id), None)

    def take_note(self) -> None:
        """All was settled just now: remember what is held, for when the ledger is away."""
        self.own.note(self._ledger, self._clock.now_ms())

    async def book_funding(self) -> int:
        """Bring new funding entries into the ledger."""
        known = self._ledger.funding(self._book, limit=1)
        since = known[-1].time_ms if known else self._since_ms
        return self._ledger.add_funding(self._book, await self._exchange.funding_paid(since))

    async def find_foreign_orders(self) -> set[str]:
        """Freeze the symbol of every resting order that this book did not place; returns the client ids of all that rest.

        One of its own that the ledger takes for ended is cancelled: it would close another position than the one that it is of.
        """
        resting = [report for report, _ in await self._exchange.open_orders()]
        for report in resting:
            record = self._ledger.order(report.client_id)
            if record is None:
                if not self._is_journalled(report.client_id):
                    self.found_foreign(report)
            elif record.state.is_final:
                told = f"{report.symbol}: {report.client_id} is {record.state.value} and rests all the same: it is cancelled"
                self._ledger.log(self._book, "reconciliation", "warning", told, self._clock.now_ms())
                await self._executor.cancel(record)
        return {report.client_id for report in resting}

    def _is_journalled(self, client_id: str) -> bool:
        """Whether an order is an exit that was sent while the ledger was away and is not taken over yet."""
        return self._exits is not None and any(intent.client_id == client_id for intent in self._exits.pending())

    def found_foreign(self, report: OrderReport) -> None:
        """Freeze the symbol of an order that rests at the venue and is not this book's."""
        self._halt(report.symbol, f"foreign order {report.client_id} rests on the account")

    def _is_ours(self, fill: Fill) -> bool:
        return fill.client_id is not None and fill.client_id.startswith(book_tag(self._book))

    async def _differences(self, symbols: Sequence[str], account: Account) -> list[Difference]:
        """Positions that differ from `account` after everything that the venue lists was booked.

        Where executions could not be had there may be some that have cancelled each other out: they are asked for as well.
        """
        differing = [symbol for symbol in symbols if self._difference(symbol, account) is not None]
        asked = dict.fromkeys((*differing, *self.untold))
        await side_by_side([self.alone(symbol, partial(self._book_all, symbol)) for symbol in asked])
        left = [self._difference(symbol, account) for symbol in differing if symbol not in self.unread]
        return [difference for difference in left if difference is not None]

    async def _book_all(self, symbol: str) -> list[Fill]:
        for stop in self._unfinished_stops(symbol):
            await self._executor.settle(stop, None, patience_s=self._params.answer_patience_s)
        return await self.book_fills(symbol)

    def _difference(self, symbol: str, account: Account) -> Difference | None:
        ledger, venue = self._held(symbol), account.position(symbol)
        return None if ledger == venue else Difference(symbol, ledger, venue)

    def _held(self, symbol: str) -> Decimal:
        position = self._ledger.positions(self._book).get(symbol)
        return position.quantity if position else ZERO

    def _halt(self, symbol: str, reason: str, since_ms: int | None = None) -> None:
        now_ms = self._clock.now_ms()
        if self._is_halted(symbol, reason, now_ms):
            return
        self._ledger.set_halt(Halt(self._book, reason, now_ms if since_ms is None else min(since_ms, now_ms), None, symbol))
        if self._is_halted(symbol, reason, now_ms):
            self._ledger.log(self._book, "reconciliation", "warning", f"{symbol} is frozen: {reason}", now_ms)

    def _is_halted(self, symbol: str, reason: str, now_ms: int) -> bool:
        return any(halt.symbol == symbol and halt.reason == reason for halt in self._ledger.halts(self._book, now_ms))


def _total(fills: Iterable[Fill]) -> Decimal:
    return sum((fill.quantity for fill in fills), ZERO)
