"""The emergency protocol: cancel entries, flatten reduce-only until the venue says flat, and only then cancel the stops.

It runs in rounds (`emergency_rounds.py`) until one of them finds nothing left: through venue errors with growing pauses,
through the loss of the ledger by way of the exit journal, and through kills, because what was sent is known by its client id
and what was done is in the record. Source: design/failures.md, and correction 17 of the design (the reference document cancels
the stops first).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shared.domain.errors import LeaseLost, LedgerError, LedgerUnavailable, StorageError
from shared.domain.records import EmergencyRecord, Halt, Lease
from shared.ports import Clock, Exchange, ExitJournal, Ledger
from shared.trading.emergency_exits import EmergencyExits
from shared.trading.emergency_log import EmergencyLog, Tell, emergency_id
from shared.trading.emergency_rounds import EmergencyRounds
from shared.trading.execution import Executor
from shared.trading.execution_params import ExecutionParams
from shared.trading.holdings import Holdings
from shared.trading.inquiry import Inquiries
from shared.trading.own_position import OwnPosition
from shared.trading.reconciliation import Reconciler

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0


class EmergencyProtocol:
    """Closes one book. The same object may be run again, to go on or for another halt."""

    def __init__(
        self,
        exchange: Exchange,
        ledger: Ledger,
        clock: Clock,
        book: str,
        symbols: Sequence[str],
        since_ms: int,
        *,
        lease: Callable[[], Lease],
        exits: ExitJournal | None = None,
        params: ExecutionParams | None = None,
        tell: Tell = lambda _: None,
        own: OwnPosition | None = None,
        executor: Executor | None = None,
    ) -> None:
        """`since_ms` is when the book began: no older execution is its business. `tell` hears every step.

        `own` is what a session knows of its positions for when the ledger is away; `None`: the executions since the beginning.
        `executor` is the session's, which knows what it has sent; `None`: nothing was sent by this process.
        """
        chosen = params or ExecutionParams()
        self._exchange = exchange
        self._ledger = ledger
        self._clock = clock
        self._book = book
        self._symbols = tuple(symbols)
        self._tell = tell
        self._executor = executor or Executor(exchange, ledger, clock, book, chosen, lease=lease)
        self._reconciler = Reconciler(exchange, ledger, clock, self._executor, book, since_ms, exits=exits)
        self._exits = EmergencyExits(
            exchange=exchange,
            ledger=ledger,
            clock=clock,
            executor=self._executor,
            inquiries=Inquiries(exchange, clock, chosen),
            book=book,
            lease=lease,
            journal=exits,
            own=own or self._reconciler.own,
        )
        self._holdings = Holdings(ledger, self._reconciler, own or self._reconciler.own, book)
        self._pause_s = FIRST_PAUSE_S
        self._next_ms = 0
        """when the next round is due"""
        self._rounds: EmergencyRounds | None = None

    async def run(self, halt: Halt, *, patience_s: float | None = None) -> EmergencyRecord:
        """Close the book that `halt` stops; the record, finished when the book is flat and nothing of it rests.

        Without `patience_s` it ends only then; with it also before a pause that would last longer, to be called again. A halt
        whose emergency is finished and whose book is flat changes nothing. Raises `LeaseLost`, nothing of venue or ledger.
        """
        finished = self._finished_before(halt)
        if finished is not None:
            return finished
        rounds = self._rounds_of(halt)
        began_ms = self._clock.now_ms()
        if patience_s is not None and began_ms < self._next_ms:
            return rounds.log.record
        while True:
            try:
                goes_well = await rounds.once()
            except LeaseLost:
                raise
            except (LedgerError, StorageError) as error:
                rounds.log.step(f"the ledger: {error}")
                goes_well = False
            if rounds.log.record.finished_ms is not None:
                return rounds.log.record
            now_ms = self._clock.now_ms()
            self._pause_s = FIRST_PAUSE_S if goes_well else min(2 * self._pause_s, LONGEST_PAUSE_S)
            self._next_ms = now_ms + round(1000 * max(self._pause_s, rounds.wait_s))
            if patience_s is not None and self._next_ms >= began_ms + patience_s * 1000:
                return rounds.log.record
            await self._clock.sleep((self._next_ms - now_ms) / 1000)

    def _finished_before(self, halt: Halt) -> EmergencyRecord | None:
        """The record of this halt where its emergency ended and nothing has been opened since."""
        try:
            known = next((row for row in self._ledger.emergencies(self._book) if row.id == emergency_id(halt)), None)
            if known is None or known.finished_ms is None:
                return None
            held = any(position.quantity for position in self._ledger.positions(self._book).values())
            return None if held or self._ledger.orders(self._book, unfinished=True) else known
        except LedgerUnavailable:
            return None

    def _rounds_of(self, halt: Halt) -> EmergencyRounds:
        rounds = self._rounds
        if rounds is not None and rounds.log.record.id == emergency_id(halt) and rounds.log.record.finished_ms is None:
            return rounds
        log = EmergencyLog(self._ledger, self._clock, halt, self._tell)
        log.begin()
        self._rounds = EmergencyRounds(
            exchange=self._exchange,
            ledger=self._ledger,
            clock=self._clock,
            executor=self._executor,
            holdings=self._holdings,
            exits=self._exits,
            log=log,
            book=self._book,
            symbols=self._symbols,
        )
        return self._rounds
