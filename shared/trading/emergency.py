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
from shared.trading.inquiry import Inquiries
from shared.trading.reconciliation import Reconciler

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0


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
    ) -> None:
        """`since_ms` is when the book began: no older execution is its business. `tell` hears every step."""
        chosen = params or ExecutionParams()
        self._exchange = exchange
        self._ledger = ledger
        self._clock = clock
        self._book = book
        self._symbols = tuple(symbols)
        self._since_ms = since_ms
        self._tell = tell
        self._executor = Executor(exchange, ledger, clock, book, chosen, lease=lease)
        self._reconciler = Reconciler(exchange, ledger, clock, self._executor, book, since_ms)
        self._exits = EmergencyExits(
            exchange=exchange,
            ledger=ledger,
            clock=clock,
            executor=self._executor,
            inquiries=Inquiries(exchange, clock, chosen),
            book=book,
            lease=lease,
            journal=exits,
        )
        self._rounds: EmergencyRounds | None = None

    async def run(self, halt: Halt, *, patience_s: float | None = None) -> EmergencyRecord:
        """Close the book that `halt` stops; the record, finished when the book is flat and nothing of it rests.

        Without `patience_s` it ends only then; with it also after the round in which the time was over. A halt whose emergency
        is finished and whose book is flat changes nothing. Raises `LeaseLost`, and nothing of the venue or the ledger.
        """
        finished = self._finished_before(halt)
        if finished is not None:
            return finished
        rounds = self._rounds_of(halt)
        began_ms, pause_s = self._clock.now_ms(), FIRST_PAUSE_S
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
            await self._clock.sleep(max(pause_s, rounds.wait_s))
            pause_s = FIRST_PAUSE_S if goes_well else min(2 * pause_s, LONGEST_PAUSE_S)
            if patience_s is not None and self._clock.now_ms() - began_ms >= patience_s * 1000:
                return rounds.log.record

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
            reconciler=self._reconciler,
            exits=self._exits,
            log=log,
            book=self._book,
            symbols=self._symbols,
            since_ms=self._since_ms,
        )
        return self._rounds
