"""Whether the streams are believed: notices, silence, contradictions, and the reconciliation that restores trust.

A stream is judged by its data (`silence.py`). An execution of ours that REST has told and the user stream has not is the proof
that this one is dead. After a loss nothing is trusted before orders, positions and fills were reconciled by REST; what of a
reconciliation decides about nothing that is traded now (funding, foreign orders, balance) fails and is tried again by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from shared.domain.errors import ReconciliationError
from shared.domain.stream import Channel, StreamNotice, StreamState
from shared.ports import Clock
from shared.trading.attempts import VENUE, Attempts
from shared.trading.mailbox import Source
from shared.trading.session import LivePorts, Session
from shared.trading.silence import MarketSilence
from shared.trading.tape import Tape
from shared.trading.trader_params import TraderParams

STREAMS = (Source.MARKET, Source.USER)
REST, STOPS = "reconciliation", "stops"
BAR_CLOSES_MS = 3_000
"""before a bar's close no look is begun that its step would have to wait for"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look at the streams has found."""

    dead: Source | None = None
    reason: str = ""
    channels: frozenset[Channel] = frozenset()
    """of the market stream"""


class Watchdog:
    """Watches the streams of one session."""

    def __init__(self, ports: LivePorts, params: TraderParams, session: Session, tape: Tape, attempts: Attempts) -> None:
        self._ports = ports
        self._clock: Clock = ports.clock
        self._params = params
        self._session = session
        self._tape = tape
        self._attempts = attempts
        self._health = attempts.health
        self._silence = MarketSilence(ports.clock, ports.market, params, session, tape)
        self._lost = set(STREAMS)
        self._dumb: frozenset[Channel] = frozenset()
        """channels that were replaced because they were dead, and have said nothing since"""
        self.resync_needed = False
        self._stops_ms = 0
        """when it was asked last whether the stops rest, beside reconciliations"""
        self.reconnects = 0
        for source in STREAMS:
            self._health.ail(source.value, "not connected yet", self._clock.now_ms())

    def on_notice(self, source: Source, notice: StreamNotice, heard_ms: int) -> None:
        """A connection came, went, or was replaced; or a message could not be read."""
        if notice.state is StreamState.ROTATED:
            return  # the new connection was there before the old one went: nothing was missed
        if notice.state is StreamState.CONNECTED:
            self._lost.discard(source)
            if source is Source.MARKET:
                self._tape.connected()
            if heard_ms <= self._session.reconciled_ms:
                self._believe()  # it stood before the last snapshot was asked for
            else:
                self.resync_needed = True
            return
        if notice.state is StreamState.UNREADABLE:
            self._attempts.say("error", f"{source.value}: a message could not be read: {notice.detail}")
        self._lose(source, notice.detail or notice.state.value)

    def missed(self, symbols: Iterable[str]) -> None:
        """The newest bars of `symbols` came by REST although the stream should have brought them."""
        self._silence.missed(symbols)

    async def look(self) -> Verdict:
        """Judge both streams. Asks the venue only after a silence. Raises the `VenueError` tree."""
        unheard = next(iter(self._session.reconciler.unheard.items()), None)
        if unheard is not None and Source.USER not in self._lost:
            (symbol, trade_id), since_ms = unheard
            if self._clock.now_ms() - since_ms >= self._params.silence_s * 1000:
                return Verdict(Source.USER, f"execution {trade_id} of {symbol} came without a word")
        if Source.MARKET in self._lost:
            return Verdict()
        if self._dumb and all(map(self._tape.was_heard, self._dumb)):
            self._dumb = frozenset()
            if not self.resync_needed:
                self._believe()
        dead = await self._silence.look()
        return Verdict() if dead is None else Verdict(Source.MARKET, dead.reason, dead.channels)

    async def reconnect(self, verdict: Verdict) -> None:
        """Replace a connection that is not believed any more; of the market stream the one of a channel, if it is only one."""
        if verdict.dead is None:
            return
        self.reconnects += 1
        self._lose(verdict.dead, verdict.reason)
        if verdict.dead is Source.USER:
            await self._ports.user_stream.reconnect(verdict.reason)
        else:
            self._dumb |= verdict.channels
            channel = next(iter(verdict.channels)) if len(verdict.channels) == 1 else None
            await self._ports.market_stream.reconnect(verdict.reason, channel)

    async def resync(self) -> None:
        """Reconcile where that is due; what is connected is trusted again afterwards. Raises the `VenueError` tree."""
        now_ms = self._clock.now_ms()
        if not self._health.due(VENUE, now_ms):
            return
        is_due = now_ms - self._session.reconciled_ms >= self._params.reconcile_s * 1000
        if not (self.resync_needed or is_due):
            if self._session.unsettled:
                await self._attempts.errand(REST, self._settle_rest)
            await self._look_at_stops(now_ms)
            return
        self.resync_needed = False
        try:
            await self._session.reconcile(full=True)
        except BaseException:
            self.resync_needed = True
            raise
        self._health.recover(VENUE)
        self._believe()

    async def _look_at_stops(self, now_ms: int) -> None:
        """The end of a stop is one message: whether all of them rest is asked now and then, but not while a bar closes."""
        looked_ms, interval_ms = max(self._stops_ms, self._session.reconciled_ms), self._session.interval.ms
        if now_ms - looked_ms < self._params.stops_s * 1000 or not self._session.book.open_stops():
            return
        if interval_ms - now_ms % interval_ms > BAR_CLOSES_MS:
            self._stops_ms = now_ms
            await self._attempts.errand(STOPS, self._session.confirm_stops)

    async def _settle_rest(self) -> None:
        await self._session.settle_rest()
        unsettled = self._session.unsettled
        if unsettled:
            raise ReconciliationError("; ".join(f"{part} failed: {reason}" for part, reason in unsettled.items()))

    def _lose(self, source: Source, reason: str) -> None:
        """A stream is not believed until it stands again and everything was reconciled."""
        self.resync_needed = True
        self._lost.add(source)
        if source is Source.USER:
            self._session.follow_streams(trusted=False)
        self._health.ail(source.value, reason, self._clock.now_ms())

    def _believe(self) -> None:
        """What is connected is trusted; a market stream that was dead also has to say something first."""
        if Source.MARKET not in self._lost and not self._dumb:
            self._health.recover(Source.MARKET.value)
        if Source.USER not in self._lost:
            self._health.recover(Source.USER.value)
            self._session.follow_streams(trusted=True)
