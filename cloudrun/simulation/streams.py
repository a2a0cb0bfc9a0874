"""The market and user streams of a process: the venue's own events, read by the product's own parsers.

A user stream also tells KEY_EXPIRED and UNREADABLE. As at the venue, bars and mark prices come on one connection and quotes on
another: each falls silent by itself, and is replaced by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cloudrun.exchange.desk import Desk
from cloudrun.exchange.streams import Streams
from cloudrun.simulation.faults import Part
from cloudrun.simulation.link import Event, Link
from shared.adapters.exchange.stream_payloads import UserReader, read_market
from shared.domain.errors import MalformedData
from shared.domain.interval import Interval
from shared.domain.stream import BarMessage, Channel, MarketMessage, StreamState, UserMessage

_CHANNELS = {"kline": Part.BARS, "bookTicker": Part.QUOTES, "markPriceUpdate": Part.MARKS}


class StreamHub(Streams):
    """The venue's end of all links."""

    def __init__(self, desk: Desk, now_s: Callable[[], float]) -> None:
        super().__init__(desk, now_s)
        self.user_links: list[UserLink] = []
        self.market_links: list[MarketLink] = []
        self.silent: Callable[[int], bool] = lambda _: False
        """whether the market streams have nothing to tell at an instant (ms UTC): a quiet market"""
        self.on_loss: Callable[[bool], None] = lambda _: None
        """told that a message was lost or came late, and whether it was one of a user stream"""
        self._told_ms = desk.now_ms

    def tick(self, now_ms: int) -> None:
        """Send bars, quotes and mark prices to the present."""
        if self.silent(now_ms):
            self._told_ms = now_ms
            return
        made: dict[str, list[Event]] = {}
        for link in list(self.market_links):
            for name in link.names:
                if name not in made:
                    made[name] = self._market_events(name, self._told_ms, now_ms)
                for event in made[name]:
                    link.push(event)
        self._told_ms = now_ms

    def events(self, name: str, before_ms: int, now_ms: int) -> list[Event]:
        """What the stream `name` tells between two instants."""
        return self._market_events(name, before_ms, now_ms)

    def forget_key(self) -> None:
        """The listen key ends before its time."""
        self._key = None
        for link in list(self.user_links):
            link.key_expired()

    def _publish(self, events: list[Event], _before_ms: int, _now_ms: int) -> None:
        for link in list(self.user_links):
            for event in events:
                link.push(event)


class MarketLink(Link[MarketMessage]):
    """`MarketStream` of one process."""

    part = Part.MARKET_STREAM
    names: tuple[str, ...] = ()
    _quotes_made_s = 0.0
    _replacing: Channel | None = None
    """the channel whose connection alone is being replaced"""

    async def reconnect(self, reason: str, channel: Channel | None = None) -> None:
        """Drop the connection that serves `channel` and make a new one; without a channel both."""
        self._replacing = channel
        self._drop(reason)

    async def open(self, symbols: Sequence[str], interval: Interval) -> None:
        """Subscribe to bars, quotes and mark prices."""
        channels = (f"kline_{interval.value}", "bookTicker", "markPrice@1s")
        self.names = tuple(f"{symbol.lower()}@{channel}" for symbol in symbols for channel in channels)
        self._begin()

    def _is_silent(self, event: Event, now_s: float) -> bool:
        channel = _CHANNELS[event["e"]]
        made_s = self._quotes_made_s if channel is Part.QUOTES else self._made_s
        return self._silenced(Part.MARKET_STREAM, made_s, now_s) or self._silenced(channel, made_s, now_s)

    def _was_made(self, now_s: float) -> None:
        if self._replacing in (None, Channel.QUOTES):
            self._quotes_made_s = now_s
        if self._replacing is not Channel.QUOTES:
            self._made_s = now_s
        self._replacing = None

    def _take(self, event: Event) -> None:
        try:
            message = read_market(event)
        except MalformedData:  # counted by the real adapter, and left out
            return
        if message is None:
            return
        if isinstance(message, BarMessage) and message.closed:
            self._inbox.put(message)
        else:
            self._inbox.put(message, (type(message), message.symbol))

    def _join_hub(self) -> None:
        self._hub.market_links.append(self)

    def _leave_hub(self) -> None:
        super()._leave_hub()
        if self in self._hub.market_links:
            self._hub.market_links.remove(self)


class UserLink(Link[UserMessage]):
    """`UserStream` of one process."""

    part = Part.USER_STREAM

    async def reconnect(self, reason: str) -> None:
        """Drop the connection and make a new one."""
        self._drop(reason)

    async def open(self) -> None:
        """Connect."""
        self._reader = UserReader("USDT")
        self._begin()

    def key_expired(self) -> None:
        """The venue does not know the key any more: nothing comes on it."""
        self._notify(StreamState.KEY_EXPIRED, "the listen key has expired (simulated)")
        self.lose("the listen key has expired (simulated)")

    def _take(self, event: Event) -> None:
        try:
            message = self._reader.read(event)
        except MalformedData as error:
            self._notify(StreamState.UNREADABLE, str(error))
            self._notify(StreamState.CONNECTED, "connected (simulated)")
            return
        if message is not None:
            self._inbox.put(message)

    def _join_hub(self) -> None:
        self._hub.user_links.append(self)

    def _leave_hub(self) -> None:
        super()._leave_hub()
        if self in self._hub.user_links:
            self._hub.user_links.remove(self)
