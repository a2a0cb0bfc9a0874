"""One round of the emergency protocol: entries called back, positions closed, and stops cancelled once nothing is held.

A round can fail or be killed anywhere and is simply done again. Only what the book's own fills explain is closed; what else
lies on the account is reported and left alone. Invariant: no stop is cancelled before the venue says that the book is flat and
nothing but stops can still reach it.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from shared.domain.errors import LeaseLost, LedgerError, LedgerUnavailable, StorageError
from shared.domain.ids import book_tag
from shared.domain.money import ZERO, SymbolRules
from shared.domain.orders import Account
from shared.ports import Clock, Exchange, Ledger
from shared.trading.emergency_exits import EmergencyExits
from shared.trading.emergency_log import EmergencyLog
from shared.trading.emergency_orders import EmergencyOrders, Tries
from shared.trading.execution import Executor
from shared.trading.holdings import Holdings
from shared.trading.proven_rules import proven_rules

UNSEEN_S = 5.0
"""How long the account may not answer before what the book holds is closed by its own executions alone: reduce-only, and no
more than that. The book is not called flat before the account has been seen"""
LAG_S = 10.0
"""How long a position may differ from the executions that are known of it before it is taken for somebody else's"""


class EmergencyRounds:
    """The rounds of one emergency."""

    def __init__(
        self,
        *,
        exchange: Exchange,
        ledger: Ledger,
        clock: Clock,
        executor: Executor,
        holdings: Holdings,
        exits: EmergencyExits,
        log: EmergencyLog,
        book: str,
        symbols: Sequence[str],
    ) -> None:
        self._exchange = exchange
        self._ledger = ledger
        self._clock = clock
        self._holdings = holdings
        self._exits = exits
        self._log = log
        self._book = book
        self._symbols = tuple(symbols)
        self._rules: dict[str, SymbolRules] = {}
        self._differs_ms: dict[str, int] = {}
        self._unseen_ms: int | None = None
        """since when the account has not been seen"""
        self._tries = Tries(log)
        self._orders = EmergencyOrders(exchange, ledger, clock, executor, log, self._tries, book)

    @property
    def log(self) -> EmergencyLog:
        """The record that is being written."""
        return self._log

    @property
    def wait_s(self) -> float:
        """How long the venue has asked to be left alone in the last round."""
        return self._tries.wait_s

    async def once(self) -> bool:
        """One try at everything that is left; whether it went well."""
        self._tries.begin()
        self._take_over_journal()
        goes_well = await self._orders.call_back_entries()
        account = await self._account()
        if account is None and not self._unseen_for_long():
            return False
        flat = True
        for symbol in self._all_symbols():
            is_flat, went_well = await self._flatten(symbol, account)
            flat, goes_well = flat and is_flat, goes_well and went_well
        settled = await self._orders.settle_entries()
        if account is None or not (flat and settled and goes_well):
            return account is not None and goes_well and settled
        # What was settled may have been filled meanwhile: only a second look says flat.
        account = await self._account()
        if account is None:
            return False
        for symbol in self._all_symbols():
            left = _left(await self._holdings.held(symbol, self._tries), account.position(symbol))
            if left and not self._is_dust(symbol, left):
                return True
        return self._tries.may_be_last and await self._orders.cancel_stops() and await self._finish(account)

    async def _account(self) -> Account | None:
        account = await self._tries.asked("the account", self._exchange.account())
        if account is not None:
            self._unseen_ms = None
        elif self._unseen_ms is None:
            self._unseen_ms = self._clock.now_ms()
        return account

    def _unseen_for_long(self) -> bool:
        """Whether the account has been silent for so long that what the book holds by its own executions is closed."""
        return self._unseen_ms is not None and self._clock.now_ms() - self._unseen_ms >= UNSEEN_S * 1000

    # --- positions ---------------------------------------------------------------------------------------------------------

    async def _flatten(self, symbol: str, account: Account | None) -> tuple[bool, bool]:
        """Whether nothing of the book is left in a symbol, and whether that went well."""
        held = await self._holdings.held(symbol, self._tries)
        there = held if account is None else account.position(symbol)
        left = _left(held, there)
        if left == 0:
            return self._is_explained(symbol, held, there), True
        rules = await self._rules_of(symbol)
        if rules is None:
            return False, False
        if self._is_dust(symbol, left):
            self._log.step(f"{symbol}: {left} is below what the venue accepts and stays as dust")
            return True, True
        try:
            fate = await self._tries.asked(f"closing {symbol}", self._exits.close(self._log.record.id, left, rules))
        except LeaseLost:
            raise
        except LedgerError as error:  # one symbol does not hold up the others
            return False, self._tries.trouble(f"closing {symbol}", error)
        if fate is None:
            return False, False
        self._log.step(fate)
        return False, True

    def _is_dust(self, symbol: str, left: Decimal) -> bool:
        return symbol in self._rules and self._rules[symbol].quantity(left) == 0

    def _is_explained(self, symbol: str, held: Decimal, there: Decimal) -> bool:
        """Whether ledger and venue agree; if not, for so long that it is not a matter of messages under way."""
        if held == there:
            self._differs_ms.pop(symbol, None)
            return True
        now_ms = self._clock.now_ms()
        if now_ms - self._differs_ms.setdefault(symbol, now_ms) < LAG_S * 1000:
            return False
        self._log.step(
            f"{symbol}: the account holds {_plain(there)}, this book {_plain(held)}; what is not the book's is left alone"
        )
        return True

    async def _rules_of(self, symbol: str) -> SymbolRules | None:
        if symbol not in self._rules:
            self._rules.update(await self._tries.asked(f"the rules of {symbol}", self._exchange.rules([symbol])) or {})
        return self._rules.get(symbol) or self._proven(symbol)

    def _proven(self, symbol: str) -> SymbolRules | None:
        """An emergency does not wait for what only says how finely may be ordered."""
        try:
            return proven_rules(self._ledger, self._book, symbol)
        except LedgerUnavailable as error:
            self._tries.without_ledger(error)
            return None

    # --- the end -----------------------------------------------------------------------------------------------------------

    async def _finish(self, account: Account) -> bool:
        resting = await self._tries.asked("the resting orders", self._exchange.open_orders())
        if resting is None:
            return False
        for report, _ in resting:
            if not report.client_id.startswith(book_tag(self._book)):
                self._log.step(f"{report.symbol}: the order {report.client_id} is not this book's and is left alone")
            elif await self._orders.cancel_left_over(report.client_id):
                return True  # whether anything else rests is seen in the next round
        closed = self._exits.closed(self._log.record.id, self._all_symbols())
        return self._log.finish("the book is flat and nothing of it rests", account.wallet, account.equity, closed)

    # --- what all of them need ---------------------------------------------------------------------------------------------

    def _all_symbols(self) -> list[str]:
        """The symbols of the session, and others that the book holds."""
        try:
            held = [symbol for symbol, position in self._ledger.positions(self._book).items() if position.quantity]
        except LedgerUnavailable as error:
            self._tries.without_ledger(error)
            held = []
        return list(dict.fromkeys((*self._symbols, *sorted(held))))

    def _take_over_journal(self) -> None:
        try:
            taken = self._exits.take_over()
        except LeaseLost:
            raise
        except (LedgerError, StorageError) as error:  # what it may hold is sent already: nothing waits for it
            self._tries.without_ledger(error, "exits of an earlier process")
            return
        if taken:
            self._log.step(f"{taken} journalled exits are in the ledger now")


def _left(held: Decimal, there: Decimal) -> Decimal:
    """What can be closed: the book's share of what lies at the venue, signed base units; 0 where the signs differ."""
    return min(abs(held), abs(there)).copy_sign(held) if held * there > 0 else ZERO


def _plain(quantity: Decimal) -> str:
    return f"{quantity.normalize():f}"
