"""What must hold at every moment of a run (design/failures.md); `rest.py` says what must hold at its end.

An order is sent only with its intent in the ledger, by the holder of a lease that has not run out (at the venue's true time,
and again when the venue executes it), not while halted or paused, not on stale data, and none that opens after SIGTERM; one
order for each leg of a decision; commits by one writer at a time; ledger position = sum of its fills; nothing is asked before a
Retry-After is over; no slice goes on after a stop has closed what its decision opened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from cloudrun.exchange.auth import DEFAULT_WINDOW_MS
from cloudrun.simulation.bans import Bans
from cloudrun.simulation.exposure import Exposure, covered
from cloudrun.simulation.process import Process
from cloudrun.simulation.story import Story
from cloudrun.simulation.venue import Venue
from shared.domain.money import ZERO
from shared.domain.orders import Fill, OrderIntent, OrderKind, OrderRecord, OrderState
from shared.domain.records import Lease
from shared.ports import Ledger
from shared.trading.legs import EXIT, MARKET, STOP

HEARD_MS = 12_000
"""after this long everybody has heard of an execution whose message was not lost"""
THE_VENUE = "the venue"
"""who changes the account without being asked: neither ours nor a stranger"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the invariants measure against."""

    book: str
    max_age_ms: int
    """age of a decided bar beyond which nothing may be opened"""
    clock_error_ms: int = 0
    """how wrong the bot's clock may be"""


@dataclass(slots=True)
class Watch:
    """The invariants of one run. `ledger` is the real one, asked past all faults."""

    ledger: Ledger
    venue: Venue
    story: Story
    limits: Limits
    exposure: Exposure
    hears: Callable[[], bool]
    """whether the user stream has lost nothing for a while"""
    bans: Bans
    strangers: set[str] = field(default_factory=set)
    """senders who are not ours: a person, another program"""
    needless: list[str] = field(default_factory=list)
    """exits without the ledger of what had its stop: an emergency may close that, nothing else"""
    orders_sent: int = 0
    decisions: int = 0
    fills: int = 0
    holder: str = ""
    """the process that has the lease"""
    _lease_end_ms: int = 0
    """true time at which the lease runs out"""
    _token: int = 0
    _decided: set[tuple[str, int]] = field(default_factory=set)
    _legs: dict[tuple[str, str], str] = field(default_factory=dict)
    _cancelling: dict[str, Decimal | None] = field(default_factory=dict)
    """by client id of a stop whose cancellation was asked for last: what ledger and venue held of its symbol then"""
    _sums: dict[str, Decimal] = field(default_factory=dict)
    journalled: Callable[[str], bool] = lambda _: False
    """whether the exit journal holds an order"""

    @property
    def longest_bare_s(self) -> float:
        """Longest time that any position was without a full stop, whatever failed."""
        return self.exposure.longest_bare_s

    def asking(self, process: Process, what: str, params: dict[str, str]) -> None:
        """`process` has decided to send the request `what`."""
        now_s = (self.venue.now_ms - self.venue.start_ms) / 1000
        early_s = self.bans.too_early_s(process, what, now_s, self.limits.clock_error_ms / 1000)
        if early_s:
            self.story.violate(f"{process.name} asked {what} {early_s:.1f} s before the venue's Retry-After was over")
        if what.startswith("DELETE ") and "clientAlgoId" in params:
            self._cancelling[params["clientAlgoId"]] = self._known(params["clientAlgoId"])
        if what.startswith("DELETE ") and self.holder not in ("", process.name) and not self._is_dead(params):
            self.story.violate(f"{process.name} cancels ({what}) while {self.holder} holds the lease")

    def sending(self, process: Process, params: dict[str, str]) -> None:
        """`process` has decided to put an order on the wire now."""
        now_ms = self.venue.now_ms
        client_id = params.get("newClientOrderId") or params.get("clientAlgoId") or ""
        record = self.ledger.order(client_id)
        if record is None:
            if not self.journalled(client_id):  # an exit while the ledger is away
                self.story.violate(f"{client_id} was sent without an intent in the ledger")
            elif not self.exposure.is_bare(params["symbol"]):
                self.needless.append(client_id)
            return
        self.orders_sent += 1
        if self._is_dead(params):
            return
        if record.state.is_final:
            self.story.violate(f"{client_id} was sent although the ledger calls it {record.state}")
        self._check_lease(process.name, record.intent, "sent")
        if not _opens(record.intent):
            return
        if process.told_to_end:
            self.story.violate(f"{process.name} sent {client_id}, which opens a position, after SIGTERM")
        for halt in self.ledger.halts(self.limits.book, now_ms):
            if halt.symbol in (None, record.intent.symbol):
                self.story.violate(f"{client_id} was sent while trading was halted ({halt.reason})")
        self._check_age(record, now_ms)
        self._check_closed(record, now_ms)

    def _is_dead(self, params: dict[str, str]) -> bool:
        """Whether a request was held up since it was approved: it dies at the venue, which is what its time is for."""
        age_ms = self.venue.now_ms - int(params.get("timestamp", self.venue.now_ms))
        return age_ms > int(params.get("recvWindow", DEFAULT_WINDOW_MS))

    def _check_lease(self, sender: str, intent: OrderIntent, done: str) -> None:
        """What may open is for the holder of a lease that is valid; an exit also for one whose ledger is away."""
        if self.holder != sender:
            self.story.violate(f"{sender} {done} {intent.client_id} while {self.holder or 'nobody'} held the lease")
        elif _opens(intent) and self.venue.now_ms > self._lease_end_ms + self.limits.clock_error_ms:
            late_s = (self.venue.now_ms - self._lease_end_ms) / 1000
            self.story.violate(f"{sender} {done} {intent.client_id} {late_s:.1f} s after its lease had run out")

    def _check_closed(self, record: OrderRecord, now_ms: int) -> None:
        """A slice or a remainder ends with what closed the position of its decision."""
        intent, account = record.intent, self.venue.desk.engine.core.account
        if intent.leg == MARKET or not self.hears():
            return
        for trade in reversed(account.trades):
            if trade.time_ms < intent.created_ms:
                return
            if trade.symbol != intent.symbol or now_ms - trade.time_ms < HEARD_MS:
                continue
            closer = self.ledger.order(account.orders[trade.order_id].client_id)
            if closer is not None and closer.intent.leg.startswith((STOP, EXIT)):
                self.story.violate(f"{intent.client_id} ({intent.leg}) was sent after {closer.intent.client_id} had closed it")

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
        if command == "cancel_algo" and sender not in (THE_VENUE, *self.strangers):
            self._check_uncovered(sender, client_id)
        if command.startswith("cancel") and sender not in (THE_VENUE, *self.strangers) and self.holder not in ("", sender):
            self.story.violate(f"the venue carries out {command} of {sender} while {self.holder} holds the lease")
        if command not in ("order", "algo") or sender in (THE_VENUE, *self.strangers):
            return
        record = self.ledger.order(client_id)
        if record is None and self.journalled(client_id):
            return
        if record is None:
            self.story.violate(f"the venue executed {client_id}, which the ledger does not know")
            return
        if record.state is not OrderState.UNKNOWN:  # else it is an open question, which whoever holds the lease asks
            self._check_lease(sender, record.intent, "executed")
        if record.state.is_final:
            self.story.violate(f"the venue executed {client_id}, which the ledger calls {record.state}")
        leg = (record.intent.decision_id, record.intent.leg)
        if leg in self._legs:
            self.story.violate(f"two orders for the leg {leg[1]} of {leg[0]}: {self._legs[leg]} and {client_id}")
        self._legs[leg] = client_id

    def wrote(self, process: Process, method: str, arguments: tuple[Any, ...], result: Any) -> None:
        """A ledger call took effect."""
        if method == "commit_decision" and result:
            decision, intents, lease, *_ = arguments
            self._committed(process, lease)
            self.decisions += 1
            key = (decision.asset.symbol, decision.bar_close_ms)
            if key in self._decided:
                self.story.violate(f"two decisions for {key[0]} at {key[1]}")
            self._decided.add(key)
            self.exposure.decided(key[0], intents)
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
        elif method in ("acquire_lease", "renew_lease") and isinstance(result, Lease):
            self._lease_end_ms = self.venue.now_ms + arguments[-2]  # for how long
            if result.holder != self.holder:
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

    def _check_uncovered(self, sender: str, client_id: str) -> None:
        """No cancellation takes away the protection of a position that its sender knows: not even in an emergency."""
        account = self.venue.desk.engine.core.account
        stop = account.algos[account.algo_by_client[client_id]]
        held = self._known(client_id)
        asked = self._cancelling.pop(client_id, held)
        if held is None or held * stop.sign >= 0 or asked != held:
            return  # where it arrives late something else may have been held when it was asked for
        left = covered(account, stop.symbol)
        if left < abs(held) <= left + stop.quantity:
            self.story.violate(f"{sender} cancelled {client_id}, the stop of {held} {stop.symbol}")

    def _known(self, client_id: str) -> Decimal | None:
        """What is held of a stop's symbol where ledger and venue agree."""
        account = self.venue.desk.engine.core.account
        number = account.algo_by_client.get(client_id)
        if number is None:
            return None
        symbol = account.algos[number].symbol
        held, known = account.positions[symbol].quantity, self.ledger.positions(self.limits.book).get(symbol)
        return held if known is not None and known.quantity == held else None

    def forget(self) -> None:
        """Forget the decisions and orders so far: for runs of many days."""
        self._decided.clear()
        self._legs.clear()
        self._cancelling.clear()


def _opens(intent: OrderIntent) -> bool:
    return intent.kind is not OrderKind.STOP and not intent.reduce_only


def _shown(fill: Fill) -> str:
    return f"{fill.side.value} {fill.quantity} {fill.symbol} at {fill.price}"
