"""What a trader watches over between bars: halts, breakers on marked equity, the emergency, and exits while the ledger is away.

A halt is a row in the ledger, whoever wrote it: this process, another one, a person. One that closes positions starts the
emergency protocol, which is repeated until the book is known to be flat. What trips while the ledger is away is remembered and
written as soon as it is back; it is obeyed at once, by this module and by every approval (`OrderDesk.unwritten`).
"""

from __future__ import annotations

from shared.domain.errors import LedgerUnavailable
from shared.domain.records import Halt, HaltKind
from shared.trading.attempts import LEDGER, Attempts
from shared.trading.bare_exits import BareExits
from shared.trading.emergency import EmergencyProtocol
from shared.trading.emergency_exits import adopted
from shared.trading.mark_watch import MarkWatch
from shared.trading.session import LivePorts, Session, SessionSpec
from shared.trading.tape import Tape

PRICES = "prices"
EMERGENCY_PATIENCE_S = 2.0
"""After this long the emergency lets a tick pass (heartbeat, lease, messages) and goes on with the next one"""


class Guardian:
    """Guards the book of one session."""

    def __init__(self, ports: LivePorts, spec: SessionSpec, session: Session, tape: Tape, attempts: Attempts) -> None:
        self._ports = ports
        self._spec = spec
        self._session = session
        self._attempts = attempts
        self._in_force: list[Halt] = []
        self._unwritten = session.desk.unwritten
        self._flat_since: Halt | None = None
        self._exits_left = True
        self._marks = MarkWatch(ports.clock, spec.universe, session, tape, attempts)
        self._bare_exits = BareExits(ports, spec, session)
        self._protocol = EmergencyProtocol(
            exchange=session.exchange,
            ledger=ports.ledger,
            clock=ports.clock,
            book=spec.book,
            symbols=session.symbols,
            since_ms=session.since_ms,
            lease=lambda: session.lease,
            exits=ports.exits,
            params=spec.params.execution,
            own=session.reconciler.own,
            executor=session.executor,
        )

    @property
    def emergency(self) -> Halt | None:
        """The halt for which positions are closed, if one is in force."""
        halts = (*self._in_force, *self._unwritten)
        return next((halt for halt in halts if halt.kind.flattens and halt.symbol is None), None)

    @property
    def is_frozen(self) -> bool:
        """Whether a halt of the whole book keeps it from new risk and closes nothing."""
        return any(halt.kind is HaltKind.FROZEN and halt.symbol is None for halt in (*self._in_force, *self._unwritten))

    @property
    def reason(self) -> str:
        """Why the book is halted; empty where it is not."""
        return self.emergency.reason if self.emergency is not None else ""

    @property
    def is_closed(self) -> bool:
        """Whether no emergency is in force that has not come to its end."""
        return self.emergency is None or self.emergency == self._flat_since

    # --- halts and breakers ------------------------------------------------------------------------------------------------

    async def refresh_marks(self) -> None:
        """Ask the venue for account and marks where they are not known; where it does not answer, again a little later."""
        if not self._marks.needed:
            self._attempts.health.recover(PRICES)
        elif self._marks.due:
            longest_s = self._spec.params.execution.stop_deadline_s / 2
            await self._attempts.when_due(PRICES, self._marks.refresh, longest_s=longest_s)

    def mark(self) -> list[Halt]:
        """Mark the account for the breakers; what that has tripped, in force from now on. Asks nobody."""
        self._marks.tell()
        tripped = self._tripped()
        self._unwritten.extend(tripped)
        return tripped

    def look(self) -> None:
        """Write down what has tripped and ask the ledger for all halts. Raises `LedgerUnavailable`."""
        self._write()
        self._read()
        if self.emergency is None:
            self._flat_since = None

    def halt(self, kind: HaltKind, reason: str, until_ms: int | None) -> None:
        """Halt the book from now on; written now, or as soon as the ledger is back."""
        self._unwritten.append(Halt(self._spec.book, reason, self._ports.clock.now_ms(), until_ms, kind=kind))
        try:
            self._write()
        except LedgerUnavailable as error:
            self._attempts.ail(LEDGER, str(error))

    def _tripped(self) -> list[Halt]:
        """Breakers between bars, at the newest price that is known of each symbol.

        That is the stream's or the venue's mark, or the last close where it is newer. A price that has stood still misses what
        has happened since, but one that was never true would latch a drawdown that never was: the worst case is not assumed,
        the venue is asked instead (`refresh_marks`). No symbol without a fresh price keeps the others from being looked at.
        """
        session = self._session
        held = [symbol for symbol, position in session.account.positions.items() if position.quantity]
        last = session.marks.last
        if not session.account.known or last is None or self._marks.newest_ms(held) <= last.time_ms:
            return []  # nothing is newer than the bar that was marked
        account = session.account.marked(session.book, self._marks.prices(), self._spec.leverage)
        known = [*self._in_force, *self._unwritten]
        return session.marks.between_bars(self._ports.clock.now_ms(), account, known)

    def _write(self) -> None:
        while self._unwritten:
            self._ports.ledger.set_halt(self._unwritten[0])
            self._in_force.append(self._unwritten.pop(0))
            self._session.marks.saw(self._in_force, self._ports.clock.now_ms())

    def _read(self) -> None:
        now_ms = self._ports.clock.now_ms()
        self._in_force = self._ports.ledger.halts(self._spec.book, now_ms)
        self._session.marks.saw(self._in_force, now_ms)

    def stepped(self) -> None:
        """A bar was stepped: its breakers may have tripped."""
        self._read()

    # --- exits -------------------------------------------------------------------------------------------------------------

    async def run_emergency(self) -> None:
        """Close everything where a halt says so, a few seconds at a time, until the venue says flat. Raises `LeaseLost`."""
        halt, session = self.emergency, self._session
        if halt is None or (halt == self._flat_since and not session.book.held_symbols()):
            return
        self._exits_left = True
        try:
            record = await self._protocol.run(halt, patience_s=EMERGENCY_PATIENCE_S)
        finally:
            session.book.changed()
            session.account.forget()
        if record.finished_ms is not None:
            self._flat_since = halt

    async def close_bare(self, outage: str) -> list[str]:
        """While the ledger is away: close what no own stop covers of the book's own position, by the journal; what was done.

        `outage` names the outage: each of its exits has one client id. Raises the `VenueError` tree, `LeaseLost`.
        """
        self._exits_left = True
        return await self._bare_exits.close(outage)

    async def take_over_exits(self) -> None:
        """Bring exits that were sent while the ledger was away into it. Raises what ledger and venue raise."""
        if not self._exits_left:
            return
        session, ledger = self._session, self._ports.ledger
        intents = self._ports.exits.pending()
        if intents:
            ledger.add_intents(adopted(intents, ledger), session.lease)
            for intent in intents:
                record = ledger.order(intent.client_id)
                if record is not None and not record.state.is_final:
                    await session.executor.settle(record, None, patience_s=self._spec.params.execution.answer_patience_s)
                await session.reconciler.book_fills(intent.symbol)
            self._ports.exits.clear()
            session.book.changed()
        self._exits_left = False
