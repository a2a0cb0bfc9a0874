"""The trader: one book, traded by streams, for as long as its lease lasts. One mailbox, one worker.

    readers (market, user) ─┐
    timer ──────────────────┴─► mailbox ─► worker: one message at a time, to its end (`live_desk.py`)
    lease keeper: renews the lease beside it; its loss ends everything at once, and nothing at the venue is touched

Every task lives in one group: one that fails ends all others, the error is recorded and raised, and no half of a process goes
on. `stop` ends in order: the running step is finished or cut off (which a restart continues), positions and their stops stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from shared.domain.errors import ClockSetBack, LeaseLost, LedgerError, LedgerUnavailable, OstError, VenueError
from shared.domain.records import Heartbeat
from shared.domain.stream import BarMessage, MarkMessage, QuoteMessage
from shared.trading.analyst import Analyst
from shared.trading.health import TraderState
from shared.trading.live_desk import LiveDesk, OnStep
from shared.trading.mailbox import Letter, Mailbox, Source
from shared.trading.session import LivePorts, Session, SessionSpec
from shared.trading.tape import Tape
from shared.trading.trader_params import TraderParams

SET_BACK_S = 5.0
"""A clock that was set back by more ends the process: half of the time that a position may be without its stop"""
LEASE_PATIENCE = 1.5
"""Lives of a lease that a start waits for one that nobody renews"""
FAREWELL_S = 2.0
"""What the last words, and the closing of the streams, may take each: whoever ends a process grants it ten seconds in all"""


class Trader:
    """Trades one book. `run` lasts until `stop`, the loss of the lease, or an error."""

    def __init__(
        self,
        ports: LivePorts,
        spec: SessionSpec,
        params: TraderParams,
        analyst: Analyst | None = None,
        *,
        standby: bool = False,
        on_step: OnStep = lambda _: None,
    ) -> None:
        """`standby` waits for the lease of another process for as long as it takes; `on_step` is told every report."""
        self._ports = ports
        self._spec = spec
        self._params = params
        self._analyst = analyst
        self._standby = standby
        self._on_step = on_step
        self._mailbox = Mailbox()
        self._tape = Tape(ports.clock, round(params.quote_fresh_s * 1000))
        self._stop = asyncio.Event()
        self._stop_reason = ""
        self._helpers: list[asyncio.Task[None]] = []
        self._session: Session | None = None
        self._desk: LiveDesk | None = None
        self._waiting = TraderState.STARTING

    @property
    def state(self) -> TraderState:
        """What the trader is doing."""
        if self._stop.is_set():
            return TraderState.STOPPING
        return self._desk.state if self._desk is not None else self._waiting

    def stop(self, reason: str) -> None:
        """End in order, within `stop_grace_s` and a little more: no new risk, no flattening. Again changes nothing."""
        if self._stop.is_set():
            return
        self._stop_reason = reason
        self._stop.set()
        if self._session is not None:
            self._session.end(reason)  # at once: a step that is running opens nothing more
        if self._desk is not None:
            self._desk.stopping(reason)
        self._mailbox.tick()

    async def run(self) -> None:
        """Trade until the end. Raises `LeaseLost`, what a start is refused with, or the error that ended it."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._lead(group)
        except BaseExceptionGroup as failed:
            error = _first_of(failed)
            await self._record_end(error)
            raise error from None
        finally:
            await self._close_streams()

    async def _lead(self, group: asyncio.TaskGroup) -> None:
        working = group.create_task(self._working(group), name="worker")
        stopping = self._help(group, self._told_to_stop(), "stop")
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done() and self._session is not None:  # what waits for a lease has nothing to finish
            grace = self._help(group, self._ports.clock.sleep(self._params.stop_grace_s), "grace")
            await asyncio.wait({working, grace}, return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        await asyncio.wait({working})
        for helper in self._helpers:
            helper.cancel()
        await self._farewell()

    async def _told_to_stop(self) -> None:
        await self._stop.wait()

    async def _working(self, group: asyncio.TaskGroup) -> None:
        """Lease, streams, session, and then the mailbox."""
        await self._take_lease()
        session = Session.take(self._ports, self._spec, self._analyst, self._tape.quote)
        self._session = session
        self._help(group, self._keep_lease(session), "lease")
        # Streams first: what happens while the snapshot is taken waits in the mailbox instead of being missed.
        await self._ports.user_stream.open()
        await self._ports.market_stream.open(session.symbols, self._spec.interval)
        self._help(group, self._read_user(), "user stream")
        self._help(group, self._read_market(), "market stream")
        desk = LiveDesk(self._ports, self._spec, self._params, session, self._tape, self._on_step)
        await desk.begin()
        self._desk = desk
        if self._stop.is_set():
            desk.stopping(self._stop_reason)
        self._help(group, self._tick(), "timer")
        while not desk.may_end:
            letter = await self._mailbox.take()
            await desk.handle(letter)
            if desk.wants_more:
                self._mailbox.tick()

    async def _take_lease(self) -> None:
        """Wait until the book is nobody else's: a standby for as long as it takes, a start until a silent lease has run out."""
        ledger, spec, clock = self._ports.ledger, self._spec, self._ports.lease_clock
        until_ms = clock.now_ms() + LEASE_PATIENCE * spec.lease_ttl_ms
        while True:
            try:
                if ledger.acquire_lease(spec.book, spec.holder, spec.lease_ttl_ms, clock.now_ms()) is not None:
                    self._waiting = TraderState.STARTING
                    return
            except LedgerUnavailable:
                if not self._standby:
                    raise
            if not self._standby and clock.now_ms() >= until_ms:
                raise LeaseLost(f"another process trades the book {spec.book}; stop it, or start this one with --standby")
            self._waiting = TraderState.STANDBY
            self._beat_waiting()
            await clock.sleep(self._params.standby_poll_s)

    async def _keep_lease(self, session: Session) -> None:
        """Renew the lease three times in its life; where the ledger is down, try more often. Raises `LeaseLost`."""
        clock, ttl_s = self._ports.lease_clock, self._spec.lease_ttl_ms / 1000
        pause_s = ttl_s / 3
        while True:
            await clock.sleep(pause_s)
            try:
                session.renew_lease(force=True)
                pause_s = ttl_s / 3
            except LedgerUnavailable:  # no order is sent once the lease is half over (`Session.renew_lease`)
                pause_s = min(1.0, ttl_s / 10)

    async def _read_market(self) -> None:
        stream = self._ports.market_stream
        while True:
            message = await stream.next()
            if isinstance(message, BarMessage | QuoteMessage | MarkMessage):
                self._tape.hear(message)
                if not (isinstance(message, BarMessage) and message.closed):
                    continue
            self._mailbox.put(Letter(Source.MARKET, message, self._ports.clock.now_ms()))

    async def _read_user(self) -> None:
        stream = self._ports.user_stream
        while True:
            message = await stream.next()
            self._mailbox.put(Letter(Source.USER, message, self._ports.clock.now_ms()))

    async def _tick(self) -> None:
        """A look each `tick_s`. Raises `ClockSetBack`: pauses and deadlines that were set before it are a new process's."""
        clock = self._ports.lease_clock
        while True:
            seen_ms = clock.now_ms()
            self._mailbox.tick()
            await self._ports.clock.sleep(self._params.tick_s)
            back_s = (seen_ms - clock.now_ms()) / 1000
            if back_s > SET_BACK_S:
                raise ClockSetBack(
                    f"the clock of this machine was set back by {back_s:.0f} s, and nothing may wait for so long: start again"
                )

    def _help(self, group: asyncio.TaskGroup, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = group.create_task(work, name=name)
        self._helpers.append(task)
        return task

    def _beat_waiting(self) -> None:
        """A standby shows that it lives; where the ledger is down nobody could read it anyway."""
        role = "standby" if self._waiting is TraderState.STANDBY else "trader"
        words = {"state": self._waiting.value, "reason": ""}
        try:
            self._ports.ledger.beat(
                Heartbeat(self._spec.book, role, self._spec.holder, self._ports.lease_clock.now_ms(), words)
            )
        except LedgerUnavailable:
            return

    async def _farewell(self) -> None:
        """The last words, and the lease given up."""
        if self._desk is not None:
            with suppress(TimeoutError):  # events that were not handed over wait in the ledger
                async with asyncio.timeout(FAREWELL_S):
                    await self._desk.end(self._stop_reason)
        await self._release()

    async def _release(self) -> None:
        if self._session is None:
            return
        try:
            await self._session.close()
        except LedgerUnavailable:  # it runs out by itself
            return

    async def _record_end(self, error: BaseException) -> None:
        """Write down why it ended, and let a standby in; a process that has lost its lease writes nothing."""
        if isinstance(error, LeaseLost) or not isinstance(error, Exception):
            return
        ledger, book, now_ms = self._ports.ledger, self._spec.book, self._ports.clock.now_ms()
        try:
            ledger.log(book, "trader", "error", f"the trader ended: {type(error).__name__}: {error}", now_ms)
            if self._session is not None:
                await self._session.close()
        except LedgerError:
            return

    async def _close_streams(self) -> None:
        closers: list[Callable[[], Coroutine[Any, Any, None]]] = [
            self._ports.market_stream.close,
            self._ports.user_stream.close,
        ]
        for close in closers:
            with suppress(VenueError, TimeoutError):  # the connection is gone, which was the wish
                async with asyncio.timeout(FAREWELL_S / len(closers)):
                    await close()


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What ended a group of tasks: the loss of the lease before all else, then an error of ours, then the first one."""
    leaves: list[BaseException] = []
    pending: list[BaseException] = [group]
    while pending:
        error = pending.pop(0)
        if isinstance(error, BaseExceptionGroup):
            pending += error.exceptions
        else:
            leaves.append(error)
    ranked = sorted(leaves, key=lambda error: (not isinstance(error, LeaseLost), isinstance(error, OstError)))
    return ranked[0]
