"""The ledger on SQLAlchemy: the port `shared.ports.Ledger`, each method one transaction.

This module only opens transactions and says which function answers; the functions stand by concern in their own modules
(leases, decisions, orders, executions, account, regimes, halts, outbox, operations, journal). Safe for threads; each process
opens its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine

from shared.adapters.sql import (
    account,
    decisions,
    executions,
    halts,
    inbox,
    journal,
    leases,
    operations,
    orders,
    outbox,
    regimes,
)
from shared.adapters.sql.engine import PATIENT, Patience, close_engine, label, make_engine, reading, writing
from shared.adapters.sql.migrate import migrate as migrate_engine
from shared.domain.asset import Asset
from shared.domain.decision import Decision
from shared.domain.errors import LedgerError, LedgerUnavailable
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
from shared.ports import BookState, Committed, Ledger


def open_ledger(url: str, *, migrate: bool = True, patience: Patience = PATIENT) -> SqlLedger:
    """The ledger at `url` (`sqlite:///var/ledger.db`, `postgresql+pg8000://user@host/database`), its schema up to date.

    `patience` says how long its calls wait for an answer; bringing the schema up to date may take longer. With
    `migrate=False` the schema is left as it is. Raises `ConfigError` for another kind of URL, `LedgerUnavailable` where the
    database cannot be used, or its schema is not for this program.
    """
    engine = make_engine(url, patience)
    if migrate and patience.fails_fast:
        patient = make_engine(url)
        try:
            migrate_engine(patient)
        finally:
            close_engine(patient)
    elif migrate:
        migrate_engine(engine)
    return SqlLedger(engine)


class SqlLedger(Ledger):
    """`shared.ports.Ledger` on an engine of `shared.adapters.sql.engine.make_engine`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __repr__(self) -> str:
        return f"SqlLedger({label(self.engine)})"

    def close(self) -> None:
        """Release connections."""
        close_engine(self.engine)

    def acquire_lease(self, book: str, holder: str, ttl_ms: int, now_ms: int) -> Lease | None:
        """Take or renew the lease; see the port."""
        with writing(self.engine) as connection:
            return leases.acquire(connection, book, holder, ttl_ms, now_ms)

    def renew_lease(self, lease: Lease, ttl_ms: int, now_ms: int) -> Lease | None:
        """Renew the lease where it is still ours; see the port."""
        with writing(self.engine) as connection:
            return leases.renew(connection, lease, ttl_ms, now_ms)

    def release_lease(self, lease: Lease) -> None:
        """Give the lease up; it writes nothing from then on."""
        with writing(self.engine) as connection:
            leases.release(connection, lease)

    def commit_decision(
        self, decision: Decision, intents: Sequence[OrderIntent], lease: Lease, point: EquityPoint | None = None
    ) -> Committed:
        """Store a decision and its intents; see the port. Raises `UsageError` for intents of another decision."""
        try:
            with writing(self.engine) as connection:
                halts_in_force = decisions.commit(connection, decision, intents, lease, point)
        except LedgerUnavailable:
            raise
        except LedgerError:
            with writing(self.engine) as connection:
                if decisions.is_there(connection, decision, lease):
                    return Committed(is_new=False)
            raise
        return Committed(is_new=True, halts=halts_in_force())

    def add_intents(self, intents: Sequence[OrderIntent], lease: Lease) -> list[OrderIntent]:
        """Store further intents of stored decisions; see the port. Raises `UsageError` for intents of another book."""
        with writing(self.engine) as connection:
            return decisions.add_intents(connection, intents, lease)

    def decision(self, decision_id: str) -> Decision | None:
        """One decision by id or unique prefix; raises `UsageError` listing the candidates of an ambiguous one."""
        with reading(self.engine) as connection:
            return decisions.find(connection, decision_id)

    def decisions(self, book: str, *, symbol: str | None = None, since_ms: int = 0, limit: int | None = None) -> list[Decision]:
        """Decisions, oldest first; with `limit` the newest ones."""
        with reading(self.engine) as connection:
            return decisions.listed(connection, book, symbol, since_ms, limit)

    def origin(self, book: str, symbol: str, *, is_long: bool) -> Decision | None:
        """The newest decision that was carried out and whose stop protects a position of this side; see the port."""
        with reading(self.engine) as connection:
            return decisions.origin(connection, book, symbol, is_long=is_long)

    def order(self, client_id: str) -> OrderRecord | None:
        """One order."""
        with reading(self.engine) as connection:
            return orders.find(connection, client_id)

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
        with reading(self.engine) as connection:
            return orders.listed(connection, book, unfinished=unfinished, decision_id=decision_id, symbol=symbol, limit=limit)

    def unbooked_orders(self, book: str, symbol: str) -> list[OrderRecord]:
        """Orders of a symbol that have filled more than is booked of them, oldest first."""
        with reading(self.engine) as connection:
            return orders.unbooked(connection, book, symbol)

    def advance_order(self, report: OrderReport, lease: Lease | None = None) -> OrderRecord:
        """Apply a report; raises `LedgerError` for an order that has no intent, `LeaseLost` where `lease` is not the newest."""
        with writing(self.engine, durable=False) as connection:
            if lease is not None:
                leases.check(connection, lease)
            return orders.advance(connection, report)

    def add_fills(self, book: str, fills: Iterable[Fill]) -> list[Fill]:
        """Store fills with the positions and trades that follow; return the new ones."""
        with writing(self.engine, durable=False) as connection:
            return executions.add(connection, book, fills)

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
        """Fills, oldest first; `client_id` also finds what the venue booked under a stop's other id."""
        with reading(self.engine) as connection:
            return executions.listed(
                connection, book, symbol=symbol, client_id=client_id, trade_id=trade_id, since_ms=since_ms, limit=limit
            )

    def positions(self, book: str) -> dict[str, Position]:
        """Positions by symbol."""
        with reading(self.engine) as connection:
            return executions.positions(connection, book)

    def book_state(self, book: str, now_ms: int) -> BookState:
        """What a step begins with, over one connection."""
        with reading(self.engine) as connection:
            last_equity, peak_forgotten_ms = account.newest(connection, book)
            return BookState(
                unfinished_orders=orders.listed(connection, book, unfinished=True),
                positions=executions.positions(connection, book),
                last_equity=last_equity,
                peak_forgotten_ms=peak_forgotten_ms,
                halts=halts.in_force(connection, book, now_ms),
            )

    def add_funding(self, book: str, payments: Iterable[FundingPayment]) -> int:
        """Store funding entries; return how many were new."""
        with writing(self.engine, durable=False) as connection:
            return account.add_funding(connection, book, payments)

    def funding(self, book: str, *, limit: int | None = None) -> list[FundingPayment]:
        """Funding entries, oldest first; with `limit` the newest ones."""
        with reading(self.engine) as connection:
            return account.funding(connection, book, limit)

    def funding_total(self, book: str) -> Decimal:
        """Sum of all funding entries; one row is read."""
        with reading(self.engine) as connection:
            return account.funding_total(connection, book)

    def record_equity(self, book: str, point: EquityPoint) -> None:
        """Store an equity point; the same instant again replaces it."""
        with writing(self.engine, durable=False) as connection:
            account.record_equity(connection, book, point)

    def equity(
        self, book: str, since_ms: int = 0, *, until_ms: int | None = None, limit: int | None = None
    ) -> list[EquityPoint]:
        """Equity points, oldest first; with `limit` the newest ones."""
        with reading(self.engine) as connection:
            return account.equity(connection, book, since_ms, until_ms, limit)

    def first_equity(self, book: str) -> EquityPoint | None:
        """The oldest equity point."""
        with reading(self.engine) as connection:
            return account.first(connection, book)

    def last_equity(self, book: str) -> EquityPoint | None:
        """The newest equity point."""
        with reading(self.engine) as connection:
            return account.newest(connection, book)[0]

    def rebase_peak(self, book: str, now_ms: int) -> None:
        """Measure drawdown anew from here; see the port."""
        with writing(self.engine) as connection:
            account.rebase_peak(connection, book, now_ms)

    def peak_forgotten_ms(self, book: str) -> int | None:
        """Instant of the newest point whose peak was forgotten."""
        with reading(self.engine) as connection:
            return account.newest(connection, book)[1]

    def record_regimes(self, book: str, states: Iterable[RegimeState]) -> None:
        """Store regime states; the same key again replaces the old one."""
        with writing(self.engine, durable=False) as connection:
            regimes.record(connection, book, states)

    def regimes(self, book: str, asset: Asset, since_ms: int = 0) -> list[RegimeState]:
        """Regime states of bars that closed at or after `since_ms`, oldest first."""
        with reading(self.engine) as connection:
            return regimes.listed(connection, book, asset, since_ms)

    def last_regime(self, book: str, asset: Asset) -> RegimeState | None:
        """The newest regime state of an asset."""
        with reading(self.engine) as connection:
            return regimes.last(connection, book, asset)

    def set_halt(self, halt: Halt) -> None:
        """Latch or pause trading."""
        with writing(self.engine) as connection:
            halts.put(connection, halt)

    def halts(self, book: str, now_ms: int) -> list[Halt]:
        """Halts in force, oldest first."""
        with reading(self.engine) as connection:
            return halts.in_force(connection, book, now_ms)

    def lift_halts(self, lifted: Sequence[Halt], by: str, reason: str, now_ms: int) -> int:
        """Lift exactly these halts; return how many of them were still in force."""
        with writing(self.engine) as connection:
            return halts.lift(connection, lifted, by, reason, now_ms)

    def unpublished_events(self, limit: int = 100) -> list[Event]:
        """Events that are not known to have been published, oldest first; one indexed query."""
        with reading(self.engine) as connection:
            return outbox.waiting(connection, limit)

    def mark_published(self, event_ids: Iterable[str], now_ms: int) -> None:
        """Note that the bus has taken them."""
        with writing(self.engine, durable=False) as connection:
            outbox.mark(connection, event_ids, now_ms)

    def note_refused(self, event_ids: Iterable[str]) -> dict[str, int]:
        """Count an attempt at each of the events; how many there were by now, by id."""
        with writing(self.engine, durable=False) as connection:
            return outbox.refused(connection, event_ids)

    def set_aside(self, event_ids: Iterable[str], now_ms: int) -> None:
        """Let the other events pass these, which is told by an event of its own."""
        with writing(self.engine) as connection:
            outbox.set_aside(connection, event_ids, now_ms)

    def set_aside_events(self, book: str) -> list[Event]:
        """Events of a book that are set aside, oldest first."""
        with reading(self.engine) as connection:
            return outbox.aside(connection, book)

    def retry_set_aside(self, book: str) -> int:
        """Put them back into the turn; return how many there were."""
        with writing(self.engine, durable=False) as connection:
            return outbox.retry(connection, book)

    def prune(self, book: str, *, published_before_ms: int, heard_before_ms: int) -> int:
        """Remove published events and heartbeats of a book; return how many there were."""
        with writing(self.engine, durable=False) as connection:
            events = outbox.prune(connection, book, published_before_ms)
            return events + operations.forget_heartbeats(connection, book, heard_before_ms)

    def note_pause(self, venue: str, until_ms: int) -> None:
        """Tell every process that the venue wants no requests until then."""
        with writing(self.engine, durable=False) as connection:
            operations.note_pause(connection, venue, until_ms)

    def pause_until_ms(self, venue: str) -> int:
        """Until when the venue wants no requests; 0 where it never said so."""
        with reading(self.engine) as connection:
            return operations.pause_until_ms(connection, venue)

    def record_arrival(self, arrival: Arrival) -> None:
        """Store what an order met; the same client id again adds the answer's time."""
        with writing(self.engine, durable=False) as connection:
            operations.record_arrival(connection, arrival)

    def arrivals(self, book: str, since_ms: int = 0, *, limit: int | None = None) -> list[Arrival]:
        """Arrivals, oldest first; with `limit` the newest ones."""
        with reading(self.engine) as connection:
            return operations.arrivals(connection, book, since_ms, limit)

    def record_emergency(self, emergency: EmergencyRecord) -> None:
        """Store a run of the emergency protocol; the same id again replaces it."""
        with writing(self.engine) as connection:
            operations.record_emergency(connection, emergency)

    def emergencies(self, book: str) -> list[EmergencyRecord]:
        """Runs of the emergency protocol, oldest first."""
        with reading(self.engine) as connection:
            return operations.emergencies(connection, book)

    def beat(self, heartbeat: Heartbeat) -> None:
        """Store the newest heartbeat of (book, role, holder)."""
        with writing(self.engine, durable=False) as connection:
            operations.beat(connection, heartbeat)

    def heartbeats(self, book: str) -> list[Heartbeat]:
        """The newest heartbeat of each process, by role."""
        with reading(self.engine) as connection:
            return operations.heartbeats(connection, book)

    def record_receipt(self, receipt: Receipt) -> bool:
        """Remember that an event was handled whose effect lies elsewhere; whether it was new."""
        with writing(self.engine) as connection:
            return inbox.add(connection, receipt)

    def receipt(self, consumer: str, event_id: str) -> Receipt | None:
        """That of an event."""
        with reading(self.engine) as connection:
            return inbox.found(connection, consumer, event_id)

    def prune_receipts(self, before_ms: int) -> int:
        """Forget receipts of before `before_ms`; return how many there were."""
        with writing(self.engine, durable=False) as connection:
            return inbox.prune(connection, before_ms)

    def apply_regime(self, receipt: Receipt, book: str, state: RegimeState) -> Handled:
        """`record_regimes` of what an event led to, with its receipt; see the port."""
        with writing(self.engine) as connection:
            return inbox.apply_regime(connection, receipt, book, state)

    def apply_watch(
        self,
        receipt: Receipt | None,
        book: str,
        entries: Sequence[LogEntry],
        opened: Sequence[RecalibrationEvent],
        now_ms: int,
    ) -> Handled:
        """Store what a look at a book found, with its receipt; see the port."""
        with writing(self.engine) as connection:
            return inbox.apply_watch(connection, receipt, book, entries, opened, now_ms)

    def record_quality(self, asset: Asset, interval: Interval, report: Mapping[str, Any], now_ms: int) -> None:
        """Store a data quality report."""
        with writing(self.engine, durable=False) as connection:
            journal.record_quality(connection, asset, interval, report, now_ms)

    def log(
        self, book: str, source: str, level: str, message: str, now_ms: int, context: Mapping[str, Any] | None = None
    ) -> None:
        """Append to the agent log."""
        with writing(self.engine, durable=level == "error") as connection:
            journal.log(connection, book, source, level, message, now_ms, context)

    def agent_log(self, book: str, limit: int = 100) -> list[Mapping[str, Any]]:
        """The newest entries, oldest first."""
        with reading(self.engine) as connection:
            return journal.agent_log(connection, book, limit)

    def trades(self, book: str) -> list[Trade]:
        """Closed round trips, oldest first."""
        with reading(self.engine) as connection:
            return executions.trades(connection, book)

    def register_book(self, book: str, created_ms: int, settings: Mapping[str, Any]) -> None:
        """Remember a book; the same book again changes nothing."""
        with writing(self.engine) as connection:
            journal.register_book(connection, book, created_ms, settings)

    def books(self) -> list[BookRecord]:
        """All books, oldest first."""
        with reading(self.engine) as connection:
            return journal.books(connection)

    def finish_book(self, book: str, summary: Mapping[str, Any], now_ms: int) -> None:
        """Mark a run as finished; raises `LedgerError` for a book that was never registered."""
        with writing(self.engine) as connection:
            journal.finish_book(connection, book, summary, now_ms)
