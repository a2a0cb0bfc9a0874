"""What a trader does with each letter, and at each tick of its timer. One at a time, each to its end.

A tick looks, in this order: halts and the emergency, breakers between bars, exits kept while the ledger was away, the streams,
bars whose patience is over, slices and stops that are due, the outbox, the heartbeat. What venue, ledger or bus refuse is
their trouble: it holds new risk back and is tried again with growing pauses; what nobody expects ends the trader.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from shared.domain.errors import (
    BusUnavailable,
    LeaseLost,
    LedgerUnavailable,
    OstError,
    OutcomeUnknown,
    RateLimited,
    StorageError,
    VenueUnreachable,
)
from shared.domain.records import HaltKind, Heartbeat
from shared.domain.stream import AccountMessage, BarMessage, OrderMessage, StreamNotice
from shared.trading.guardian import Guardian
from shared.trading.health import Health, TraderState
from shared.trading.mailbox import Letter
from shared.trading.outbox import relay
from shared.trading.session import LivePorts, Session, SessionSpec
from shared.trading.stepper import OnStep as OnStep
from shared.trading.stepper import Stepper
from shared.trading.tape import Tape
from shared.trading.trader_params import TraderParams
from shared.trading.watchdog import Watchdog

VENUE, LEDGER, BUS = "venue", "ledger", "bus"


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
        self._health = Health(params)
        self._bus = Health(params)
        self._watchdog = Watchdog(ports, params, session, tape, self._health)
        self._guardian = Guardian(ports, spec, session, tape)
        self._stepper = Stepper(session, spec, params, ports.clock, on_step, self._say)
        self._due: dict[str, int] = {}
        self._said = ""
        self._ending = ""
        self.wants_more = False
        """whether a tick should follow at once"""

    @property
    def state(self) -> TraderState:
        """What the trader is doing."""
        if self._ending:
            return TraderState.STOPPING
        if self._guardian.emergency is not None:
            return TraderState.HALTED
        return TraderState.DEGRADED if self._health.reason else TraderState.TRADING

    async def begin(self) -> None:
        """After `Session.prepare`: exits of an earlier process are taken over; the streams are believed once they stand."""
        self._tell()
        await self._guardian.take_over_exits()
        self._say("info", f"the trader {self._spec.holder} has taken the book over")
        self._every("reconcile", self._params.reconcile_s)
        self._every("rules", self._params.rules_refresh_s)

    async def handle(self, letter: Letter) -> None:
        """One letter to its end. Raises `LeaseLost` and what nobody expects."""
        message = letter.message
        if isinstance(message, BarMessage):
            await self._guarded(VENUE, lambda: self._stepped(self._stepper.on_bar(message, may_step=self._tradable())))
        elif isinstance(message, OrderMessage | AccountMessage):
            self._watchdog.heard_user()
            await self._guarded(LEDGER, lambda: self._on_user(message))
        elif isinstance(message, StreamNotice):
            self._watchdog.on_notice(letter.source, message, letter.heard_ms)
            self._tell()
        elif message is None:
            await self._tick()

    async def end(self, reason: str) -> None:
        """The last words: events that wait, and a heartbeat that says why. Never raises for ledger, venue or bus."""
        self._ending = reason or "stopped"
        self._say("info", f"the trader stops: {self._ending}")
        await self._guarded(BUS, self._relay)
        await self._guarded(LEDGER, self._beat)

    @staticmethod
    def waiting_heartbeat(spec: SessionSpec, state: TraderState, now_ms: int) -> Heartbeat:
        """The heartbeat of a process that does not trade yet."""
        role = "standby" if state is TraderState.STANDBY else "trader"
        return Heartbeat(spec.book, role, spec.holder, now_ms, {"state": state.value, "reason": ""})

    async def _tick(self) -> None:
        self.wants_more = False
        for halt in self._guardian.mark():
            self._say("warning", f"halted: {halt.reason}")
        await self._guarded(LEDGER, self._look_at_halts)
        await self._guarded(VENUE, self._guardian.run_emergency)
        await self._guarded(VENUE, self._without_ledger)
        await self._guarded(LEDGER, self._guardian.take_over_exits)
        await self._guarded(VENUE, self._watch)
        if self._tradable():
            await self._guarded(VENUE, lambda: self._stepped(self._stepper.on_tick()))
            await self._guarded(VENUE, self._guardian.protect)
            if self._every("rules", self._params.rules_refresh_s):
                await self._guarded(VENUE, self._session.refresh_rules)
        await self._outage()
        await self._guarded(BUS, self._relay)
        if self._every("heartbeat", self._params.heartbeat_s):
            await self._guarded(LEDGER, self._beat)

    async def _look_at_halts(self) -> None:
        if self._health.due(LEDGER, self._clock.now_ms()):
            self._guardian.look()
            if self._health.recover(LEDGER):
                self._watchdog.resync_needed = True
                self._tell()

    async def _without_ledger(self) -> None:
        """What has no stop must not wait for the ledger to come back."""
        now_ms, deadline_s = self._clock.now_ms(), self._spec.params.execution.stop_deadline_s
        lasting_s = self._health.lasting_s(LEDGER, now_ms)
        if lasting_s >= deadline_s and self._health.due(VENUE, now_ms) and self._every("bare", deadline_s / 2):
            await self._guardian.close_bare(f"ledger-{now_ms - round(lasting_s * 1000)}")

    async def _watch(self) -> None:
        now_ms = self._clock.now_ms()
        if not self._health.due(VENUE, now_ms):
            return
        verdict = await self._watchdog.look()
        if verdict.dead is not None:
            self._say("warning", f"{verdict.dead.value} is replaced: {verdict.reason}")
            await self._watchdog.reconnect(verdict)
            self._count_failure(f"{verdict.dead.value}: {verdict.reason}")
        await self._watchdog.resync()
        self._tell()

    async def _stepped(self, step: Awaitable[Any]) -> None:
        before = self._stepper.steps
        if await step:
            self.wants_more = True
        if self._stepper.steps == before:
            return
        report = self._stepper.last
        if report is not None and report.fills:
            self._watchdog.expects_user()
        self._guardian.stepped()
        await self._guarded(BUS, self._relay)
        if report is not None:
            await self._session.board.refresh_open_interest(report.bar_close_ms)

    async def _on_user(self, message: OrderMessage | AccountMessage) -> None:
        await self._session.on_user(message)
        await self._guarded(VENUE, lambda: self._guardian.after(message))

    def _tradable(self) -> bool:
        now_ms = self._clock.now_ms()
        return self._health.due(VENUE, now_ms) and self._health.due(LEDGER, now_ms)

    async def _guarded(self, source: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work`; what venue, ledger or bus refuse becomes their trouble. Raises `LeaseLost` and what is not ours."""
        now_ms = self._clock.now_ms()
        try:
            await work()
        except LeaseLost:
            raise
        except LedgerUnavailable as error:
            self._ail(LEDGER, str(error))
        except BusUnavailable as error:
            self._bus.ail(BUS, str(error), now_ms)
        except (VenueUnreachable, OutcomeUnknown, RateLimited) as error:
            self._ail(VENUE, str(error), getattr(error, "retry_after_s", None))
            self._watchdog.resync_needed = True
        except (OstError, StorageError) as error:
            self._ail(source, str(error))
            self._watchdog.resync_needed = True
            self._count_failure(f"{source}: {error}")

    def _ail(self, source: str, reason: str, retry_after_s: float | None = None) -> None:
        if self._health.ail(source, reason, self._clock.now_ms(), retry_after_s) and source != LEDGER:
            self._say("warning", f"{source}: {reason}")
        self._tell()

    def _tell(self) -> None:
        """Hold new risk back while anything is not trusted, and show a change at once."""
        self._session.hold_back(self._health.reason)
        if self._health.reason != self._said:
            self._said = self._health.reason
            self._due.pop("heartbeat", None)

    def _count_failure(self, reason: str) -> None:
        if self._health.failed(self._clock.now_ms()):
            self._guardian.halt(
                HaltKind.OPERATIONAL,
                f"{self._params.operational_failures} failures within {self._params.operational_window_s:.0f} s, "
                f"the last one: {reason}",
                None,
            )

    async def _outage(self) -> None:
        """Pause and tell a person where the venue has been away for too long."""
        now_ms = self._clock.now_ms()
        if self._health.lasting_s(VENUE, now_ms) <= self._params.outage_pause_s or not self._every(
            "outage", self._params.outage_pause_hours * 3600
        ):
            return
        until_ms = now_ms + round(self._params.outage_pause_hours * 3_600_000)
        lasting = self._health.lasting_s(VENUE, now_ms)
        self._guardian.halt(HaltKind.FROZEN, f"the venue has been away for {lasting:.0f} s", until_ms)

    async def _relay(self) -> None:
        if not self._bus.due(BUS, self._clock.now_ms()) or self._health.ails(LEDGER):
            return
        await relay(self._ports.ledger, self._ports.bus, self._clock)
        self._bus.recover(BUS)

    async def _beat(self) -> None:
        last = self._stepper.last
        state: dict[str, Any] = {
            "state": self.state.value,
            "reason": self._ending or self._guardian.reason or self._health.reason,
            "interval": self._spec.interval.value,
            "symbols": self._session.symbols,
            "last_bar_ms": self._stepper.bars.done_ms,
            "equity": str(last.equity) if last else None,
            "drawdown": last.drawdown if last else None,
            "steps": self._stepper.steps,
            "reconnects": self._watchdog.reconnects,
            "failures": self._health.failures,
            "bus": self._bus.reason,
        }
        beat_ms = self._ports.lease_clock.now_ms()  # a process lives in real time, whatever time its venue has
        self._ports.ledger.beat(Heartbeat(self._spec.book, "trader", self._spec.holder, beat_ms, state))

    def _every(self, what: str, seconds: float) -> bool:
        """Whether `what` is due; if so it is due again `seconds` later."""
        now_ms = self._clock.now_ms()
        if now_ms < self._due.get(what, 0):
            return False
        self._due[what] = now_ms + round(seconds * 1000)
        return True

    def _say(self, level: str, message: str) -> None:
        """Into the book's log; where the ledger is away it is not heard, and the heartbeat says why."""
        try:
            self._ports.ledger.log(self._spec.book, "trader", level, message, self._clock.now_ms())
        except LedgerUnavailable as error:
            self._health.ail(LEDGER, str(error), self._clock.now_ms())
