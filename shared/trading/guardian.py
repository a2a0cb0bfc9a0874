"""What a trader watches over between bars: halts, breakers on marked equity, the emergency, and exits while the ledger is away.

A halt is a row in the ledger, whoever wrote it: this process, another one, a person. One that closes positions starts the
emergency protocol, which is repeated until the book is known to be flat. What trips while the ledger is away is remembered and
written as soon as it is back; it is obeyed at once.
"""

from __future__ import annotations

from shared.domain.errors import LedgerUnavailable
from shared.domain.orders import OrderKind
from shared.domain.records import Halt, HaltKind
from shared.domain.stream import AccountMessage, OrderMessage
from shared.trading.emergency import EmergencyProtocol
from shared.trading.emergency_exits import EmergencyExits, adopted
from shared.trading.inquiry import Inquiries
from shared.trading.session import LivePorts, Session, SessionSpec
from shared.trading.tape import Tape

EMERGENCY_PATIENCE_S = 5.0
"""After this long the emergency lets a tick pass (heartbeat, lease, messages) and goes on with the next one"""


class Guardian:
    """Guards the book of one session."""

    def __init__(self, ports: LivePorts, spec: SessionSpec, session: Session, tape: Tape) -> None:
        self._ports = ports
        self._spec = spec
        self._session = session
        self._tape = tape
        self._in_force: list[Halt] = []
        self._unwritten: list[Halt] = []
        self._flat_since: Halt | None = None
        self._exits_left = True
        self._bare_exits = EmergencyExits(
            exchange=session.exchange,
            ledger=ports.ledger,
            clock=ports.clock,
            executor=session.executor,
            inquiries=Inquiries(session.exchange, ports.clock, spec.params.execution),
            book=spec.book,
            lease=lambda: session.lease,
            journal=ports.exits,
        )
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
        )

    @property
    def emergency(self) -> Halt | None:
        """The halt for which positions are closed, if one is in force."""
        halts = (*self._in_force, *self._unwritten)
        return next((halt for halt in halts if halt.kind.flattens and halt.symbol is None), None)

    @property
    def reason(self) -> str:
        """Why the book is halted; empty where it is not."""
        return self.emergency.reason if self.emergency is not None else ""

    @property
    def is_closed(self) -> bool:
        """Whether no emergency is left to be run."""
        return self.emergency in (None, self._flat_since)

    def mark(self) -> list[Halt]:
        """Mark the account for the breakers; what that has tripped, in force from now on. Asks nobody."""
        tripped = self._tripped()
        self._unwritten += tripped
        return tripped

    def look(self) -> None:
        """Write down what has tripped and ask the ledger for all halts. Raises `LedgerUnavailable`."""
        self._write()
        self._in_force = self._ports.ledger.halts(self._spec.book, self._ports.clock.now_ms())
        if self.emergency is None:
            self._flat_since = None

    def halt(self, kind: HaltKind, reason: str, until_ms: int | None) -> None:
        """Halt the book from now on; written now, or as soon as the ledger is back."""
        self._unwritten.append(Halt(self._spec.book, reason, self._ports.clock.now_ms(), until_ms, kind=kind))
        try:
            self._write()
        except LedgerUnavailable:
            self._exits_left = True

    async def run_emergency(self) -> None:
        """Close everything where a halt says so, a few seconds at a time, until the venue says flat. Raises `LeaseLost`."""
        halt, session = self.emergency, self._session
        if halt is None or (halt == self._flat_since and not session.book.held_symbols()):
            return
        try:
            record = await self._protocol.run(halt, patience_s=EMERGENCY_PATIENCE_S)
        finally:
            session.book.changed()
            session.account.forget()
        if record.finished_ms is not None:
            self._flat_since = halt

    async def close_bare(self, outage: str) -> list[str]:
        """While the ledger is away: close positions that no stop protects at the venue, by the journal; what was done.

        `outage` names the outage: each of its exits has one client id. Raises the `VenueError` tree, `LeaseLost`.
        """
        session, done = self._session, []
        account = await session.exchange.account()
        stopped = {report.symbol for report, kind in await session.exchange.open_orders() if kind is OrderKind.STOP}
        for symbol in session.symbols:
            held = account.position(symbol)
            if held and symbol not in stopped:
                done.append(await self._bare_exits.close(outage, held, account, session.desk.rules[symbol]))
                self._exits_left = True
        return done

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
                    await session.executor.settle(record, None)
                await session.reconciler.book_fills(intent.symbol)
            self._ports.exits.clear()
            session.book.changed()
        self._exits_left = False

    async def protect(self) -> None:
        """Slices that are due, stops that are missing, doubts that refusals have raised. Raises what ledger and venue raise."""
        await self._session.follow_up.tend(self._session.symbols)
        await self._session.resolve_doubts()

    async def after(self, message: OrderMessage | AccountMessage) -> None:
        """What follows from a user message: funding is booked, remainders are ordered, stops follow the position."""
        session = self._session
        if isinstance(message, AccountMessage):
            if message.reason == "FUNDING_FEE":
                await session.reconciler.book_funding()
            return
        if message.fill is not None or message.report.state.is_final:
            await session.follow_up.finished(message.report.client_id)
            await session.follow_up.tend([message.report.symbol])

    def stepped(self) -> None:
        """A bar was stepped: its breakers may have tripped."""
        self._in_force = self._ports.ledger.halts(self._spec.book, self._ports.clock.now_ms())

    def _tripped(self) -> list[Halt]:
        """Breakers between bars, where every held symbol has a fresh mark."""
        session, marks = self._session, self._tape.marks()
        held = [symbol for symbol, position in session.account.positions.items() if position.quantity]
        if not held or not session.account.known or any(symbol not in marks for symbol in held):
            return []
        account = session.account.marked(session.book, marks, self._spec.leverage)
        known = [*self._in_force, *self._unwritten]
        return session.marks.between_bars(self._ports.clock.now_ms(), account, known)

    def _write(self) -> None:
        while self._unwritten:
            self._ports.ledger.set_halt(self._unwritten[0])
            self._in_force.append(self._unwritten.pop(0))
