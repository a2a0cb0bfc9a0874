"""What must hold at every moment of a run, and what must hold when it has come to rest (design/failures.md).

Watched while it runs: an order is sent only with its intent in the ledger, by the holder of the lease, not while halted or
paused, not on stale data; one order for each leg of a decision; commits by one writer at a time; ledger position = sum of its
fills; no position without a protective stop beyond the deadline. At rest: no intent without a final state (a stop that rests at
the venue is not final), ledger = venue position, and the account's equity identity to 1e-9.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from cloudrun.exchange.state import Order
from cloudrun.simulation.process import Process
from cloudrun.simulation.story import Story
from cloudrun.simulation.venue import Venue
from shared.domain.money import ZERO
from shared.domain.orders import Fill, OrderKind, OrderRecord, OrderState
from shared.domain.records import HaltKind, Lease
from shared.ports import Ledger

EQUITY_TOLERANCE = Decimal("1e-9")
"""of equity: largest difference between the venue's account and what the ledger's rows add up to"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the invariants measure against."""

    book: str
    capital: Decimal
    max_age_ms: int
    """age of a decided bar beyond which nothing may be opened"""
    stop_deadline_s: float
    """from a fill to a confirmed stop, while everything works"""
    clock_error_ms: int = 0
    """how wrong the bot's clock may be"""


@dataclass(slots=True)
class Watch:
    """The invariants of one run. `ledger` is the real one, asked past all faults."""

    ledger: Ledger
    venue: Venue
    story: Story
    limits: Limits
    healthy: Callable[[], bool]
    """whether nothing has been failing for a while: only then deadlines count"""
    strangers: set[str] = field(default_factory=set)
    """senders who are not ours: a person, another program"""
    orders_sent: int = 0
    decisions: int = 0
    fills: int = 0
    holder: str = ""
    """the process that has the lease"""
    _token: int = 0
    _decided: set[tuple[str, int]] = field(default_factory=set)
    _legs: dict[tuple[str, str], str] = field(default_factory=dict)
    _sums: dict[str, Decimal] = field(default_factory=dict)
    _bare_s: dict[str, float] = field(default_factory=dict)
    _bare_since_s: dict[str, float] = field(default_factory=dict)
    journalled: Callable[[str], bool] = lambda _: False
    """whether the exit journal holds an order"""
    longest_bare_s: float = 0.0
    """longest time that any position was without a full stop, whatever failed"""
    _ticked_s: float = 0.0

    def sending(self, process: Process, params: dict[str, str]) -> None:
        """`process` puts an order on the wire now."""
        now_ms = self.venue.now_ms
        client_id = params.get("newClientOrderId") or params.get("clientAlgoId") or ""
        record = self.ledger.order(client_id)
        if record is None:
            if not self.journalled(client_id):  # an exit while the ledger is away
                self.story.violate(f"{client_id} was sent without an intent in the ledger")
            return
        self.orders_sent += 1
        if record.state.is_final:
            self.story.violate(f"{client_id} was sent although the ledger calls it {record.state}")
        if self.holder != process.name:
            self.story.violate(f"{process.name} sent {client_id} while {self.holder or 'nobody'} held the lease")
        if record.intent.kind is OrderKind.STOP or record.intent.reduce_only:
            return
        for halt in self.ledger.halts(self.limits.book, now_ms):
            if halt.symbol in (None, record.intent.symbol):
                self.story.violate(f"{client_id} was sent while trading was halted ({halt.reason})")
        self._check_age(record, now_ms)

    def _check_age(self, record: OrderRecord, now_ms: int) -> None:
        decision = self.ledger.decision(record.intent.decision_id)
        if decision is None:
            self.story.violate(f"{record.intent.client_id} has no decision")
            return
        age_ms = now_ms - max(decision.bar_close_ms, record.intent.due_ms)
        if age_ms > self.limits.max_age_ms + self.limits.clock_error_ms:
            self.story.violate(f"{record.intent.client_id} was sent {age_ms / 1000:.1f} s after its bar had closed")

    def commanded(self, sender: str, command: str, params: dict[str, str], reply: Any) -> None:
        """The venue executed a command."""
        symbol, client_id = params.get("symbol"), params.get("newClientOrderId") or params.get("clientAlgoId") or ""
        size = f"{params.get('side', '')} {params.get('quantity', '')} @ {params.get('triggerPrice', 'market')}"
        self.story.tell(f"{sender}: venue {command} {symbol} {size} {client_id} {params.get('origClientOrderId', '')}")
        if command == "cancel_algo" and sender not in self.strangers:
            self._check_uncovered(sender, client_id)
        if command not in ("order", "algo") or sender in self.strangers:
            return
        record = self.ledger.order(client_id)
        if record is None and self.journalled(client_id):
            return
        if record is None:
            self.story.violate(f"the venue executed {client_id}, which the ledger does not know")
            return
        if record.state.is_final:
            self.story.violate(f"the venue executed {client_id}, which the ledger calls {record.state}")
        leg = (record.intent.decision_id, record.intent.leg)
        if leg in self._legs:
            self.story.violate(f"two orders for the leg {leg[1]} of {leg[0]}: {self._legs[leg]} and {client_id}")
        self._legs[leg] = client_id

    def wrote(self, process: Process, method: str, arguments: tuple[Any, ...], result: Any) -> None:
        """A ledger call took effect."""
        if method == "commit_decision" and result:
            decision, intents, lease = arguments
            self._committed(process, lease)
            self.decisions += 1
            key = (decision.asset.symbol, decision.bar_close_ms)
            if key in self._decided:
                self.story.violate(f"two decisions for {key[0]} at {key[1]}")
            self._decided.add(key)
            wanted = " ".join(f"{i.leg}:{i.side.value} {i.quantity}" for i in intents)
            self.story.tell(f"{process.name}: decided {key[0]} {decision.action.value} {wanted}")
        elif method == "advance_order":
            self.story.tell(f"{process.name}: {result.intent.client_id} is {result.state.value}, filled {result.filled}")
        elif method == "add_fills" and result:
            self.fills += len(result)
            self.story.tell(f"{process.name}: booked {', '.join(_shown(fill) for fill in result)}")
            for fill in result:
                self._sums[fill.symbol] = self._sums.get(fill.symbol, ZERO) + fill.signed_quantity
            self._check_positions(self._sums)
        elif method == "set_halt":
            halt = arguments[0]
            self.story.tell(f"{process.name}: halt {halt.kind.value} {halt.symbol or 'book'}: {halt.reason}")
        elif method == "acquire_lease" and isinstance(result, Lease) and result.holder != self.holder:
            self.holder = result.holder
            self.story.tell(f"{process.name}: lease with token {result.token}")
        elif method == "release_lease" and arguments[0].holder == self.holder:
            self.holder = ""

    def _committed(self, process: Process, lease: Lease) -> None:
        if lease.token < self._token:
            self.story.violate(f"{process.name} committed with token {lease.token} after token {self._token} had committed")
        self._token = max(self._token, lease.token)
        if lease.holder != process.name:
            self.story.violate(f"{process.name} committed with the lease of {lease.holder}")

    def _check_positions(self, sums: dict[str, Decimal]) -> None:
        for symbol, position in self.ledger.positions(self.limits.book).items():
            if position.quantity != sums.get(symbol, ZERO):
                self.story.violate(f"{symbol}: the ledger holds {position.quantity}, its fills add up to {sums.get(symbol)}")

    def ticked(self, now_s: float) -> None:
        """Some time has passed: is every position protected?"""
        passed_s, self._ticked_s = now_s - self._ticked_s, now_s
        account = self.venue.desk.engine.core.account
        for symbol, position in account.positions.items():
            if not position.quantity or self._covered(symbol) >= self._to_cover(symbol, position.quantity):
                self._bare_s.pop(symbol, None)
                self._bare_since_s.pop(symbol, None)
                continue
            self.longest_bare_s = max(self.longest_bare_s, now_s - self._bare_since_s.setdefault(symbol, now_s))
            bare_s = self._bare_s.get(symbol, 0.0) + (passed_s if self.healthy() else 0.0)
            self._bare_s[symbol] = bare_s
            if bare_s > self.limits.stop_deadline_s:
                self.story.violate(f"{symbol}: {position.quantity} unprotected beyond the deadline")

    def _check_uncovered(self, sender: str, client_id: str) -> None:
        """No cancellation takes away the protection of a position that its sender knows: not even in an emergency."""
        account = self.venue.desk.engine.core.account
        stop = account.algos[account.algo_by_client[client_id]]
        held, known = account.positions[stop.symbol].quantity, self.ledger.positions(self.limits.book).get(stop.symbol)
        if held * stop.sign >= 0 or known is None or known.quantity != held:
            return
        left = self._covered(stop.symbol)
        if left < abs(held) <= left + stop.quantity:
            self.story.violate(f"{sender} cancelled {client_id}, the stop of {held} {stop.symbol}")

    def _to_cover(self, symbol: str, held: Decimal) -> Decimal:
        """What our stops have to cover: everything, but for what a stranger has bought."""
        if not self.strangers:
            return abs(held)
        known = self.ledger.positions(self.limits.book).get(symbol)
        return min(abs(held), abs(known.quantity)) if known else ZERO

    def _covered(self, symbol: str) -> Decimal:
        account = self.venue.desk.engine.core.account
        sign = 1 if account.positions[symbol].quantity > 0 else -1
        stops = (stop for stop in account.open_algos.values() if stop.symbol == symbol and stop.sign == -sign)
        return sum((abs(account.positions[symbol].quantity) if s.close_position else s.quantity for s in stops), ZERO)

    def forget(self) -> None:
        """Forget the decisions and orders so far: for runs of many days."""
        self._decided.clear()
        self._legs.clear()

    def at_rest(self) -> None:
        """After a quiet period: everything settled, explained and accounted for."""
        self._check_orders()
        stored: dict[str, Decimal] = {}
        for fill in self.ledger.fills(self.limits.book):
            stored[fill.symbol] = stored.get(fill.symbol, ZERO) + fill.signed_quantity
        self._check_positions(stored)
        frozen = self._frozen()
        positions = self.ledger.positions(self.limits.book)
        differs = False
        for symbol, held in self.venue.desk.engine.core.account.positions.items():
            known = positions[symbol].quantity if symbol in positions else ZERO
            if known != held.quantity:
                differs = True
                if symbol not in frozen or not self.strangers:
                    self.story.violate(f"{symbol}: the ledger holds {known}, the venue {held.quantity}")
        if not differs:
            self._check_equity()

    def _frozen(self) -> set[str | None]:
        halts = self.ledger.halts(self.limits.book, self.venue.now_ms)
        return {halt.symbol for halt in halts if halt.kind is HaltKind.FROZEN}

    def _check_orders(self) -> None:
        account = self.venue.desk.engine.core.account
        for record in self.ledger.orders(self.limits.book, unfinished=True):
            number = account.algo_by_client.get(record.intent.client_id)
            rests = record.intent.kind is OrderKind.STOP and record.state is OrderState.OPEN and number in account.open_algos
            if not rests and not (record.state is OrderState.UNKNOWN and record.intent.symbol in self._frozen()):
                self.story.violate(f"{record.intent.client_id} is {record.state} at rest")
        ours = {record.intent.client_id for record in self.ledger.orders(self.limits.book, unfinished=True)}
        resting: list[Any] = [*account.open_algos.values(), *account.open_orders.values()]
        for order in resting:
            if order.client_id not in ours and not self.strangers:
                what = "order" if isinstance(order, Order) else "stop"
                self.story.violate(f"the {what} {order.client_id} rests at the venue, and the ledger does not know it")

    def _check_equity(self) -> None:
        """Capital + realised profit - fees + funding + open profit = the venue's equity."""
        core, book = self.venue.desk.engine.core, self.limits.book
        total = self.limits.capital + sum((payment.amount for payment in self.ledger.funding(book)), ZERO)
        for symbol, position in self.ledger.positions(book).items():
            total += position.realised - position.fees + position.unrealised(core.price(symbol))
        fines = sum((row.amount for row in core.account.income if row.kind == "INSURANCE_CLEAR"), ZERO)
        equity = core.account.wallet + core.unrealised() - fines
        if abs(total - equity) > EQUITY_TOLERANCE * max(abs(equity), Decimal(1)):
            self.story.violate(f"equity: the ledger's rows add up to {total}, the venue has {equity}")


def _shown(fill: Fill) -> str:
    return f"{fill.side.value} {fill.quantity} {fill.symbol} at {fill.price}"
