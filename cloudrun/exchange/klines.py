"""Klines as Binance serves them: closed bars and, last, the open one; coarser intervals aggregated from the base.

At simulated time t only bars with open time <= t are served. `startTime` and `endTime` are inclusive and compare with open
times; without `startTime` the newest `limit` bars are served. The last rendered closed bars are kept, as they never change.
"""

from __future__ import annotations

import math
from typing import Any

from cloudrun.exchange.filters import Params, integer
from cloudrun.exchange.market import Bar, Market, SymbolMarket
from cloudrun.exchange.numerals import float_text
from cloudrun.exchange.refusal import missing, refusal
from shared.domain.errors import UsageError
from shared.domain.interval import Interval

MAX_LIMIT = 1500
DEFAULT_LIMIT = 500
_MOST_RENDERED = 5_000
"""rows that are kept, about 1 KB each; all are forgotten when there are more"""


def interval_of(text: str, base: Interval) -> Interval:
    """The interval that a request names. Raises -1120 where it is unknown or finer than the base."""
    try:
        interval = Interval.parse(text)
    except UsageError:
        raise refusal(-1120) from None
    if interval.ms < base.ms:
        raise refusal(-1120)
    return interval


class Klines:
    """Serves bars of every symbol on the base interval and coarser ones."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._rendered: dict[tuple[str, Interval, int], list[Any]] = {}

    def rows(self, symbol: SymbolMarket, params: Params, now_ms: int) -> list[list[Any]]:
        """GET /fapi/v1/klines. Raises `Refusal`."""
        interval = interval_of(params.get("interval") or _no_interval(), self._market.interval)
        limit = integer(params, "limit", DEFAULT_LIMIT)
        if not 1 <= limit <= MAX_LIMIT:
            limit = min(max(limit, 1), MAX_LIMIT)
        end_ms = min(integer(params, "endTime", now_ms), now_ms)
        newest = interval.floor(end_ms)
        first = newest - (limit - 1) * interval.ms
        if params.get("startTime"):
            first = interval.ceil(integer(params, "startTime"))
        first = max(first, interval.floor(symbol.open_ms[0]))
        rows: list[list[Any]] = []
        at = first
        while at <= newest and len(rows) < limit:
            row = self._row(symbol, interval, at, now_ms)
            if row is not None:
                rows.append(row)
            at += interval.ms
        return rows

    def bar(self, symbol: SymbolMarket, interval: Interval, open_ms: int, now_ms: int) -> Bar | None:
        """The bar that opens at `open_ms`, as far as it is known at `now_ms`; `None` in a gap."""
        parts: list[Bar] = []
        row = symbol.first_row(open_ms)
        while row < len(symbol) and symbol.open_ms[row] < min(open_ms + interval.ms, now_ms + 1):
            whole = symbol.open_ms[row] + symbol.interval.ms <= now_ms
            part = symbol.bar(row) if whole else symbol.open_bar(now_ms)
            if part is not None:
                parts.append(part)
            row += 1
        if not parts:
            return None
        high, low = max(part.high for part in parts), min(part.low for part in parts)
        return Bar(open_ms, parts[0].open, high, low, parts[-1].close, math.fsum(part.volume for part in parts))

    def _row(self, symbol: SymbolMarket, interval: Interval, open_ms: int, now_ms: int) -> list[Any] | None:
        key = (symbol.symbol, interval, open_ms)
        kept = self._rendered.get(key)
        if kept is not None:
            return kept
        bar = self.bar(symbol, interval, open_ms, now_ms)
        if bar is None:
            return None
        row = _render(bar, interval)
        if open_ms + interval.ms <= now_ms:
            if len(self._rendered) >= _MOST_RENDERED:
                self._rendered.clear()
            self._rendered[key] = row
        return row


def _render(bar: Bar, interval: Interval) -> list[Any]:
    prices = [float_text(value) for value in (bar.open, bar.high, bar.low, bar.close, bar.volume)]
    quote = float_text(round(bar.volume * (bar.open + bar.close) / 2, 8))
    return [bar.open_ms, *prices, bar.open_ms + interval.ms - 1, quote, 0, "0", "0", "0"]


def _no_interval() -> str:
    raise missing("interval")
