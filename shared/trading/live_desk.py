"""What a trader does with each letter, and at each tick of its timer. One at a time, each to its end.

A tick looks after what is held first (`safety.py`): breakers, halts, the emergency, stops and slices. Then come, one after the
other and each by itself, the streams, bars whose patience is over, and errands that hold nothing back: rules, outbox, old rows.
A tick whose time is over leaves the rest to the next one, so that messages never wait behind more than one slow answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from shared.domain.errors import LedgerUnavailable
from shared.domain.interval import DAY_MS
from shared.domain.records import Heartbeat
from shared.domain.stream import AccountMessage, BarMessage, OrderMessage, StreamNotice
from shared.trading.attempts import BUS, LEDGER, START, VENUE, Attempts
from shared.trading.beginning import Beginning
from shared.trading.health import TraderState
from shared.trading.mailbox import Letter
from shared.trading.outbox import relay
from shared.trading.safety import Safety
from shared.trading.session import LivePorts, Session, SessionSpec
from shared.trading.stepper import OnStep as OnStep
from shared.trading.stepper import Stepper
from shared.trading.tape import Tape
from shared.trading.trader_params import TraderParams
from shared.trading.watchdog import Watchdog

DECISIONS = "decisions"


class LiveDesk:
    """The worker's side of a trader."""

    def __init__(
        self, ports: LivePorts, spec: SessionSpec, params: TraderParams, session: Session, tape: Tape, on_step: OnStep
    ) -> None:
        self._ports = ports
        self._spec = spec
        self._params = params
        self._session = session
        self._clock = ports.clock
        self._attempts = Attempts(ports.ledger, ports.clock, spec.book, params)
        self._health = self._attempts.health
        self._watchdog = Watchdog(ports, params, session, tape, self._attempts)
        self._safety = Safety(ports, spec, params, session, tape, self._attempts)
        self._guardian = self._safety.guardian
        self._beginning = Beginning(session, self._guardian)
        self._stepper = Stepper(session, spec, params, ports.clock, on_step, self._attempts.say)
        self._due: dict[str, int] = {}
        self._said: tuple[str, tuple[str, ...]] = ("", ())
        self._ending = ""
        self._stepped_ms: int | None = None
        """close of the bar whose step is to be checked against the venue"""
        self._may_step = False
        self._left: tuple[Callable[[], Awaitable[None]], ...] = ()
        """what the last tick had no time for"""
        self.wants_more = False
        """whether a tick should follow at once"""
        self.may_end = False
        """whether the process is about to end and has seen that it leaves nothing bare or half done"""

    @property
    def state(self) -> TraderState:
        """What the trader is doing."""
        if self._ending:
            return TraderState.STOPPING
        if self._guardian.emergency is not None:
            return TraderState.HALTED
        return TraderState.DEGRADED if self._health.reason or self._undecided else TraderState.TRADING

    @property
    def _undecided(self) -> str:
        """Why the last bar was decided for no symbol; empty where it was."""
        return self._attempts.errands.reasons.get(DECISIONS, "")

    async def begin(self) -> None:
        """Before the first letter; see `Beginning`. Raises what it was refused with."""
        await self._beginning.first()
        if self._beginning.refused is not None:
            self._attempts.ail(START, str(self._beginning.refused))
        self._tell()
        self._ports.ledger.retry_set_aside(self._spec.book)
        self._attempts.say("info", f"the trader {self._spec.holder} has taken the book over")
        self._every("rules", self._params.rules_refresh_s)

    async def _begin_again(self) -> None:
        """Where the beginning was refused: no new risk before it has come to its end."""
        await self._beginning.attempt()
        if self._beginning.refused is not None:
            self._attempts.ail(START, str(self._beginning.refused))
        else:
            self._health.recover(START)

    async def handle(self, letter: Letter) -> None:
        """One letter to its end. Raises `LeaseLost` and what nobody expects."""
        message = letter.message
        if isinstance(message, BarMessage):
            await self._attempts.attempt(VENUE, lambda: self._stepped(self._stepper.on_bar(message, may_step=self._tradable())))
        elif isinstance(message, OrderMessage | AccountMessage):
            await self._on_user(message)
        elif isinstance(message, StreamNotice):
            self._watchdog.on_notice(letter.source, message, letter.heard_ms)
        elif message is None:
            await self._tick()
        self._tell()

    def stopping(self, reason: str) -> None:
        """The process is about to end: no bar is begun any more."""
        self._ending = reason or "stopped"

    async def end(self, reason: str) -> None:
        """The last words: events that wait, and a heartbeat that says why. Never raises for ledger, venue or bus."""
        self.stopping(reason)
        left = self._safety.unfinished
        self._attempts.say("error" if left else "info", f"the trader stops: {self._ending}{left and f', and {left}'}")
        await self._relay()
        await self._beat()

    async def _tick(self) -> None:
        self.wants_more = False
        began_ms = self._clock.now_ms()
        await self._safety.look()
        self._tell()
        if self._ending and not (self._safety.unfinished or self._safety.waiting):
            self.may_end = True
            return
        self._attempts.tell_lasting()
        if self._every("heartbeat", self._params.heartbeat_s):
            await self._beat()
        # Before the streams are looked at: where that fails, a step may still take positions off.
        self._may_step = self._tradable()
        works = self._left or (self._watch, self._step_due, self._check_step, self._relay, self._run_errands)
        self._left = ()
        for done, work in enumerate(works, start=1):
            await work()
            if self._clock.now_ms() - began_ms > self._params.tick_s * 1000:
                self._left = works[done:]
                self.wants_more = True
                break

    async def _watch(self) -> None:
        """Streams that are silent or lost, and the reconciliation that restores trust."""
        if self._beginning.refused is not None and self._attempts.due(START):
            await self._attempts.attempt(LEDGER, self._begin_again)
        await self._attempts.when_due(VENUE, self._look_at_streams)

    async def _look_at_streams(self) -> None:
        verdict = await self._watchdog.look()
        if verdict.dead is not None:
            self._attempts.say("warning", f"{verdict.dead.value} is replaced: {verdict.reason}")
            await self._watchdog.reconnect(verdict)
            self._attempts.count(f"{verdict.dead.value}: {verdict.reason}")
        if self._attempts.in_doubt:
            self._attempts.in_doubt, self._watchdog.resync_needed = False, True
        await self._watchdog.resync()
        self._tell()

    async def _step_due(self) -> None:
        """Bars whose patience is over."""
        if self._may_step:
            await self._attempts.attempt(VENUE, lambda: self._stepped(self._stepper.on_tick()))

    async def _stepped(self, step: Awaitable[Any]) -> None:
        before = self._stepper.steps
        if await step:
            self.wants_more = True
        if len(self._session.board.unanswered) == len(self._session.symbols):
            self._attempts.in_doubt = True  # the venue was away, whatever the streams say
        report = self._stepper.last
        if self._stepper.steps == before or report is None:
            return
        self._watchdog.missed(self._stepper.rescued)
        self._guardian.stepped()
        self._stepped_ms = report.bar_close_ms
        self.wants_more = True
        if report.problems and not report.decisions:  # held back by nothing: what comes late is decided all the same
            self._attempts.errands.ail(DECISIONS, f"nothing is decided: {report.problems[0]}", self._clock.now_ms())
        elif report.decisions:
            self._attempts.errands.recover(DECISIONS)

    async def _check_step(self) -> None:
        """After a step, off its path: the account by REST where something is held (a dead user stream is silent), and more."""
        stepped_ms, self._stepped_ms = self._stepped_ms, None
        if stepped_ms is None or not self._attempts.due(LEDGER):
            return
        if self._session.account.positions:
            await self._attempts.when_due(VENUE, self._session.check_account)
        await self._attempts.errand("open interest", lambda: self._session.board.refresh_open_interest(stepped_ms))

    async def _on_user(self, message: OrderMessage | AccountMessage) -> None:
        """While the ledger is away nothing is booked: what is missed is fetched when it is back."""
        if isinstance(message, AccountMessage):
            await self._session.on_user(message)
            if message.reason == "FUNDING_FEE":
                await self._attempts.errand("funding", self._session.book_funding)
            return
        booked = await self._attempts.when_due(LEDGER, lambda: self._session.on_user(message))
        if not booked:
            self._session.follow_streams(trusted=False)
        elif message.fill is not None or message.report.state.is_final:
            await self._safety.after_message(message.report.symbol, message.report.client_id)

    def _tradable(self) -> bool:
        return not self._ending and self._attempts.due(VENUE) and self._attempts.due(LEDGER)

    def _tell(self) -> None:
        """Hold new risk back while anything is not trusted, and show a change at once."""
        self._session.hold_back(self._health.reason)
        now = (self._health.reason, self._safety.bare)
        if now != self._said:
            self._said = now
            self._due.pop("heartbeat", None)

    async def _run_errands(self) -> None:
        """What is done now and then, and holds nothing back where it fails."""
        if self._ending or not self._attempts.due(LEDGER):
            return
        for name, every_s, work in (
            ("rules", self._params.rules_refresh_s, self._session.refresh_rules),
            ("old rows", DAY_MS / 1000, self._prune),
        ):
            now_ms = self._clock.now_ms()
            if now_ms >= self._due.get(name, 0) and await self._attempts.errand(name, work):
                self._due[name] = now_ms + round(every_s * 1000)

    async def _prune(self) -> None:
        """Published events and processes that are long gone leave the ledger."""
        kept_ms = round(self._params.retention_days * DAY_MS)
        heard_before_ms = self._ports.lease_clock.now_ms() - kept_ms
        self._ports.ledger.prune(
            self._spec.book, published_before_ms=self._clock.now_ms() - kept_ms, heard_before_ms=heard_before_ms
        )

    async def _relay(self) -> None:
        """Events that wait, to the bus."""
        if self._attempts.due(LEDGER) and not self._health.ails(LEDGER):
            await self._attempts.errand(BUS, lambda: relay(self._ports.ledger, self._ports.bus, self._clock))

    async def _beat(self) -> None:
        """The heartbeat; where the ledger is away its age says so."""
        if not self._attempts.due(LEDGER):
            return
        last = self._stepper.last
        state: dict[str, Any] = {
            "state": self.state.value,
            "reason": self._ending or self._guardian.reason or self._health.reason or self._undecided,
            "interval": self._spec.interval.value,
            "symbols": self._session.symbols,
            "last_bar_ms": self._stepper.bars.done_ms,
            "equity": str(last.equity) if last else None,
            "drawdown": last.drawdown if last else None,
            "bare": list(self._safety.bare),
            "steps": self._stepper.steps,
            "reconnects": self._watchdog.reconnects,
            "failures": self._health.failures,
            "errands": self._attempts.errands.reason,
            "lasting": list(self._attempts.lasting.values()),
        }
        beat_ms = self._ports.lease_clock.now_ms()  # a process lives in real time, whatever time its venue has
        beat = Heartbeat(self._spec.book, "trader", self._spec.holder, beat_ms, state)
        try:
            self._ports.ledger.beat(beat)
        except LedgerUnavailable as error:
            self._attempts.ail(LEDGER, str(error))

    def _every(self, what: str, seconds: float) -> bool:
        """Whether `what` is due; if so it is due again `seconds` later."""
        now_ms = self._clock.now_ms()
        if now_ms < self._due.get(what, 0) <= now_ms + seconds * 1000:  # one farther ahead is of a clock that was set back
            return False
        self._due[what] = now_ms + round(seconds * 1000)
        return True
