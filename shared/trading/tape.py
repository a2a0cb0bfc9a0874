"""The newest quote and mark price of each symbol, and when each channel of the market stream was last heard of each symbol.

Only the newest of them matters, so they are kept here and never queue up behind a step. A price that is too old is not given
out. Channels come on connections of their own: quotes that flow say nothing about bars and mark prices, and one symbol nothing
about another.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from shared.domain.stream import BarMessage, Channel, MarkMessage, QuoteMessage, channel_of
from shared.ports import Clock


class Tape:
    """Newest prices by symbol."""

    def __init__(self, clock: Clock, fresh_ms: int) -> None:
        self._clock = clock
        self.fresh_ms = fresh_ms
        """age beyond which a price is not used"""
        self._quotes: dict[str, tuple[int, QuoteMessage]] = {}
        self._marks: dict[str, tuple[int, Decimal]] = {}
        self._heard_ms: dict[tuple[Channel, str], int] = {}
        self._heard_marks: dict[str, Decimal] = {}
        self.connected_ms = clock.now_ms()
        """since when the stream could be heard"""

    def hear(self, message: BarMessage | QuoteMessage | MarkMessage) -> None:
        """Note what a message says, and that one came. An older quote changes nothing."""
        now_ms = self._clock.now_ms()
        self._heard_ms[channel_of(message), message.symbol] = now_ms
        if isinstance(message, QuoteMessage):
            known = self._quotes.get(message.symbol)
            if known is None or message.time_ms >= known[1].time_ms:
                self._quotes[message.symbol] = (now_ms, message)
        elif isinstance(message, MarkMessage):
            self._marks[message.symbol] = (now_ms, message.price)
            self._heard_marks[message.symbol] = message.price

    def note_mark(self, symbol: str, price: Decimal) -> None:
        """A mark price that the venue was asked for: as new as one that was heard, but no sign of life of the stream."""
        self._marks[symbol] = (self._clock.now_ms(), price)

    def differs(self, symbol: str) -> bool:
        """Whether the venue, asked since, has told another mark price than the last one that was heard."""
        heard, newest = self._heard_marks.get(symbol), self._marks.get(symbol)
        return heard is not None and newest is not None and newest[1] != heard

    def connected(self) -> None:
        """A connection was made: silence is counted from now on."""
        self.connected_ms = self._clock.now_ms()
        self._heard_ms.clear()

    def heard_ms(self, channel: Channel, symbol: str) -> int:
        """When a channel last said something of a symbol, or the connection was made; on our clock."""
        return self._heard_ms.get((channel, symbol), self.connected_ms)

    def silent_ms(self, channel: Channel, symbol: str) -> int:
        """How long a channel has said nothing of a symbol."""
        return self._clock.now_ms() - self.heard_ms(channel, symbol)

    def was_heard(self, channel: Channel, symbol: str | None = None) -> bool:
        """Whether a channel has said anything of a symbol (default: of any) since the connection was made."""
        if symbol is None:
            return any(heard is channel for heard, _ in self._heard_ms)
        return (channel, symbol) in self._heard_ms

    def quote(self, symbol: str) -> QuoteMessage | None:
        """The newest quote, where it is fresh."""
        heard_ms, quote = self._quotes.get(symbol, (0, None))
        return quote if self._is_fresh(heard_ms) else None

    def marks(self) -> dict[str, Decimal]:
        """Fresh mark prices by symbol."""
        return {symbol: price for symbol, (heard_ms, price) in self._marks.items() if self._is_fresh(heard_ms)}

    def last_marks(self) -> Mapping[str, tuple[int, Decimal]]:
        """The last known mark price of each symbol, however old, and when it was heard."""
        return self._marks

    def _is_fresh(self, heard_ms: int) -> bool:
        return self._clock.now_ms() - heard_ms <= self.fresh_ms
