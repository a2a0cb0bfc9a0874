"""What the core asks of the outside world, one Protocol each.

Adapters in `shared/adapters/` implement them; every adapter of a port passes the same contract tests
(`tests/integration/contracts/`). The core never imports an adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from shared.domain.asset import Asset
from shared.domain.candles import Candles, FloatArray, IntArray
from shared.domain.decision import Decision
from shared.domain.events import Event
from shared.domain.interval import Interval
from shared.domain.money import SymbolRules
from shared.domain.orders import Account, Fill, OrderIntent, OrderKind, OrderRecord, OrderReport, Position
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
from shared.domain.research import CampaignRecord, Champion, Pattern, RecalibrationEvent, TaskRecord, Trial
from shared.domain.stream import Channel, MarketMessage, UserMessage
from shared.risk.approval import ApprovedOrder

Item = TypeVar("Item")
Result = TypeVar("Result")


class Clock(Protocol):
    """The only source of time."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait on this clock."""
        ...


@dataclass(frozen=True, slots=True)
class StoredObject:
    """The bytes of an object and the generation that a conditional write must name."""

    content: bytes
    generation: int


class Bucket(Protocol):
    """Named objects with compare-and-swap."""

    def read(self, name: str) -> StoredObject | None:
        """The object, or `None` where there is none."""
        ...

    def write(self, name: str, content: bytes, *, if_generation: int | None = None) -> int:
        """Replace the object in one step and return its new generation.

        `if_generation` is the generation that the writer has read (0: the object must not exist); `None` writes
        unconditionally. Raises `Conflict` where another writer was faster, `StorageError` where the disk refuses; in both
        cases the stored object is unharmed.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove the object; silent where there is none."""
        ...

    def list(self, prefix: str = "") -> list[str]:
        """Names that start with `prefix`, sorted."""
        ...


class MarketData(Protocol):
    """Public market data of one venue. All methods raise the `VenueError` tree."""

    async def candles(self, symbol: str, interval: Interval, start_ms: int, end_ms: int) -> Candles:
        """Closed bars that open in [start_ms, end_ms). The open bar is never among them; pages are joined."""
        ...

    async def funding_rates(self, symbol: str, start_ms: int, end_ms: int) -> tuple[IntArray, FloatArray]:
        """Settled funding: instants (ms) and rates (fraction of notional, long pays when positive)."""
        ...

    async def open_interest(self, symbol: str, start_ms: int, end_ms: int) -> tuple[IntArray, FloatArray]:
        """Open interest: instants (ms) and base units; empty where the venue keeps none."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class Exchange(Protocol):
    """Trading on one account of one venue. All methods raise the `VenueError` tree: unreachable, unknown or rejected."""

    async def server_time_ms(self) -> int:
        """The venue's clock."""
        ...

    async def rules(self, symbols: Iterable[str]) -> Mapping[str, SymbolRules]:
        """What the venue accepts, by symbol. Raises `UsageError` naming symbols that it does not list."""
        ...

    async def prepare(self, symbols: Iterable[str], leverage: int) -> None:
        """One-way mode, cross margin and `leverage`, set where needed and verified by reading back; fees in quote currency.

        Raises `ReconciliationError` where the venue still says otherwise.
        """
        ...

    async def account(self) -> Account:
        """Balances and positions now."""
        ...

    async def send(self, order: ApprovedOrder) -> OrderReport:
        """Place an order, in one request that is never repeated. A duplicate client id is success: the order is looked up.

        Raises `VenueRejected` (final), `VenueUnreachable` (not sent; `ClockRefused`: not taken because of its time) or
        `OutcomeUnknown` (query with `find`).
        """
        ...

    async def find(self, intent: OrderIntent) -> OrderReport | None:
        """The order with the intent's client id; `None` where the venue says that it does not exist."""
        ...

    async def cancel(self, intent: OrderIntent) -> OrderReport | None:
        """Cancel by client id and report the final state; `None` where there is no such order."""
        ...

    async def open_orders(self) -> Sequence[tuple[OrderReport, OrderKind]]:
        """Every resting order of the account, stops included, ours or not."""
        ...

    async def fills(self, symbol: str, since_ms: int) -> list[Fill]:
        """Executions of `symbol` at or after `since_ms`, oldest first, pages joined."""
        ...

    async def funding_paid(self, since_ms: int) -> list[FundingPayment]:
        """Funding entries of the account at or after `since_ms`, oldest first."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class MarketStream(Protocol):
    """Live market data of several symbols on one connection. Reconnecting with back-off and rotation happen inside."""

    async def open(self, symbols: Sequence[str], interval: Interval) -> None:
        """Subscribe to bars, quotes and mark prices. Raises the `VenueError` tree where the venue refuses for good."""
        ...

    async def next(self) -> MarketMessage:
        """The next message, in the order of arrival; waits for one. One consumer.

        Closed bars and notices are never left out; of open bars, quotes and mark prices that were not taken in time, the newest
        comes. Raises `VenueUnreachable` once the stream was closed.
        """
        ...

    async def reconnect(self, reason: str, channel: Channel | None = None) -> None:
        """Drop the connection that serves `channel` (default: all) and make a new one: the watchdog does not believe it."""
        ...

    async def close(self) -> None:
        """Release the connection."""
        ...


class UserStream(Protocol):
    """What happens on the account, as it happens; keys are renewed and connections rotated inside."""

    async def open(self) -> None:
        """Take a key and connect. Raises `VenueRejected` where the venue refuses the account's key."""
        ...

    async def next(self) -> UserMessage:
        """The next message, in the order of arrival; waits for one. One consumer. Raises `VenueUnreachable` once closed."""
        ...

    async def reconnect(self, reason: str) -> None:
        """Drop the connection and make a new one."""
        ...

    async def close(self) -> None:
        """Release the connection. The key belongs to the account, whose other processes may be using it, and ends by itself."""
        ...


class Bus(Protocol):
    """Where events are published."""

    async def publish(self, event: Event) -> None:
        """Hand an event over; returning means that it was taken. Raises `BusUnavailable` where it was not, for all we know."""
        ...


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """One enabled version of a secret. Its value appears in no repr."""

    secret: str
    number: int
    """counted by the store; a newer version has a larger one"""
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """An enabled version of a secret, without its value."""

    number: int
    created_ms: int | None
    """`None` where the store does not know"""


class Secrets(Protocol):
    """Keys, which no file of settings holds.

    All methods raise `ConfigError` where a person must act (no such secret or version, permission denied) and
    `SecretsUnavailable` where the store does not answer.
    """

    def newest(self, secret: str) -> SecretVersion:
        """The newest version that is enabled."""
        ...

    def version(self, secret: str, number: int) -> SecretVersion:
        """One version; it must be enabled."""
        ...

    def versions(self, secret: str) -> list[VersionInfo]:
        """The enabled versions, newest first."""
        ...

    def disable(self, secret: str, number: int) -> None:
        """Let a version be read no more; it can be enabled again. Silent where it is disabled already."""
        ...


class ExitJournal(Protocol):
    """What keeps exits while the ledger is down, and outlives the process: durable before `append` returns."""

    def append(self, intent: OrderIntent) -> None:
        """Write an intent down before it is sent. Raises `StorageError`."""
        ...

    def pending(self) -> list[OrderIntent]:
        """Intents that were not yet taken over by the ledger, oldest first."""
        ...

    def clear(self) -> None:
        """Forget them: the ledger has them now."""
        ...


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


class Jobs(Protocol):
    """Independent pieces of work on however many processors there are."""

    def run(
        self, prepare: Callable[[], Callable[[Item], Result]], items: Sequence[Item], on_done: Callable[[int, Result], None]
    ) -> None:
        """`on_done(place, work(item))` for every item in the order in which they finish, in this process.

        `work` is what `prepare()` returns, called in the process that does the work. Raises what an item raised, `JobError`
        where its process was lost again and again; what is finished has been told by then.
        """
        ...


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of a task array, and what has become of its tasks by now."""

    name: str
    arguments: tuple[str, ...]
    tasks: int
    succeeded: int = 0
    failed: int = 0
    """those that have failed for good, after their retries, or were cancelled"""
    is_finished: bool = False


class TaskArray(Protocol):
    """A program of which several instances run at once, each told its place: see `cloudrun/campaign`.

    All methods raise `JobError` where the array cannot be used.
    """

    def start(self, arguments: Sequence[str], tasks: int) -> Execution:
        """Start `tasks` instances with `arguments` and return at once.

        Where an unfinished execution has the same arguments nothing is started, and it is returned: asking again is safe.
        """
        ...

    def execution(self, name: str) -> Execution | None:
        """How far an execution is; `None` where there is none of that name."""
        ...


class Research(Protocol):
    """The memory of research, beside the ledger's. A method is one transaction; all raise `LedgerUnavailable` if it is down.

    Records are keyed by id: the same id again changes nothing. A prefix of an id is enough where one record is looked up.
    """

    def record_trials(self, trials: Iterable[Trial]) -> int:
        """Store trials; return how many were new."""
        ...

    def trials(self, asset: Asset, *, campaign_id: str | None = None) -> list[Trial]:
        """Trials of an asset, oldest first: one for each variant, data range and code that were evaluated."""
        ...

    def register_campaign(self, campaign: CampaignRecord) -> None:
        """Remember a campaign before its first task."""
        ...

    def finish_campaign(self, campaign_id: str, outcome: Mapping[str, Any], now_ms: int) -> None:
        """Store the verdict; a finished campaign keeps its first one."""
        ...

    def campaign(self, campaign_id: str) -> CampaignRecord | None:
        """One campaign. Raises `UsageError` where a prefix fits several."""
        ...

    def campaigns(self, asset: Asset | None = None) -> list[CampaignRecord]:
        """Campaigns, oldest first."""
        ...

    def record_task(self, task: TaskRecord) -> None:
        """Store a finished task."""
        ...

    def tasks(self, campaign_id: str) -> list[TaskRecord]:
        """Finished tasks of a campaign, by position."""
        ...

    def champion(self, champion_id: str) -> Champion | None:
        """One champion. Raises `UsageError` where a prefix fits several."""
        ...

    def champions(self, asset: Asset | None = None, *, active: bool = False) -> list[Champion]:
        """Champions, oldest first; with `active` only those in force."""
        ...

    def promote(self, champion: Champion, now_ms: int) -> Champion | None:
        """Make it the active champion of its asset and deactivate the one before, in one transaction; return that one.

        The active one again changes nothing and returns `None`. Raises `UsageError` where its lineage does not name the
        `predecessor` that it was compared with (`None`: no champion), `Conflict` where another one is active by then, or where
        the id is that of an earlier reign or of another asset.
        """
        ...

    def record_recalibration(self, event: RecalibrationEvent) -> None:
        """Store an event."""
        ...

    def advance_recalibration(
        self, event_id: str, status: str, now_ms: int, outcome: Mapping[str, Any] | None = None
    ) -> RecalibrationEvent:
        """Set the status; one that ends the event (`champion`, `no_improvement`, `failed`) also stores instant and outcome."""
        ...

    def recalibrations(self, asset: Asset | None = None) -> list[RecalibrationEvent]:
        """Recalibration events, oldest first."""
        ...

    def record_patterns(self, patterns: Iterable[Pattern]) -> int:
        """Store patterns; return how many were new."""
        ...

    def patterns(self, asset: Asset, *, since_ms: int = 0) -> list[Pattern]:
        """Patterns of an asset by the instant at which they became known."""
        ...
