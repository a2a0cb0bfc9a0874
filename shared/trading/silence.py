"""A channel of the market stream says nothing: is it dead, or is the market quiet?

Silence alone proves nothing. Proofs, for each channel and symbol that has been silent for long:
    the venue has a minute with trades that began after the last message (asked by REST once a minute)
    a bar with trades had to be fetched by REST, and the stream has not brought it since (bars)
    the venue tells another mark price than the last one that was heard, and holds a position in it (marks)
A channel that a new connection did not bring back is replaced again only after growing pauses: one dead symbol does not cost
the others their stream, and bars and marks are asked for by REST meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shared.domain.errors import VenueRejected
from shared.domain.interval import Interval
from shared.domain.stream import Channel
from shared.ports import Clock, MarketData
from shared.trading.session import Session
from shared.trading.tape import Tape
from shared.trading.trader_params import TraderParams

FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 300.0
"""before a channel is replaced again that the last connection did not bring back"""

SETTLED_MS = 2_000
"""how long after its end a minute is asked for: the venue publishes it a moment later"""

Key = tuple[Channel, str]


@dataclass(frozen=True, slots=True)
class Dead:
    """Channels that are proven to be dead."""

    channels: frozenset[Channel]
    reason: str


class MarketSilence:
    """Judges the channels of one market stream."""

    def __init__(self, clock: Clock, market: MarketData, params: TraderParams, session: Session, tape: Tape) -> None:
        self._clock = clock
        self._market = market
        self._silence_ms = round(params.silence_s * 1000)
        self._session = session
        self._tape = tape
        self._asked_ms = self._server_ms = 0
        self._missed: dict[str, int] = {}
        """by symbol: when a bar with trades was fetched that the stream did not bring"""
        self._replaced: dict[Key, tuple[float, int]] = {}
        """channels for which a connection was replaced: the next pause (s), and before when (ms) they are not judged again"""

    def missed(self, symbols: Iterable[str]) -> None:
        """The newest bars of `symbols` came by REST although the stream should have brought them."""
        windows = {window.asset.symbol: window for window in self._session.board.windows()}
        for symbol in symbols:
            candles, close_ms = windows[symbol].candles, windows[symbol].close_ms or 0
            if close_ms > self._tape.connected_ms and candles.volume[-1] > 0:
                self._missed.setdefault(symbol, self._clock.now_ms())

    async def look(self) -> Dead | None:
        """What is dead, if anything is. Asks the venue only after a silence. Raises the `VenueError` tree."""
        silent = self._silent()
        if not silent:
            return None
        dead = self._without_bars(silent) | self._with_other_marks(silent)
        if not dead:
            dead = await self._traded_unheard(self._askable(silent))
        if not dead:
            return None
        longest_s = max(self._tape.silent_ms(*key) for key in dead) / 1000
        self._note_replaced(dead)
        named = ", ".join(sorted(f"{channel.value} of {symbol}" for channel, symbol in dead))
        return Dead(frozenset(channel for channel, _ in dead), f"{named}: silent for {longest_s:.0f} s while the venue trades")

    # --- silence -----------------------------------------------------------------------------------------------------------

    def _silent(self) -> dict[Key, int]:
        """When each silent channel was last heard; without those that were replaced in vain not long ago."""
        tape, now_ms = self._tape, self._clock.now_ms()
        keys = [(channel, symbol) for channel in Channel for symbol in self._session.symbols]
        silent = {key: tape.heard_ms(*key) for key in keys if tape.silent_ms(*key) >= self._silence_ms}
        for key in [key for key in self._replaced if tape.was_heard(*key)]:
            del self._replaced[key]
        return {key: heard_ms for key, heard_ms in silent.items() if now_ms >= self._replaced.get(key, (0.0, 0))[1]}

    def _note_replaced(self, dead: set[Key]) -> None:
        now_ms = self._clock.now_ms()
        for key in dead:
            pause_s = self._replaced.get(key, (FIRST_PAUSE_S, 0))[0]
            self._replaced[key] = (min(2 * pause_s, LONGEST_PAUSE_S), now_ms + round(1000 * pause_s))
            self._missed.pop(key[1], None)

    # --- proofs ------------------------------------------------------------------------------------------------------------

    def _without_bars(self, silent: Mapping[Key, int]) -> set[Key]:
        """Bars that were fetched, and that the stream has not brought in the meantime either."""
        now_ms, grace_ms = self._clock.now_ms(), self._tape.fresh_ms
        for symbol, missed_ms in list(self._missed.items()):
            if self._tape.heard_ms(Channel.BARS, symbol) > missed_ms:
                del self._missed[symbol]
        late = {symbol for symbol, missed_ms in self._missed.items() if now_ms - missed_ms >= grace_ms}
        return {(channel, symbol) for channel, symbol in silent if channel is Channel.BARS and symbol in late}

    def _with_other_marks(self, silent: Mapping[Key, int]) -> set[Key]:
        """Marks that the venue tells otherwise than the stream."""
        return {key for key in silent if key[0] is Channel.MARKS and self._tape.differs(key[1])}

    def _askable(self, silent: Mapping[Key, int]) -> dict[Key, int]:
        """Channels that were silent through a whole minute, once for each minute: only then an answer can be news."""
        minute_ms = Interval.M1.floor(self._clock.now_ms() - SETTLED_MS)
        if minute_ms <= self._asked_ms:
            return {}
        found = {key: heard_ms for key, heard_ms in silent.items() if Interval.M1.ceil(heard_ms) < minute_ms}
        if found:
            self._asked_ms = minute_ms
        return found

    async def _traded_unheard(self, silent: Mapping[Key, int]) -> set[Key]:
        """Channels that were silent through a minute in which their symbol was traded."""
        if not silent:
            return set()
        before_ms, self._server_ms = self._server_ms, await self._session.exchange.server_time_ms()
        if self._server_ms <= max(before_ms, *silent.values()):
            return set()  # time stands still there
        since: dict[str, int] = {}
        for (_, symbol), heard_ms in silent.items():
            since[symbol] = min(heard_ms, since.get(symbol, heard_ms))
        newest = await asyncio.gather(*(self._last_traded(symbol, heard_ms) for symbol, heard_ms in since.items()))
        traded = dict(zip(since, newest, strict=True))
        return {key for key, heard_ms in silent.items() if traded[key[1]] >= heard_ms}

    async def _last_traded(self, symbol: str, since_ms: int) -> int:
        """When the newest minute with trades began that has closed since, ms UTC; -1 where there is none."""
        interval, board = Interval.M1, self._session.board
        try:
            bars = await self._market.candles(symbol, interval, interval.ceil(since_ms), self._server_ms)
        except VenueRejected:  # a venue that keeps no minutes
            return self._server_ms if symbol in board.missing(self._session.interval.floor(self._server_ms)) else -1
        traded = bars.open_time[bars.volume > 0]
        return int(traded[-1]) if len(traded) else -1
