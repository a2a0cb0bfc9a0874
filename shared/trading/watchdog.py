"""Whether the streams are believed: notices, silence, contradictions, and the reconciliation that restores trust.

A stream is judged by its data. Silence alone proves nothing: the venue is asked by REST whether anything was traded meanwhile,
and only a stream that has missed it is dead. An order of ours that was executed without a word of the user stream is the same
proof for that one. After a loss nothing is trusted before orders, positions, fills and funding were reconciled by REST.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from shared.domain.errors import VenueRejected
from shared.domain.interval import Interval
from shared.domain.stream import StreamNotice, StreamState
from shared.ports import Clock
from shared.trading.health import Health
from shared.trading.mailbox import Source
from shared.trading.session import LivePorts, Session
from shared.trading.tape import Tape
from shared.trading.trader_params import TraderParams

STREAMS = (Source.MARKET, Source.USER)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look at the streams has found."""

    dead: Source | None = None
    reason: str = ""


class Watchdog:
    """Watches the streams of one session."""

    def __init__(self, ports: LivePorts, params: TraderParams, session: Session, tape: Tape, health: Health) -> None:
        self._ports = ports
        self._clock: Clock = ports.clock
        self._params = params
        self._session = session
        self._tape = tape
        self._health = health
        self._lost = set(STREAMS)
        self._answer_due_ms: int | None = None
        self._asked_ms = self._server_ms = 0
        self.resync_needed = False
        self.reconnects = 0
        for source in STREAMS:
            health.ail(source.value, "not connected yet", self._clock.now_ms())

    def on_notice(self, source: Source, notice: StreamNotice, heard_ms: int) -> None:
        """A connection came, went, or was replaced."""
        if notice.state is StreamState.ROTATED:
            return  # the new connection was there before the old one went: nothing was missed
        if notice.state is StreamState.CONNECTED:
            self._lost.discard(source)
            self._tape.heard_ms = self._clock.now_ms()
            if heard_ms <= self._session.reconciled_ms:
                self._believe()  # it stood before the last snapshot was asked for
            else:
                self.resync_needed = True
            return
        self.resync_needed = True
        self._lost.add(source)
        if source is Source.USER:
            self._session.follow_streams(trusted=False)
        self._health.ail(source.value, notice.detail or notice.state.value, self._clock.now_ms())

    def heard_user(self) -> None:
        """The user stream has said something."""
        self._answer_due_ms = None

    def expects_user(self) -> None:
        """Orders of ours were executed: the user stream has to say so."""
        if self._answer_due_ms is None and Source.USER not in self._lost:
            self._answer_due_ms = self._clock.now_ms() + round(self._params.silence_s * 1000)

    async def look(self) -> Verdict:
        """Judge both streams. Asks the venue only after a silence. Raises the `VenueError` tree."""
        now_ms = self._clock.now_ms()
        if self._answer_due_ms is not None and now_ms >= self._answer_due_ms:
            self._answer_due_ms = None
            return Verdict(Source.USER, "orders were executed without a word")
        silence_ms = round(self._params.silence_s * 1000)
        if Source.MARKET in self._lost or self._tape.silent_ms() < silence_ms or now_ms - self._asked_ms < silence_ms:
            return Verdict()
        self._asked_ms = now_ms
        if await self._something_traded():
            return Verdict(Source.MARKET, f"silent for {self._tape.silent_ms() / 1000:.0f} s while the venue trades")
        return Verdict()

    async def reconnect(self, verdict: Verdict) -> None:
        """Replace a connection that is not believed any more."""
        if verdict.dead is None:
            return
        self.reconnects += 1
        self._lost.add(verdict.dead)
        self.resync_needed = True
        self._health.ail(verdict.dead.value, verdict.reason, self._clock.now_ms())
        if verdict.dead is Source.USER:
            self._session.follow_streams(trusted=False)
            await self._ports.user_stream.reconnect(verdict.reason)
        else:
            await self._ports.market_stream.reconnect(verdict.reason)

    async def resync(self) -> None:
        """Reconcile where that is due; what is connected is trusted again afterwards. Raises the `VenueError` tree."""
        now_ms = self._clock.now_ms()
        is_due = now_ms - self._session.reconciled_ms >= self._params.reconcile_s * 1000
        if not (self.resync_needed or is_due) or not self._health.due("venue", now_ms):
            return
        self.resync_needed = False
        try:
            await self._session.reconcile(full=True)
        except BaseException:
            self.resync_needed = True
            raise
        self._health.recover("venue")
        self._believe()

    def _believe(self) -> None:
        """What is connected is trusted."""
        for source in STREAMS:
            if source not in self._lost:
                self._health.recover(source.value)
        if Source.USER not in self._lost:
            self._session.follow_streams(trusted=True)

    async def _something_traded(self) -> bool:
        """Whether a bar that opened after the last message has closed at the venue, with volume."""
        before_ms, self._server_ms = self._server_ms, await self._session.exchange.server_time_ms()
        if self._server_ms <= max(before_ms, self._tape.heard_ms):
            return False  # time stands still there
        symbols, heard_ms = self._session.symbols, self._tape.heard_ms
        candles = await asyncio.gather(*(self._minutes(symbol, heard_ms, self._server_ms) for symbol in symbols))
        return any(candles)

    async def _minutes(self, symbol: str, since_ms: int, until_ms: int) -> bool:
        market, interval = self._ports.market, Interval.M1
        try:
            bars = await market.candles(symbol, interval, interval.ceil(since_ms), until_ms)
        except VenueRejected:  # a venue that keeps no minutes
            return bool(self._session.board.missing(self._session.interval.floor(until_ms)))
        return bool((bars.volume > 0).any())
