"""What the market knows at an instant: prices, bars and funding out of candle files, never anything later.

Inside a bar the price follows a fixed path open → nearer extreme → other extreme → close (low first in a rising bar), with
the nodes at 0, 1/3, 2/3 and 1 of the bar. A stretch that covers a whole bar is exactly that bar. Invariant: an answer at time
t depends only on bars that opened at or before t, and of the bar that contains t only on the path up to t.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from shared.backtest.price_path import path_extremes, price_on_path
from shared.backtest.venue_rules import SymbolSpec, symbol_spec
from shared.domain.candles import COLUMNS, Candles, FloatArray, IntArray
from shared.domain.errors import DataNotFound, UsageError
from shared.domain.interval import Interval

FundingHistory = tuple[IntArray, FloatArray]


@dataclass(frozen=True, slots=True)
class Stretch:
    """What was traded in [start, end) of one bar; prices in quote currency."""

    first: float
    high: float
    low: float
    last: float
    volume: float
    """base units"""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar as far as it is known."""

    open_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class SymbolMarket:
    """One symbol's bars on the base interval, and its funding."""

    def __init__(self, symbol: str, candles: Candles, funding: FundingHistory | None) -> None:
        if len(candles) == 0:
            raise DataNotFound(f"no {candles.interval} candles of {symbol}; choose another start, interval or directory")
        self.symbol = symbol
        self.interval = candles.interval
        self.spec: SymbolSpec = symbol_spec(symbol, float(candles.open[0]))
        self.open_ms: list[int] = candles.open_time.tolist()
        self._open: list[float] = candles.open.tolist()
        self._high: list[float] = candles.high.tolist()
        self._low: list[float] = candles.low.tolist()
        self._close: list[float] = candles.close.tolist()
        self._volume: list[float] = candles.volume.tolist()
        times, rates = funding if funding is not None else (np.empty(0, np.int64), np.empty(0))
        self.funding_ms: list[int] = (np.asarray(times, dtype=np.int64) // 60_000 * 60_000).tolist()
        self.funding_rates: list[float] = np.asarray(rates, dtype=np.float64).tolist()

    def __len__(self) -> int:
        return len(self.open_ms)

    @property
    def end_ms(self) -> int:
        """Close of the last bar."""
        return self.open_ms[-1] + self.interval.ms

    def bar(self, row: int) -> Bar:
        """The finished bar in `row`."""
        return Bar(self.open_ms[row], self._open[row], self._high[row], self._low[row], self._close[row], self._volume[row])

    def row_at(self, time_ms: int) -> int:
        """Row of the newest bar that opened at or before `time_ms`; -1 where there is none."""
        return bisect_right(self.open_ms, time_ms) - 1

    def first_row(self, start_ms: int) -> int:
        """Row of the first bar that opens at or after `start_ms`."""
        return bisect_left(self.open_ms, start_ms)

    def price(self, time_ms: int) -> float:
        """Last price at `time_ms`: the open at a bar's open, the path inside it, the last close in a gap."""
        row = self.row_at(time_ms)
        if row < 0:
            return self._open[0]
        elapsed = time_ms - self.open_ms[row]
        if elapsed >= self.interval.ms:
            return self._close[row]
        return self._on_path(row, elapsed / self.interval.ms) if elapsed else self._open[row]

    def trades_at(self, time_ms: int) -> bool:
        """Whether the market has begun by `time_ms` and has data left."""
        return self.open_ms[0] <= time_ms <= self.end_ms

    def traded_notional(self, time_ms: int) -> float:
        """Notional of the newest bar that is closed at `time_ms`, quote currency; 0 where there is none."""
        row = self.row_at(time_ms - self.interval.ms)
        return self._volume[row] * self._close[row] if row >= 0 else 0.0

    def stretch(self, start_ms: int, end_ms: int) -> Stretch | None:
        """What was traded in [start, end), which must lie in one bar of the grid; `None` in a gap."""
        row = self.row_at(start_ms)
        if row < 0 or start_ms >= self.open_ms[row] + self.interval.ms:
            return None
        length = self.interval.ms
        begin, end = (start_ms - self.open_ms[row]) / length, (end_ms - self.open_ms[row]) / length
        if begin == 0 and end == 1:
            return Stretch(self._open[row], self._high[row], self._low[row], self._close[row], self._volume[row])
        prices = [self._on_path(row, begin), self._on_path(row, end)]
        nodes = zip((1 / 3, 2 / 3), self._extremes(row), strict=True)
        prices += [price for at, price in nodes if begin < at < end]
        return Stretch(prices[0], max(prices), min(prices), prices[1], self._volume[row] * (end - begin))

    def open_bar(self, time_ms: int) -> Bar | None:
        """The unfinished bar that contains `time_ms`; `None` in a gap or past the end."""
        row = self.row_at(time_ms)
        if row < 0 or time_ms >= self.open_ms[row] + self.interval.ms:
            return None
        opened = self.open_ms[row]
        if time_ms == opened:
            price = self._open[row]
            return Bar(opened, price, price, price, price, 0.0)
        part = self.stretch(opened, time_ms)
        if part is None:
            return None
        return Bar(opened, part.first, part.high, part.low, part.last, part.volume)

    def last_funding(self, time_ms: int) -> tuple[int, float] | None:
        """Instant and rate of the newest funding at or before `time_ms`."""
        row = bisect_right(self.funding_ms, time_ms) - 1
        return (self.funding_ms[row], self.funding_rates[row]) if row >= 0 else None

    def fundings(self, after_ms: int, until_ms: int) -> list[tuple[int, float]]:
        """Funding with `after_ms` < instant <= `until_ms`, oldest first."""
        first, last = bisect_right(self.funding_ms, after_ms), bisect_right(self.funding_ms, until_ms)
        return list(zip(self.funding_ms[first:last], self.funding_rates[first:last], strict=True))

    def _extremes(self, row: int) -> tuple[float, float]:
        return path_extremes(self._open[row], self._high[row], self._low[row], self._close[row])

    def _on_path(self, row: int, part: float) -> float:
        return price_on_path(self._open[row], self._high[row], self._low[row], self._close[row], part)


class Market:
    """All symbols, on one base interval."""

    def __init__(self, candles: Mapping[str, Candles], funding: Mapping[str, FundingHistory] | None = None) -> None:
        intervals = {bars.interval for bars in candles.values()}
        if len(intervals) != 1:
            raise UsageError(f"the paper exchange works on one base interval, found {sorted(intervals) or 'no candles'}")
        self.interval: Interval = intervals.pop()
        history = funding or {}
        self.symbols = {name: SymbolMarket(name, candles[name], history.get(name)) for name in sorted(candles)}
        self.fingerprint = _fingerprint(candles, history)

    @property
    def end_ms(self) -> int:
        """Close of the last bar of any symbol."""
        return max(symbol.end_ms for symbol in self.symbols.values())

    @property
    def start_ms(self) -> int:
        """Open of the first bar of any symbol."""
        return min(symbol.open_ms[0] for symbol in self.symbols.values())

    def price(self, symbol: str, time_ms: int) -> Decimal:
        """Last price as the decimal that prints like the recorded float."""
        return Decimal(repr(self.symbols[symbol].price(time_ms)))


def _fingerprint(candles: Mapping[str, Candles], funding: Mapping[str, FundingHistory]) -> str:
    digest = hashlib.sha256()
    for name in sorted(candles):
        bars = candles[name]
        digest.update(f"{name} {bars.interval} {len(bars)}\n".encode())
        for column in COLUMNS:
            digest.update(np.ascontiguousarray(getattr(bars, column)).tobytes())
        for array in funding.get(name, ()):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]
