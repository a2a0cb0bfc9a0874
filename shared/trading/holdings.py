"""What does a book hold, in an emergency? The best word that is to be had, for it must be flattened whatever is broken.

    ledger, after its executions were booked
    executions cannot be had:  what the venue has said about the book's own orders (filled, at least what is booked of it)
    ledger away:               own executions at the venue; where they cannot be had either, what was held at the last note

None of them counts what is not the book's own. Who closes takes no more than lies at the venue (`emergency_rounds.py`).
"""

from __future__ import annotations

from decimal import Decimal

from shared.domain.errors import LedgerUnavailable
from shared.domain.money import ZERO
from shared.domain.orders import Position
from shared.ports import Ledger
from shared.trading.emergency_orders import Tries
from shared.trading.own_position import OwnPosition
from shared.trading.reconciliation import Reconciler


class Holdings:
    """The positions of one book."""

    def __init__(self, ledger: Ledger, reconciler: Reconciler, own: OwnPosition, book: str) -> None:
        self._ledger = ledger
        self._reconciler = reconciler
        self._own = own
        self._book = book

    async def held(self, symbol: str, tries: Tries) -> Decimal:
        """Signed quantity of a symbol, base units; what cannot be had is written down in `tries`."""
        try:
            booked = await tries.asked(f"the executions of {symbol}", self._reconciler.book_fills(symbol))
            return filled(self._ledger, self._book, symbol) if booked is None else self._by_ledger(symbol)
        except LedgerUnavailable as error:
            tries.without_ledger(error)
        known = await tries.asked(f"the executions of {symbol}", self._own.now(symbol))
        return self._own.noted(symbol) if known is None else known

    def _by_ledger(self, symbol: str) -> Decimal:
        return self._ledger.positions(self._book).get(symbol, Position(symbol)).quantity


def filled(ledger: Ledger, book: str, symbol: str) -> Decimal:
    """Booked executions of a symbol, and what orders have filled beyond those of their own; signed base units."""
    held = ledger.positions(book).get(symbol, Position(symbol)).quantity
    for record in ledger.unbooked_orders(book, symbol):
        booked = sum((fill.quantity for fill in ledger.fills(book, client_id=record.intent.client_id)), ZERO)
        held += (record.filled - booked) * record.intent.side.sign
    return held
