"""The newest quote and mark price of each symbol, and when the market stream was last heard.

Only the newest of them matters, so they are kept here and never queue up behind a step. A price that is too old is not given
out. What was heard last decides whether a stream is believed to live.
"""

from __future__ import annotations

from decimal import Decimal

from shared.domain.stream import BarMessage, MarkMessage, QuoteMessage
from shared.ports import Clock


class Tape:
    """Newest prices by symbol."""

    def __init__(self, clock: Clock, fresh_ms: int) -> None:
        self._clock = clock
        self._fresh_ms = fresh_ms
        self._quotes: dict[str, tuple[int, QuoteMessage]] = {}
        self._marks: dict[str, tuple[int, Decimal]] = {}
        self.heard_ms = clock.now_ms()
        """when the last message came, on our clock"""

    def hear(self, message: BarMessage | QuoteMessage | MarkMessage) -> None:
        """Note what a message says, and that one came. An older quote or mark changes nothing."""
        self.heard_ms = now_ms = self._clock.now_ms()
        if isinstance(message, QuoteMessage):
            known = self._quotes.get(message.symbol)
            if known is None or message.time_ms >= known[1].time_ms:
                self._quotes[message.symbol] = (now_ms, message)
        elif isinstance(message, MarkMessage):
            self._marks[message.symbol] = (now_ms, message.price)

    def silent_ms(self) -> int:
        """How long nothing was heard."""
        return self._clock.now_ms() - self.heard_ms

    def quote(self, symbol: str) -> QuoteMessage | None:
        """The newest quote, where it is fresh."""
        heard_ms, quote = self._quotes.get(symbol, (0, None))
        return quote if self._is_fresh(heard_ms) else None

    def marks(self) -> dict[str, Decimal]:
        """Fresh mark prices by symbol."""
        return {symbol: price for symbol, (heard_ms, price) in self._marks.items() if self._is_fresh(heard_ms)}

    def _is_fresh(self, heard_ms: int) -> bool:
        return self._clock.now_ms() - heard_ms <= self._fresh_ms
