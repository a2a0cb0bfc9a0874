"""What does a venue accept in a symbol, when it does not say? What it has accepted before: the book's own orders prove it.

The finest price and quantity that were ordered lately lie on its grid, so a stop or an exit of what is held does too. Enough to
protect and to close, never to open: the rules say that the symbol is not traded.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from shared.domain.money import ZERO, SymbolRules
from shared.ports import Ledger

UNBOUNDED = Decimal(10) ** 12
PROOFS = 1000
"""Newest orders of a symbol that are looked at: not one of so many lying on the finest grid is out of the question."""


def proven_rules(ledger: Ledger, book: str, symbol: str) -> SymbolRules:
    """Rules of `symbol` as the orders of `book` prove them, base units and quote currency. Raises `LedgerUnavailable`."""
    intents = [record.intent for record in ledger.orders(book, symbol=symbol, limit=PROOFS)]
    step = _finest(intent.quantity for intent in intents)
    tick = _finest(price for intent in intents for price in (intent.stop_price, intent.price) if price is not None)
    return SymbolRules(symbol, tick, step, step, UNBOUNDED, ZERO, trading=False)


def _finest(values: Iterable[Decimal]) -> Decimal:
    """The largest power of ten, at most 1, of which all values are multiples."""
    exponents = [value.normalize().as_tuple().exponent for value in values]
    return Decimal(1).scaleb(min([0, *(exponent for exponent in exponents if isinstance(exponent, int))]))
