"""The book and the account as a session knows them, between two questions to the ledger and to the venue.

`BookState` is the ledger's word, read once and after each change: only this process writes it (the lease). `AccountState` is
the venue's word: a snapshot by REST, kept up to date by the user stream where there is one. Neither is trusted for longer than
that: a loss of the stream ends the trust in the account, and the two are compared at every step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from shared.domain.errors import LedgerUnavailable
from shared.domain.money import ZERO
from shared.domain.orders import Account, OrderKind, OrderRecord, OrderState, Position, VenuePosition
from shared.domain.stream import AccountMessage
from shared.ports import Ledger


@dataclass(frozen=True, slots=True)
class _Known:
    """What the ledger holds of the book."""

    positions: Mapping[str, Position]
    unfinished: tuple[OrderRecord, ...]


class BookState:
    """Positions and unfinished orders of one book."""

    def __init__(self, ledger: Ledger, book: str) -> None:
        self._ledger = ledger
        self._book = book
        self._known: _Known | None = None
        self.in_flight: dict[str, Decimal] = {}
        """signed quantity by symbol that was sent and is not booked yet: other assets must not use the same room"""

    def changed(self) -> None:
        """Orders or fills were written: read the book again."""
        self._known = None

    def position(self, symbol: str) -> Position:
        """The position of a symbol, from its fills."""
        return self._read().positions.get(symbol) or Position(symbol)

    def held(self, symbol: str) -> Decimal:
        """Signed quantity that is booked, base units."""
        return self.position(symbol).quantity

    def expected(self, symbol: str) -> Decimal:
        """Signed quantity with what is on its way."""
        return self.held(symbol) + self.in_flight.get(symbol, ZERO)

    def held_symbols(self) -> list[str]:
        """Symbols with a position."""
        return [symbol for symbol, position in self._read().positions.items() if position.quantity]

    def unfinished(self) -> tuple[OrderRecord, ...]:
        """Orders that are not final, oldest first."""
        return self._read().unfinished

    def open_questions(self) -> list[OrderRecord]:
        """Orders whose fate is open: unfinished, but no stop that rests at the venue and no slice that waits for its time."""
        return [
            record
            for record in self._read().unfinished
            if not (record.intent.kind is OrderKind.STOP and record.state is OrderState.OPEN)
            and not (record.intent.due_ms and record.state is OrderState.INTENT)
        ]

    def waiting_slices(self) -> list[OrderRecord]:
        """Parts of large orders that wait for their time, oldest first."""
        return [record for record in self._read().unfinished if record.intent.due_ms and record.state is OrderState.INTENT]

    def open_stops(self, symbol: str | None = None) -> list[OrderRecord]:
        """Stops that rest at the venue, oldest first."""
        return [
            record
            for record in self._read().unfinished
            if record.intent.kind is OrderKind.STOP
            and record.state is OrderState.OPEN
            and symbol in (None, record.intent.symbol)
        ]

    def _read(self) -> _Known:
        if self._known is None:
            self._known = _Known(self._ledger.positions(self._book), tuple(self._ledger.orders(self._book, unfinished=True)))
        return self._known


@dataclass(slots=True)
class AccountState:
    """Wallet and positions of the account at the venue."""

    wallet: Decimal = ZERO
    positions: dict[str, VenuePosition] = field(default_factory=dict)
    known: bool = False
    """whether a snapshot was taken and nothing has been missed since"""
    _wallet_ms: int = 0
    _position_ms: dict[str, int] = field(default_factory=dict)

    def snapshot(self, account: Account) -> None:
        """What the venue answered just now."""
        self.wallet = account.wallet
        self.positions = {position.symbol: position for position in account.positions}
        self.known = True

    def forget(self) -> None:
        """Messages may have been missed: only a snapshot is believed."""
        self.known = False

    def update(self, message: AccountMessage) -> None:
        """What the user stream says; of two messages about the same thing the later one stands, however they arrive."""
        if message.wallet is not None and message.time_ms >= self._wallet_ms:
            self.wallet, self._wallet_ms = message.wallet, message.time_ms
        for symbol, quantity, entry_price in message.positions:
            if message.time_ms < self._position_ms.get(symbol, 0):
                continue
            self._position_ms[symbol] = message.time_ms
            self.positions.pop(symbol, None)
            if quantity:
                self.positions[symbol] = VenuePosition(symbol, quantity, entry_price, entry_price, ZERO)

    def held(self, symbol: str) -> Decimal:
        """Signed quantity of `symbol`, base units."""
        position = self.positions.get(symbol)
        return position.quantity if position else ZERO

    def marked(self, book: BookState, prices: Mapping[str, Decimal], leverage: int) -> Account:
        """The account with its open profit at `prices` (a symbol without one: at the venue's last word).

        Entry prices are the book's own where its position is the venue's: the exact averages of the fills.
        """
        positions = tuple(self._marked(position, book, prices) for position in self.positions.values())
        equity = self.wallet + sum((position.unrealised for position in positions), ZERO)
        margin = sum((abs(position.quantity) * position.mark_price for position in positions), ZERO) / leverage
        return Account(self.wallet, equity, max(equity - margin, ZERO), positions)

    def _marked(self, position: VenuePosition, book: BookState, prices: Mapping[str, Decimal]) -> VenuePosition:
        mark = prices.get(position.symbol)
        if mark is None:
            return position
        try:
            own = book.position(position.symbol)
        except LedgerUnavailable:  # breakers are obeyed while it is away; the venue's average is close enough for them
            own = Position(position.symbol)
        entry = own.entry_price if own.quantity == position.quantity else position.entry_price
        return VenuePosition(position.symbol, position.quantity, entry, mark, (mark - entry) * position.quantity)


def differing(book: BookState, account: AccountState, symbols: Iterable[str]) -> list[str]:
    """Symbols that ledger and venue see differently."""
    return [symbol for symbol in symbols if book.held(symbol) != account.held(symbol)]
