"""What must hold when a run has come to rest: everything settled, explained and accounted for.

No intent without a final state (a stop that rests at the venue is not final, nor is an order whose symbol is frozen with the
open question), ledger position = sum of its fills = the venue's position, the account's equity identity to 1e-9, no halt for
a difference that cannot be.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cloudrun.exchange.state import Order
from cloudrun.simulation.story import Story
from cloudrun.simulation.venue import Venue
from shared.domain.money import ZERO
from shared.domain.orders import OrderKind, OrderState
from shared.domain.records import HaltKind
from shared.ports import Ledger

EQUITY_TOLERANCE = Decimal("1e-9")
"""of equity: largest difference between the venue's account and what the ledger's rows add up to"""
UNEXPLAINED = ("position differs", "foreign position", "foreign order", "foreign execution")
FORCED = ("autoclose-", "adl_autoclose", "settlement_autoclose-")
"""client ids of what the venue does to an account by itself"""


@dataclass(frozen=True, slots=True)
class AtRest:
    """The end of one run. `ledger` is the real one; `strange` says whether somebody else has used the account."""

    ledger: Ledger
    venue: Venue
    story: Story
    book: str
    capital: Decimal
    strange: bool

    def check(self) -> None:
        """Tell the story what does not hold."""
        self._check_orders()
        stored: dict[str, Decimal] = {}
        for fill in self.ledger.fills(self.book):
            stored[fill.symbol] = stored.get(fill.symbol, ZERO) + fill.signed_quantity
        positions, frozen = self.ledger.positions(self.book), self._frozen()
        for symbol, position in positions.items():
            if position.quantity != stored.get(symbol, ZERO):
                total = stored.get(symbol)
                self.story.violate(f"{symbol}: the ledger holds {position.quantity}, its fills add up to {total}")
        differs = False
        for symbol, held in self.venue.desk.engine.core.account.positions.items():
            known = positions[symbol].quantity if symbol in positions else ZERO
            if known != held.quantity:
                differs = True
                if symbol not in frozen or not self.strange:
                    self.story.violate(f"{symbol}: the ledger holds {known}, the venue {held.quantity}")
        if not differs:
            self._check_equity()
        self._check_halts()

    def _check_halts(self) -> None:
        """Nobody is told of a difference that cannot exist: no stranger has traded here, and nothing was closed by force."""
        account = self.venue.desk.engine.core.account
        if self.strange or any(order.client_id.startswith(FORCED) for order in account.orders.values()):
            return
        for halt in self.ledger.halts(self.book, self.venue.now_ms):
            if halt.kind is HaltKind.FROZEN and halt.reason.startswith(UNEXPLAINED):
                self.story.violate(f"{halt.symbol or 'the book'} is halted for what did not happen: {halt.reason}")

    def _frozen(self) -> set[str | None]:
        halts = self.ledger.halts(self.book, self.venue.now_ms)
        return {halt.symbol for halt in halts if halt.kind is HaltKind.FROZEN}

    def _check_orders(self) -> None:
        account = self.venue.desk.engine.core.account
        for record in self.ledger.orders(self.book, unfinished=True):
            number = account.algo_by_client.get(record.intent.client_id)
            rests = record.intent.kind is OrderKind.STOP and record.state is OrderState.OPEN and number in account.open_algos
            if not rests and not (record.state is OrderState.UNKNOWN and record.intent.symbol in self._frozen()):
                self.story.violate(f"{record.intent.client_id} is {record.state} at rest")
        ours = {record.intent.client_id for record in self.ledger.orders(self.book, unfinished=True)}
        resting: list[Any] = [*account.open_algos.values(), *account.open_orders.values()]
        for order in resting:
            if order.client_id not in ours and not self.strange:
                what = "order" if isinstance(order, Order) else "stop"
                self.story.violate(f"the {what} {order.client_id} rests at the venue, and the ledger does not know it")

    def _check_equity(self) -> None:
        """Capital + realised profit - fees + funding + open profit = the venue's equity."""
        core, book = self.venue.desk.engine.core, self.book
        total = self.capital + sum((payment.amount for payment in self.ledger.funding(book)), ZERO)
        for symbol, position in self.ledger.positions(book).items():
            total += position.realised - position.fees + position.unrealised(core.price(symbol))
        fines = sum((row.amount for row in core.account.income if row.kind == "INSURANCE_CLEAR"), ZERO)
        equity = core.account.wallet + core.unrealised() - fines
        if abs(total - equity) > EQUITY_TOLERANCE * max(abs(equity), Decimal(1)):
            self.story.violate(f"equity: the ledger's rows add up to {total}, the venue has {equity}")
