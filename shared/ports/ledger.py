"""The one memory of all processes that trade."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from shared.domain.asset import Asset
from shared.domain.decision import Decision
from shared.domain.events import Event
from shared.domain.interval import Interval
from shared.domain.orders import Fill, OrderIntent, OrderRecord, OrderReport, Position
from shared.domain.records import (
    Arrival,
    BookRecord,
    EmergencyRecord,
    EquityPoint,
    FundingPayment,
    Halt,
    Handled,
    Heartbeat,
    Lease,
    LogEntry,
    Receipt,
    RegimeState,
    Trade,
)
from shared.domain.research import RecalibrationEvent


@dataclass(frozen=True, slots=True)
class Committed:
    """What became of a decision that was to be committed; true where it is new."""

    is_new: bool
    halts: tuple[Halt, ...] = ()
    """those in force at its commit and at the instant of its decision, oldest first; of a new decision only"""

    def __bool__(self) -> bool:
        return self.is_new


@dataclass(frozen=True, slots=True)
class BookState:
    """A book as the ledger knows it at one moment; each part is what the `Ledger` method of its name returns."""

    unfinished_orders: Sequence[OrderRecord]
    positions: Mapping[str, Position]
    last_equity: EquityPoint | None
    peak_forgotten_ms: int | None
    halts: Sequence[Halt]
    """in force at the instant that was asked for"""


class Ledger(Protocol):
    """The one memory of all processes. Every method is one transaction; all raise `LedgerUnavailable` if it is down."""

    def acquire_lease(self, book: str, holder: str, ttl_ms: int, now_ms: int) -> Lease | None:
        """Take or renew the lease; `None` while another holder's is valid. A new holder gets a larger token.

        A ledger that several hosts share judges by its own clock whether a lease has run out. `expires_ms` of the lease is on
        the caller's clock: `ttl_ms` after `now_ms`, which is the instant before the call.
        """
        ...

    def renew_lease(self, lease: Lease, ttl_ms: int, now_ms: int) -> Lease | None:
        """Renew a lease, also one that has run out; `None`, and nothing is taken, where it is not ours any more."""
        ...

    def release_lease(self, lease: Lease) -> None:
        """Give it up; silent where it is already lost."""
        ...

    def commit_decision(
        self, decision: Decision, intents: Sequence[OrderIntent], lease: Lease, point: EquityPoint | None = None
    ) -> Committed:
        """Store a decision, its order intents and the equity `point` that they were sized with in one transaction.

        Tells in the same breath which halts are in force. Where the decision is already there nothing is written. Raises
        `LeaseLost` where the lease's token is not the newest.
        """
        ...

    def add_intents(self, intents: Sequence[OrderIntent], lease: Lease) -> list[OrderIntent]:
        """Store further intents of decisions that are there already, in one transaction; return those that were new.

        For what follows from a decision later: a stop of another size, an exit of the emergency protocol, what the exit
        journal kept. The same client id again changes nothing. Raises `LeaseLost`, and `LedgerError` for an intent whose
        decision is not there.
        """
        ...

    def decision(self, decision_id: str) -> Decision | None:
        """One decision; a unique prefix of its id is enough."""
        ...

    def decisions(self, book: str, *, symbol: str | None = None, since_ms: int = 0, limit: int | None = None) -> list[Decision]:
        """Decisions, oldest first; with `limit` the newest ones."""
        ...

    def origin(self, book: str, symbol: str, *, is_long: bool) -> Decision | None:
        """The newest decision that was carried out, wholly or in part, and whose stop protects a long (else a short) position.

        Asked while a position is bare: its cost does not grow with the age of the position or the size of the book.
        """
        ...

    def order(self, client_id: str) -> OrderRecord | None:
        """One order."""
        ...

    def orders(
        self,
        book: str,
        *,
        unfinished: bool = False,
        decision_id: str | None = None,
        symbol: str | None = None,
        limit: int | None = None,
    ) -> list[OrderRecord]:
        """Orders of a book, oldest first; with `limit` the newest ones."""
        ...

    def unbooked_orders(self, book: str, symbol: str) -> list[OrderRecord]:
        """Orders of a symbol that have filled more than is booked of them, oldest first."""
        ...

    def advance_order(self, report: OrderReport, lease: Lease | None = None) -> OrderRecord:
        """Apply what the venue reported (`OrderRecord.advanced`) and return the record.

        What the venue did not say (an intent is abandoned) is given with the `lease`: raises `LeaseLost`, and changes nothing,
        where its token is not the newest.
        """
        ...

    def add_fills(self, book: str, fills: Iterable[Fill]) -> list[Fill]:
        """Store fills and update positions and trades in one transaction; return those that were new.

        Keyed by (book, symbol, trade id): a repeated fill changes nothing.
        """
        ...

    def fills(
        self,
        book: str,
        *,
        symbol: str | None = None,
        client_id: str | None = None,
        trade_id: str | None = None,
        since_ms: int = 0,
        limit: int | None = None,
    ) -> list[Fill]:
        """Fills at or after `since_ms`, oldest first; with `limit` the newest ones."""
        ...

    def positions(self, book: str) -> dict[str, Position]:
        """Positions by symbol (flat ones included where there were fills)."""
        ...

    def book_state(self, book: str, now_ms: int) -> BookState:
        """What a step begins with, in one go: unfinished orders, positions, newest equity point, forgotten peak, halts."""
        ...

    def add_funding(self, book: str, payments: Iterable[FundingPayment]) -> int:
        """Store funding entries, keyed by (book, id); return how many were new."""
        ...

    def funding(self, book: str, *, limit: int | None = None) -> list[FundingPayment]:
        """Funding entries, oldest first; with `limit` the newest ones."""
        ...

    def funding_total(self, book: str) -> Decimal:
        """Sum of all funding entries, quote currency."""
        ...

    def record_equity(self, book: str, point: EquityPoint) -> None:
        """Store the account at a bar close; the same instant again replaces it."""
        ...

    def equity(
        self, book: str, since_ms: int = 0, *, until_ms: int | None = None, limit: int | None = None
    ) -> list[EquityPoint]:
        """Equity points from `since_ms` to `until_ms` (both included), oldest first; with `limit` the newest ones."""
        ...

    def first_equity(self, book: str) -> EquityPoint | None:
        """The oldest equity point: what the book is measured from."""
        ...

    def last_equity(self, book: str) -> EquityPoint | None:
        """The newest equity point: its instant is the last bar that was begun."""
        ...

    def record_regimes(self, book: str, states: Iterable[RegimeState]) -> None:
        """Store regime states keyed by (book, asset, bar close)."""
        ...

    def regimes(self, book: str, asset: Asset, since_ms: int = 0) -> list[RegimeState]:
        """Regime states of bars that closed at or after `since_ms`, oldest first."""
        ...

    def last_regime(self, book: str, asset: Asset) -> RegimeState | None:
        """The newest regime state of an asset."""
        ...

    def set_halt(self, halt: Halt) -> None:
        """Latch or pause trading; the same (book, symbol, reason, since) again changes nothing."""
        ...

    def halts(self, book: str, now_ms: int) -> list[Halt]:
        """Halts that are in force at `now_ms`."""
        ...

    def lift_halts(self, halts: Sequence[Halt], by: str, reason: str, now_ms: int) -> int:
        """Lift exactly these halts, keeping who and why; return how many of them were still in force."""
        ...

    def rebase_peak(self, book: str, now_ms: int) -> None:
        """Measure drawdown anew from here: the next equity mark is its own peak (`records.next_peak`). For a resume."""
        ...

    def peak_forgotten_ms(self, book: str) -> int | None:
        """Instant of the equity point that was the newest one when the peak was last rebased; `None` where it never was."""
        ...

    def unpublished_events(self, limit: int = 100) -> list[Event]:
        """Events that wait to be published, oldest first; without those that are set aside.

        They are written by the methods that have the effect, in its transaction: `add_fills` (an execution),
        `record_regimes` (another regime than before), `set_halt` (a drawdown, an error), `log` at level `error`.
        """
        ...

    def mark_published(self, event_ids: Iterable[str], now_ms: int) -> None:
        """Note that the bus has taken them."""
        ...

    def note_refused(self, event_ids: Iterable[str]) -> dict[str, int]:
        """The bus did not take the events once more; how often by now, by id."""
        ...

    def set_aside(self, event_ids: Iterable[str], now_ms: int) -> None:
        """Let the other events pass these. Told by an error event in the same transaction; they stay until they are taken."""
        ...

    def set_aside_events(self, book: str) -> list[Event]:
        """Events of a book that are set aside, oldest first."""
        ...

    def retry_set_aside(self, book: str) -> int:
        """Put the events of a book that are set aside back into the turn; return how many there were."""
        ...

    def prune(self, book: str, *, published_before_ms: int, heard_before_ms: int) -> int:
        """Remove events of a book that were published, and processes that were last heard, before these instants.

        The instants are on the clocks that the rows were written by: the venue's, and that of the lease.
        """
        ...

    def note_pause(self, venue: str, until_ms: int) -> None:
        """The venue wants no requests before `until_ms`, from whichever process; a later instant that is known stays."""
        ...

    def pause_until_ms(self, venue: str) -> int:
        """Until when the venue wants no requests; 0 where it never said so."""
        ...

    def record_arrival(self, arrival: Arrival) -> None:
        """Store what an order met; the same client id again adds the answer's time."""
        ...

    def arrivals(self, book: str, since_ms: int = 0, *, limit: int | None = None) -> list[Arrival]:
        """Arrivals, oldest first; with `limit` the newest ones."""
        ...

    def record_emergency(self, emergency: EmergencyRecord) -> None:
        """Store a run of the emergency protocol; the same id again replaces it with what is known by now."""
        ...

    def emergencies(self, book: str) -> list[EmergencyRecord]:
        """Runs of the emergency protocol, oldest first."""
        ...

    def beat(self, heartbeat: Heartbeat) -> None:
        """Store the newest heartbeat of (book, role, holder)."""
        ...

    def heartbeats(self, book: str) -> list[Heartbeat]:
        """The newest heartbeat of each process, by role."""
        ...

    def record_receipt(self, receipt: Receipt) -> bool:
        """Remember that an event was handled whose effect lies elsewhere, after that effect; whether it was new."""
        ...

    def receipt(self, consumer: str, event_id: str) -> Receipt | None:
        """That of an event; `None` where the consumer has not handled it, or long ago."""
        ...

    def prune_receipts(self, before_ms: int) -> int:
        """Forget receipts of before `before_ms`, which no message outlives; return how many there were."""
        ...

    def apply_regime(self, receipt: Receipt, book: str, state: RegimeState) -> Handled:
        """`record_regimes` of the state that an event led to, and its receipt, in one transaction.

        A `DUPLICATE` changes nothing. A state older than the newest one of its asset is `STALE`: only the receipt is stored.
        """
        ...

    def apply_watch(
        self,
        receipt: Receipt | None,
        book: str,
        entries: Sequence[LogEntry],
        opened: Sequence[RecalibrationEvent],
        now_ms: int,
    ) -> Handled:
        """`log` of all `entries` and `Research.record_recalibration` of all `opened`, with a receipt, in one transaction.

        A `DUPLICATE` changes nothing.
        """
        ...

    def record_quality(self, asset: Asset, interval: Interval, report: Mapping[str, Any], now_ms: int) -> None:
        """Store a data quality report."""
        ...

    def log(
        self, book: str, source: str, level: str, message: str, now_ms: int, context: Mapping[str, Any] | None = None
    ) -> None:
        """Append to the agent log: what a process did and why, for people.

        An entry of level `error` is also published as an event. A halt publishes itself: what is logged about it is a
        `warning`, so that one failure is one event.
        """
        ...

    def agent_log(self, book: str, limit: int = 100) -> list[Mapping[str, Any]]:
        """The newest entries, oldest first: time_ms, source, level, message, context."""
        ...

    def trades(self, book: str) -> list[Trade]:
        """Closed round trips, oldest first."""
        ...

    def register_book(self, book: str, created_ms: int, settings: Mapping[str, Any]) -> None:
        """Remember a book and what it was started with; the same book again changes nothing."""
        ...

    def books(self) -> list[BookRecord]:
        """All books, oldest first."""
        ...

    def finish_book(self, book: str, summary: Mapping[str, Any], now_ms: int) -> None:
        """Mark a run as finished, with its summary."""
        ...
