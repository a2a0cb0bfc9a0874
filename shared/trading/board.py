"""The market as a session sees it: one trailing window per asset, fed by the stream, by REST, or by both.

A closed bar that the stream brings waits here until a step asks for it; what is missing then (a gap, a late bar, a funding
rate that has come due) is fetched by REST. Either way the window is the same: bars are keyed by open time, the first word
about a closed bar stands, a repeated one changes nothing and a revised one is reported.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from shared.domain.asset import Asset, Universe
from shared.domain.candles import Candles
from shared.domain.errors import UNANSWERED, OstError
from shared.domain.interval import Interval, format_ms
from shared.domain.money import to_decimal
from shared.domain.stream import BarMessage
from shared.ports import MarketData
from shared.trading.window import MarketWindow, refreshed, series_due, with_open_interest

Row = tuple[float, float, float, float, float, float]
"""open time (ms), open, high, low, close, volume"""


@dataclass(slots=True)
class _Desk:
    """One asset: its window, and closed bars that are newer."""

    window: MarketWindow
    ahead: dict[int, Row] = field(default_factory=dict)
    """by open time"""


class MarketBoard:
    """The windows of a universe."""

    def __init__(self, universe: Universe, interval: Interval, max_bars: int, market: MarketData) -> None:
        self._market = market
        self._interval = interval
        self._closes: dict[str, Decimal] | None = None
        self.unanswered: frozenset[str] = frozenset()
        """symbols that the last `advance` has asked the venue for, and it has not answered"""
        self._desks = {asset.symbol: _Desk(MarketWindow.empty(asset, interval, max_bars)) for asset in universe}

    def window(self, asset: Asset) -> MarketWindow:
        """The window of an asset as the last `advance` has left it."""
        return self._desks[asset.symbol].window

    def windows(self) -> list[MarketWindow]:
        """The windows of all assets."""
        return [desk.window for desk in self._desks.values()]

    def receive(self, bar: BarMessage) -> str:
        """Keep a closed bar until it is asked for; what is wrong with it, empty where nothing is.

        Bars of other symbols or intervals, open ones and repeated ones change nothing.
        """
        desk = self._desks.get(bar.symbol)
        if desk is None or not bar.closed or bar.interval is not self._interval:
            return ""
        row = (float(bar.open_ms), bar.open, bar.high, bar.low, bar.close, bar.volume)
        known = desk.ahead.get(bar.open_ms) or _stored(desk.window.candles, bar.open_ms)
        if known is not None:
            return "" if known == row else f"{bar.symbol}: the closed bar of {format_ms(bar.open_ms)} was revised; ignored"
        if desk.window.close_ms is not None and bar.open_ms < desk.window.close_ms:
            return ""
        if not (_is_possible(row) and self._interval.is_open_time(bar.open_ms)):
            return f"{bar.symbol}: impossible candle at {format_ms(bar.open_ms)}: {row[1:]}; it is asked for by REST"
        desk.ahead[bar.open_ms] = row
        return ""

    def missing(self, bar_close_ms: int) -> list[str]:
        """Symbols whose bar that closed at `bar_close_ms` is not here yet."""
        open_ms = bar_close_ms - self._interval.ms
        return [
            symbol
            for symbol, desk in self._desks.items()
            if open_ms not in desk.ahead and (desk.window.close_ms or 0) < bar_close_ms
        ]

    def lacking(self, bar_close_ms: int) -> list[str]:
        """Symbols that cannot be decided at that bar yet: it is not here, or there is no history that it continues."""
        missing = self.missing(bar_close_ms)
        return [symbol for symbol, desk in self._desks.items() if symbol in missing or desk.window.close_ms is None]

    async def advance(self, bar_close_ms: int) -> dict[str, str]:
        """Bring every window up to the bar that closed at `bar_close_ms`; what is wrong with an asset, by symbol.

        Asks the venue only for what the stream has not brought. One bad asset never stops the others.
        """
        self._closes, self.unanswered = None, frozenset()
        behind = [desk for desk in self._desks.values() if not self._extend(desk, bar_close_ms)]
        if not behind:
            return {}
        windows = await asyncio.gather(*(self._fetched(desk, bar_close_ms) for desk in behind), return_exceptions=True)
        problems = {}
        for desk, window in zip(behind, windows, strict=True):
            if isinstance(window, MarketWindow):
                desk.window = window
            elif isinstance(window, OstError):
                problems[desk.window.asset.symbol] = str(window)
                if isinstance(window, UNANSWERED):
                    self.unanswered |= {desk.window.asset.symbol}
            else:
                raise window
        return problems

    async def fetch_ahead(self, until_ms: int) -> None:
        """Fetch the closed bars up to `until_ms` at once, to be stepped one after the other. Raises the `VenueError` tree."""
        for symbol, desk in self._desks.items():
            if desk.window.close_ms is not None:
                newer = await self._market.candles(symbol, self._interval, desk.window.close_ms, until_ms)
                columns = (newer.open_time, newer.open, newer.high, newer.low, newer.close, newer.volume)
                for row in zip(*(column.tolist() for column in columns), strict=True):
                    desk.ahead.setdefault(int(row[0]), (float(row[0]), *row[1:]))

    async def refresh_open_interest(self, bar_close_ms: int) -> None:
        """Bring open interest up to date outside a step: no decision waits for it. Raises the `VenueError` tree."""
        for desk in self._desks.values():
            if desk.window.close_ms is not None and series_due(desk.window, desk.window.open_interest, bar_close_ms):
                desk.window = await with_open_interest(desk.window, self._market, bar_close_ms)

    def closes(self) -> Mapping[str, Decimal]:
        """Newest close by symbol, of the windows."""
        if self._closes is None:
            windows = [desk.window for desk in self._desks.values() if len(desk.window.candles)]
            self._closes = {window.asset.symbol: to_decimal(float(window.candles.close[-1])) for window in windows}
        return self._closes

    def _extend(self, desk: _Desk, bar_close_ms: int) -> bool:
        """Take the waiting bars up to `bar_close_ms` into the window; whether that was all that is needed."""
        last_ms = desk.window.close_ms
        rows = []
        while last_ms is not None and last_ms < bar_close_ms and last_ms in desk.ahead:
            rows.append(desk.ahead.pop(last_ms))
            last_ms += self._interval.ms
        if rows:
            desk.window = desk.window.with_bars(rows)
        if last_ms is None or last_ms < bar_close_ms:
            return False
        return last_ms > bar_close_ms or not series_due(desk.window, desk.window.funding, bar_close_ms)

    async def _fetched(self, desk: _Desk, bar_close_ms: int) -> MarketWindow:
        window = await refreshed(desk.window, self._market, bar_close_ms)
        desk.ahead = dict(_newer(desk.ahead, window.close_ms or 0))
        return window


def _is_possible(row: Row) -> bool:
    """Whether `Candles` would take it; without its arrays, for every closed bar comes through here."""
    _, first, high, low, close, volume = row
    return 0 < low <= min(first, close) <= max(first, close) <= high < math.inf and 0 <= volume < math.inf


def _stored(candles: Candles, open_ms: int) -> Row | None:
    """The bar that opened at `open_ms`, where it is among the last few of `candles`."""
    for i in range(len(candles) - 1, max(-1, len(candles) - 4), -1):
        if int(candles.open_time[i]) == open_ms:
            columns = (candles.open, candles.high, candles.low, candles.close, candles.volume)
            first, high, low, close, volume = (float(column[i]) for column in columns)
            return float(open_ms), first, high, low, close, volume
    return None


def _newer(ahead: Mapping[int, Row], close_ms: int) -> Iterable[tuple[int, Row]]:
    return ((open_ms, row) for open_ms, row in ahead.items() if open_ms >= close_ms)
