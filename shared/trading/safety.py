"""What comes before everything else at each look, in stream and in schedule mode alike: nothing that is held stays unprotected.

    halts -> the emergency -> exits taken over -> stops and slices, by symbol -> exits of what the ledger keeps bare -> breakers

Each of these fails and is tried again by itself; only the venue's wish to be left alone holds all of them up. Nothing here
waits for a reconciliation, a bar or a question that only serves the record.
"""

from __future__ import annotations

from shared.domain.errors import LedgerUnavailable
from shared.domain.interval import HOUR_MS, format_ms
from shared.domain.records import HaltKind
from shared.trading.attempts import LEDGER, VENUE, Attempts, Work
from shared.trading.guardian import Guardian
from shared.trading.session import LivePorts, Session, SessionSpec
from shared.trading.side_by_side import side_by_side
from shared.trading.tape import Tape
from shared.trading.trader_params import TraderParams

LONGEST_UNTOLD_MS = 60_000
"""between two looks at what is bare while the venue does not tell what a symbol has done"""
EMERGENCY, EXITS, DOUBTS, STOPS = "emergency", "exits without the ledger", "account", "resting stops"


class Safety:
    """Looks after what one session holds."""

    def __init__(
        self, ports: LivePorts, spec: SessionSpec, params: TraderParams, session: Session, tape: Tape, attempts: Attempts
    ) -> None:
        self._clock = ports.clock
        self._params = params
        self._session = session
        self._attempts = attempts
        self._deadline_s = spec.params.execution.stop_deadline_s
        self._next_bare_ms = 0
        self._unwritten_ms: dict[str, int] = {}
        """by symbol: since when the ledger has kept it from being protected"""
        self._restless: set[str] = set()
        """symbols with something left to do"""
        self.guardian = Guardian(ports, spec, session, tape, attempts)

    async def look(self, *, mark: bool = True) -> None:
        """One pass; without `mark` the breakers are left to the step of a bar. Raises `LeaseLost` and what is not ours."""
        attempts, guardian = self._attempts, self.guardian
        self._count_failures()
        self.pause_after_outage()
        await attempts.when_due(LEDGER, self._look_at_halts)
        await self._close_if_halted()
        if attempts.due(LEDGER):
            await attempts.when_due(EXITS, guardian.take_over_exits, longest_s=self._deadline_s / 2)
            if self._session.executor.unconfirmed:
                await attempts.when_due(STOPS, self._session.confirm_stops, longest_s=self._deadline_s / 2)
            else:
                attempts.health.recover(STOPS)
            await self._protect()
            if self._session.executor.doubts:
                await attempts.when_due(DOUBTS, self._session.resolve_doubts, longest_s=self._deadline_s / 2)
        await self._without_ledger()
        if mark:
            await self._mark()

    async def _mark(self) -> None:
        """Breakers between bars; where one closes positions, at once."""
        await self.guardian.refresh_marks()
        for halt in self.guardian.mark():
            self._attempts.say("warning", f"halted: {halt.reason}")
            await self._close_if_halted()

    async def _close_if_halted(self) -> None:
        await self._attempts.when_due(EMERGENCY, self.guardian.run_emergency, longest_s=self._deadline_s / 2)

    async def after_message(self, symbol: str, client_id: str) -> None:
        """An order of `symbol` has moved: remainders are ordered, stops follow the position. Raises as `look`.

        What others do in a symbol that is not traded here is left alone.
        """
        if symbol not in self._session.symbols:
            return

        async def follow() -> None:
            self._restless.add(symbol)  # where this fails, the next look tries it again, whatever is held by then
            await self._session.follow_up.finished(client_id)
            await self._session.follow_up.tend([symbol])

        await self._alone(symbol, follow)

    @property
    def bare(self) -> tuple[str, ...]:
        """Symbols with a position that is not fully protected, as far as is known."""
        return self._session.desk.bare

    @property
    def unfinished(self) -> str:
        """What must not be left alone, in one line; empty where all is protected, and flat if it has to be."""
        found = [f"{symbol} is held without its full stop" for symbol in self.bare]
        # Past the deadline what is bare of it was closed, or that has failed, which is urgent by itself.
        lately_ms = self._clock.now_ms() - round(self._deadline_s * 1500)
        untold = self._session.reconciler.untold.items()
        found += [f"what was done in {symbol} is not known" for symbol, since_ms in untold if since_ms > lately_ms]
        if not self.guardian.is_closed:
            found.append(f"the emergency is not over ({self.guardian.reason})")
        urgent = (LEDGER, EMERGENCY, EXITS, DOUBTS, STOPS, *map(_protection, self._session.symbols))
        found += [text for name, text in self._attempts.health.reasons.items() if name in urgent]
        return "; ".join(found)

    @property
    def waiting(self) -> bool:
        """Whether a symbol has something left to do that can be done: a slice, an order whose fate is open."""
        return bool(self._restless - self._session.reconciler.unread.keys())

    async def _look_at_halts(self) -> None:
        self.guardian.look()
        if self._attempts.health.ails(LEDGER):
            self._session.renew_lease(force=True)  # that it answers proves nothing: one whose disk is full reads on
            self._attempts.health.recover(LEDGER)
            self._attempts.in_doubt = True  # what the streams said meanwhile is not in it

    async def _without_ledger(self) -> None:
        """What has no stop waits neither for the ledger, or a table of it, nor until the venue tells what a symbol has done."""
        now_ms = self._clock.now_ms()
        away_ms = now_ms - round(self._attempts.health.lasting_s(LEDGER, now_ms) * 1000)
        untold = self._session.reconciler.untold.values()
        since_ms = min([away_ms, *self._unwritten_ms.values(), *untold])
        if now_ms - since_ms < self._deadline_s * 1000 or now_ms < self._next_bare_ms:
            return
        longest_ms = LONGEST_UNTOLD_MS if untold else 0
        self._next_bare_ms = now_ms + max(round(self._deadline_s * 500), min((now_ms - since_ms) // 2, longest_ms))
        outage = f"ledger-{since_ms}"

        async def close() -> None:
            await self.guardian.close_bare(outage)

        await self._attempts.when_due(EXITS, close, longest_s=self._deadline_s / 2)

    async def _protect(self) -> None:
        """Stops and slices of every symbol that has any, side by side: none waits for another one's answers."""
        book = self._session.book
        touched: set[str] = set()

        async def read() -> None:
            touched.update(book.held_symbols(), (record.intent.symbol for record in book.unfinished()))

        if not await self._attempts.attempt(LEDGER, read):
            return
        touched.update(self.bare, self._restless)
        symbols = [symbol for symbol in self._session.symbols if symbol in touched]
        await side_by_side(map(self._protect_one, symbols))

    async def _protect_one(self, symbol: str) -> None:
        async def tend() -> None:
            self._restless.add(symbol)
            unwritten_ms = self._unwritten_ms.pop(symbol, self._clock.now_ms())
            try:
                at_rest = await self._session.follow_up.tend([symbol])
            except LedgerUnavailable:
                self._unwritten_ms[symbol] = unwritten_ms
                raise
            if at_rest:
                self._restless.discard(symbol)

        if self._attempts.due(_protection(symbol)):
            await self._alone(symbol, tend)

    async def _alone(self, symbol: str, work: Work) -> None:
        """Work for one symbol. What cannot be read about it holds no other one back, and is not asked again at once."""
        name, longest_s, errands = _protection(symbol), self._deadline_s / 2, self._attempts.errands
        reconciler = self._session.reconciler
        if not await self._attempts.attempt(name, lambda: reconciler.alone(symbol, work), longest_s=longest_s):
            return
        if symbol in reconciler.unread:
            errands.ail(name, "what the venue says cannot be read", self._clock.now_ms(), longest_s=longest_s)
        else:
            errands.recover(name)

    def _count_failures(self) -> None:
        """Too many failures that nobody explains halt the book and close its positions."""
        reason, self._attempts.too_many = self._attempts.too_many, ""
        if reason:
            self._attempts.health.forget_failures()
        if reason and self.guardian.emergency is None:
            bound = f"{self._params.operational_failures} failures within {self._params.operational_window_s:.0f} s"
            halt = f"{bound}, the last one: {reason}"
            self.guardian.halt(HaltKind.OPERATIONAL, halt, None)
            self._attempts.say("error", f"halted: {halt}")

    def pause_after_outage(self) -> None:
        """Pause and tell a person where the venue has been away for too long."""
        params, now_ms = self._params, self._clock.now_ms()
        away_s = self._attempts.health.proven_s(VENUE)
        if away_s <= params.outage_pause_s or self.guardian.is_frozen:
            return
        until_ms = now_ms + round(params.outage_pause_hours * HOUR_MS)
        reason = f"the venue has been away for {away_s:.0f} s"
        self.guardian.halt(HaltKind.FROZEN, reason, until_ms)
        self._attempts.say("error", f"{reason}: no new risk until {format_ms(until_ms)}")


def _protection(symbol: str) -> str:
    return f"protection of {symbol}"
