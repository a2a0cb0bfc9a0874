"""What does a book hold while its ledger cannot be asked? Its own executions tell, as the venue lists them.

    position now = position at the last note + own executions after the cut that is not in the note any more

A note is taken of the ledger whenever orders and positions were reconciled. An execution is the book's where its client id
carries the book's tag, or where the venue closed by itself. Invariant: what another book or a person holds is never counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from shared.domain.ids import book_tag
from shared.domain.money import ZERO
from shared.domain.orders import Fill, OrderIntent, OrderKind, OrderReport
from shared.ports import Exchange, Ledger

VENUE_CLIENT_IDS = ("autoclose-", "adl_autoclose", "settlement_autoclose-", "delivery_autoclose-")
"""Client ids of the orders that Binance makes by itself: liquidation, deleveraging, settlement."""
OVERLAP_MS = 60_000
"""how far before a note its executions are asked for again: the clocks of venue and process differ"""


class OwnPosition:
    """The positions of one book, for when the ledger is away."""

    def __init__(self, exchange: Exchange, book: str, since_ms: int) -> None:
        """`since_ms` is when the book began: until the first note is taken, its executions from then on are counted."""
        self._exchange = exchange
        self._tag = book_tag(book)
        self._book = book
        self._cut_ms = since_ms
        self._before: dict[str, Decimal] = {}
        self._noted: dict[str, Decimal] = {}
        self._exits: dict[str, tuple[str, Decimal]] = {}
        """by client id: (symbol, signed quantity) of exits that the ledger does not know yet"""

    def note(self, ledger: Ledger, now_ms: int) -> None:
        """Remember what the ledger holds; every execution before `now_ms` is in it. Raises `LedgerUnavailable`."""
        cut_ms = max(0, now_ms - OVERLAP_MS)
        recent = ledger.fills(self._book, since_ms=cut_ms)
        noted = {symbol: position.quantity for symbol, position in ledger.positions(self._book).items()}
        before = dict(noted)
        for fill in recent:
            before[fill.symbol] = before.get(fill.symbol, ZERO) - fill.signed_quantity
        self._cut_ms, self._before, self._noted = cut_ms, before, noted
        self._exits.clear()

    def exited(self, intent: OrderIntent, filled: Decimal) -> None:
        """An exit was sent while the ledger is away and has closed `filled` (base units); all of it until that is known."""
        self._exits[intent.client_id] = (intent.symbol, filled * intent.side.sign)

    def booked(self, fills: Iterable[Fill]) -> None:
        """The ledger has taken these executions since the last note."""
        for fill in fills:
            self._exits.pop(fill.client_id or "", None)
            self._noted[fill.symbol] = self._noted_of(fill.symbol) + fill.signed_quantity

    def noted(self, symbol: str) -> Decimal:
        """Signed quantity at the last note, with what was booked since or closed without the ledger, base units."""
        return self._noted_of(symbol) + sum((size for of, size in self._exits.values() if of == symbol), ZERO)

    def _noted_of(self, symbol: str) -> Decimal:
        return self._noted.get(symbol, ZERO)

    async def now(self, symbol: str) -> Decimal:
        """Signed quantity as the venue knows it, base units. Raises the `VenueError` tree, `MalformedData`."""
        fills = await self._exchange.fills(symbol, self._cut_ms)
        return self._before.get(symbol, ZERO) + sum((fill.signed_quantity for fill in fills if self._is_own(fill)), ZERO)

    def covered(self, symbol: str, held: Decimal, resting: Sequence[tuple[OrderReport, OrderKind]]) -> Decimal:
        """How much of `held` (signed) the book's own stops among `resting` would close, base units, positive."""
        stops = [
            report.left
            for report, kind in resting
            if kind is OrderKind.STOP and report.symbol == symbol and report.client_id.startswith(self._tag)
        ]
        return sum((abs(left) for left in stops if left is not None and left * held < 0), ZERO)

    def _is_own(self, fill: Fill) -> bool:
        return is_venue_made(fill) or (fill.client_id is not None and fill.client_id.startswith(self._tag))


def is_venue_made(fill: Fill) -> bool:
    """Whether the venue closed by itself: liquidation, deleveraging, settlement."""
    return fill.client_id is not None and fill.client_id.startswith(VENUE_CLIENT_IDS)
