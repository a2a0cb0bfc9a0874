"""Schedule mode: one request does a whole step and ends, so that a service may scale to zero between bars.

    run_once   take the lease, reconcile -> bars that were missed (recorded) -> the newest closed bar -> all at rest -> give up
    tend_once  the same without a bar: what happened since is settled, protected and, where a halt says so, closed

The step is the session's own, fed by REST. The same request again changes nothing; one that was cut off is continued by the
next. Invariant: no request ends well while something is held without its stop or a book that must be closed is not, by the
ledger and by the account: what could not be asked after an order is asked for in the end, for no stream tells it.
"""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

from shared.domain.errors import UNANSWERED, BusUnavailable, LeaseLost, LedgerUnavailable, NotAtRest, NotEnoughData, OstError
from shared.domain.interval import format_ms
from shared.domain.records import Heartbeat
from shared.trading.analyst import Analyst
from shared.trading.attempts import START, VENUE, Attempts
from shared.trading.beginning import Beginning
from shared.trading.health import TraderState
from shared.trading.outbox import relay
from shared.trading.safety import Safety
from shared.trading.session import LivePorts, Session, SessionSpec, StepReport
from shared.trading.stepper import Stepper
from shared.trading.tape import Tape
from shared.trading.trader_params import TraderParams

ATTEMPTS = 3
"""Times that bars are asked for which the venue has not published yet, `bar_patience_s` apart"""
LOOK_S = 0.5
"""Distance of the looks at what is not at rest yet"""
ACCOUNT_CHECK = "account and ledger"
"""Name of the comparison that a request ends with"""
LONGEST_S = 2.0
"""Pause at most before it is tried again"""
HOLDER = "requests"
"""The one that the heartbeats of requests are of: each request is another process to the lease"""


async def run_once(
    ports: LivePorts,
    spec: SessionSpec,
    params: TraderParams,
    bar_close_ms: int | None = None,
    analyst: Analyst | None = None,
) -> StepReport:
    """Step up to the bar that closed at `bar_close_ms` (ms UTC; default: the newest one) and give the lease up.

    Raises `LeaseLost` where another process trades the book, `NotEnoughData` where the venue has nothing of that bar yet, what
    a step raises, and `NotAtRest` where something is left that must not be left alone: ask again at once.
    """
    request = await _Request.begun(ports, spec, params, analyst)
    try:
        await request.safety.look(mark=False)  # a bar is about to be marked
        refused = request.refused
        try:
            report = await request.stepped(await request.newest_close_ms(bar_close_ms))
        except LeaseLost:
            raise
        except OstError as error:  # what was sent before it is looked after first
            if refused is None and not isinstance(error, NotEnoughData):  # which is asked for again, and no failure
                await request.count(error)
            refused = refused or error
        await request.rested(mark=False)
        if refused is not None:
            raise refused
        return report
    finally:
        await request.end()


async def tend_once(ports: LivePorts, spec: SessionSpec, params: TraderParams, analyst: Analyst | None = None) -> None:
    """Look after the book between its bars and give the lease up. Raises as `run_once`, but nothing of a bar."""
    request = await _Request.begun(ports, spec, params, analyst)
    try:
        await request.rested(mark=True)
        if request.refused is not None:
            raise request.refused
    finally:
        await request.end()


class _Request:
    """One request: a session, and what looks after it."""

    def __init__(self, ports: LivePorts, spec: SessionSpec, params: TraderParams, session: Session) -> None:
        self._ports = ports
        self._spec = spec
        self._params = params
        self._session = session
        self._attempts = Attempts(ports.ledger, ports.clock, spec.book, params, "schedule")
        self._stepper: Stepper | None = None
        self._remembers = False
        tape = Tape(ports.clock, round(params.quote_fresh_s * 1000))
        self.safety = Safety(ports, spec, params, session, tape, self._attempts)
        self._beginning = Beginning(session, self.safety.guardian)

    @classmethod
    async def begun(cls, ports: LivePorts, spec: SessionSpec, params: TraderParams, analyst: Analyst | None) -> _Request:
        """The lease taken and everything reconciled."""
        session = Session.take(ports, spec, analyst)
        try:
            request = cls(ports, spec, params, session)
            await request._begun_at_all()
            if session.reconciler.unread:
                request._remember()
            if request.refused is not None:
                await request.refuse(request.refused)
        except BaseException:
            with suppress(LedgerUnavailable):  # it runs out by itself
                await session.close()
            raise
        return request

    async def _begun_at_all(self) -> None:
        """The first attempt; a venue that keeps an idle book from it is counted as well: it is away for whoever asks next."""
        try:
            await self._beginning.first()
        except UNANSWERED as error:
            await self.count(error)
            self.safety.guardian.look()
            self.safety.pause_after_outage()
            self._beat(str(error))
            raise

    async def refuse(self, error: OstError) -> None:
        """The beginning is refused. What a person has to put in order (a setting, a policy) closes no position in time."""
        if error is not self._session.unfit or isinstance(error, UNANSWERED):
            await self.count(error)
            return
        self._remember()
        self._attempts.ail(START, str(error))

    async def count(self, error: OstError) -> None:
        """What a request is refused with is a failure, as a trader would count it: over all requests. Raises `LeaseLost`."""
        self._remember()
        last_ms = max(self._attempts.health.memory["failures_ms"], default=0)
        if self._ports.clock.now_ms() - last_ms < self._params.backoff_max_s * 1000:
            self._attempts.ail(VENUE, str(error))  # whoever asks again at once makes no more failures of one
            return

        async def refused() -> None:
            raise error

        await self._attempts.attempt(VENUE, refused)

    def _remember(self) -> None:
        """Go on counting where the last request has left, once; asked only where there is something to count."""
        if self._remembers:
            return
        self._remembers = True
        with suppress(LedgerUnavailable):
            beats = [beat for beat in self._ports.ledger.heartbeats(self._spec.book) if beat.holder == HOLDER]
            for beat in beats:
                self._attempts.health.go_on(beat.state.get("memory", {}))
                self._session.reconciler.unread_since(beat.state.get("unread", {}))

    @property
    def refused(self) -> OstError | None:
        """What the beginning was refused with: the request fails with it once what is held was looked after."""
        return self._beginning.refused

    async def newest_close_ms(self, bar_close_ms: int | None) -> int:
        """Close of the bar to be stepped, by the venue's time: ours may be a little off. Waits for one that closes in a moment.

        Raises `NotEnoughData` for one that closes later.
        """
        interval, patience_ms = self._spec.interval, ATTEMPTS * round(self._params.bar_patience_s * 1000)
        venue_ms = await self._session.exchange.server_time_ms()
        asked_ms = venue_ms if bar_close_ms is None else bar_close_ms
        if asked_ms > venue_ms + patience_ms:
            raise NotEnoughData(
                f"the bar that closes at {format_ms(asked_ms)} is not over at the venue ({format_ms(venue_ms)})"
            )
        await self._ports.clock.sleep(max(0, asked_ms - venue_ms) / 1000)
        return interval.floor(asked_ms)

    async def stepped(self, newest_ms: int) -> StepReport:
        """The report of the newest bar, after all bars before it; the symbols that lack theirs are asked for again."""
        session, spec, clock = self._session, self._spec, self._ports.clock
        stepper = Stepper(session, spec, self._params, clock, _ignore, self._attempts.say)
        report: StepReport | None = None
        for attempt in range(ATTEMPTS):
            report = await stepper.run_to(newest_ms) or report
            if report is not None and not report.undecided:
                return report
            if attempt < ATTEMPTS - 1:
                await clock.sleep(self._params.bar_patience_s)
        if report is None:
            raise NotEnoughData(
                f"the venue shows no {spec.interval} bar of {' '.join(session.symbols)} that closed at {format_ms(newest_ms)}; "
                "ask again a little later"
            )
        return report

    async def rested(self, *, mark: bool) -> None:
        """Look after everything until it is at rest, then hand over the events. Raises `NotAtRest` after `settle_s`.

        Slices that wait for their time are left to the next request where this one is over.
        """
        clock, safety = self._ports.clock, self.safety
        until_ms = clock.now_ms() + round(self._params.settle_s * 1000)
        agrees, looks = False, round(self._params.settle_s / LOOK_S)  # counted, for a venue whose time stands still
        for look in range(1, looks + 1):
            await safety.look(mark=mark)
            over = look == looks or clock.now_ms() >= until_ms
            if not safety.unfinished and (over or not safety.waiting or self.refused is not None):
                # A request that fails anyway is asked again at once: it waits for nothing but what is bare.
                agrees = self.refused is not None or await self._agrees()
            if agrees or over:
                break
            await clock.sleep(LOOK_S)
        await self._publish()
        left = safety.unfinished or ("" if agrees else self._disagreement)
        self._beat(left or str(self.refused or ""))
        if left:
            self._attempts.say("error", f"not at rest after {self._params.settle_s:g} s: {left}")
            raise NotAtRest(f"after {self._params.settle_s:g} s {left}; ask again at once")

    async def _agrees(self) -> bool:
        """Whether the account holds what the ledger knows; what it does not know yet is booked, and to be looked after."""
        same = False

        async def compare() -> None:
            nonlocal same
            before = self._held()
            await self._session.check_account()
            same = before == self._held()

        await self._attempts.when_due(ACCOUNT_CHECK, compare, longest_s=LONGEST_S)
        return same

    @property
    def _disagreement(self) -> str:
        reasons = self._attempts.health.reasons
        return reasons.get(ACCOUNT_CHECK, f"{ACCOUNT_CHECK}: what the account had more was booked just now")

    def _held(self) -> dict[str, Decimal]:
        return {symbol: self._session.book.held(symbol) for symbol in self._session.book.held_symbols()}

    async def end(self) -> None:
        """Give the lease up."""
        with suppress(LedgerUnavailable):  # it runs out by itself
            await self._session.close()

    async def _publish(self) -> None:
        try:
            while await relay(self._ports.ledger, self._ports.bus, self._ports.clock):
                continue
        except BusUnavailable as error:
            self._attempts.say("warning", f"events wait for the next request: {error}")
        except LedgerUnavailable:
            return  # told by what is left

    def _beat(self, left: str) -> None:
        """Say how the book was left, for whoever asks whether the service is ready."""
        halted = self.safety.guardian.emergency is not None
        state = TraderState.HALTED if halted else TraderState.DEGRADED if left else TraderState.TRADING
        words: dict[str, Any] = {
            "state": state.value,
            "reason": left or self.safety.guardian.reason,
            "bare": list(self.safety.bare),
        }
        unread = self._session.reconciler.unread
        if self._attempts.health.reason or self._attempts.health.failures or unread:
            self._remember()
        words |= {"lasting": list(self._attempts.lasting.values()), "memory": self._attempts.health.memory, "unread": unread}
        beat_ms = self._ports.lease_clock.now_ms()
        with suppress(LedgerUnavailable):  # told by what is left
            self._ports.ledger.beat(Heartbeat(self._spec.book, "schedule", HOLDER, beat_ms, words))


def _ignore(_: StepReport) -> None:
    """Nobody watches the steps of a request; its report is the answer."""
