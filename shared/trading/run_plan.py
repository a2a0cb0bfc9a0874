"""What a run over history is, and the book that it writes.

The book's name is derived from everything that decides its outcome (data, symbols, range, capital, parameters), so that
the same command continues an interrupted run instead of starting a second one, and another command never touches it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from shared.domain.asset import Universe
from shared.domain.errors import NotEnoughData, UsageError
from shared.domain.ids import content_id
from shared.domain.interval import DAY_MS, Interval, format_ms
from shared.domain.records import BookRecord


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run of the loop over recorded or generated candles."""

    universe: Universe
    interval: Interval
    start_ms: int
    """open of the first bar that is traded"""
    end_ms: int
    """close of the last one"""
    capital: str
    """quote currency, as a decimal string"""
    params_version: str
    account_version: str
    """content id of what the account costs: fees, slippage, leverage"""
    market_label: str
    """where the candles come from, for people"""
    market_hash: str
    """content hash of the candles"""
    generated: bool
    live: bool = False
    """a book of `ost live`: the market goes by itself instead of waiting for each step"""

    @property
    def bars(self) -> int:
        """Bars per asset in the range."""
        return (self.end_ms - self.start_ms) // self.interval.ms

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, for the ledger's `books` table."""
        return {
            "symbols": [asset.symbol for asset in self.universe],
            "venue": self.universe.assets[0].venue,
            "interval": self.interval.value,
            "start_ms": self.start_ms,
            "end_ms": self.end_ms,
            "capital": self.capital,
            "params_version": self.params_version,
            "account_version": self.account_version,
            "market": self.market_label,
            "market_hash": self.market_hash,
            "generated": self.generated,
            **({"live": True} if self.live else {}),
        }

    def book(self, attempt: int) -> str:
        """Name of the `attempt`-th book of this plan, from 1."""
        content = {name: value for name, value in self.as_dict().items() if name != "market"}
        return f"{content_id('live' if self.live else 'paper', content)[:16]}-{attempt}"


def choose_book(plan: RunPlan, books: Iterable[BookRecord], *, fresh: bool) -> tuple[str, bool]:
    """(book, whether it continues an interrupted run). A finished book is never written again."""
    existing = {record.book: record for record in books}
    attempt = 1
    while (record := existing.get(plan.book(attempt))) is not None:
        if record.finished_ms is None and not fresh:
            return record.book, True
        attempt += 1
    return plan.book(attempt), False


def outside(
    spans: dict[str, tuple[int, int]], interval: Interval, *, start_ms: int | None, end_ms: int | None, warmup_bars: int
) -> dict[str, str]:
    """Symbols whose candles do not reach over the run, and why: they are left out, and the others are traded.

    Without an end the newest candle of any asset is it. Empty where no asset reaches over it: then `choose_range` says why.
    """
    end = max(last for _, last in spans.values()) if end_ms is None else interval.floor(end_ms)
    reasons = {}
    for symbol, (first, last) in spans.items():
        earliest = first + warmup_bars * interval.ms
        if last < end:
            reasons[symbol] = f"left out: its candles end at {format_ms(last)}, the run at {format_ms(end)}"
        elif earliest > (end - interval.ms if start_ms is None else start_ms):
            reasons[symbol] = (
                f"left out: its candles begin at {format_ms(first)}, with warm-up it can trade from {format_ms(earliest)}"
            )
    return reasons if len(reasons) < len(spans) else {}


def choose_range(
    spans: dict[str, tuple[int, int]],
    interval: Interval,
    *,
    start_ms: int | None,
    end_ms: int | None,
    days: int,
    warmup_bars: int,
) -> tuple[int, int]:
    """[start, end) of a run: the last `days` that every asset has, unless dates say otherwise.

    `spans` holds (first open, last close) of each symbol in ms. Raises `UsageError` where the dates leave the data and
    `NotEnoughData` where fewer than `warmup_bars` bars would lie before the start.
    """
    first = max(span[0] for span in spans.values())
    last = min(span[1] for span in spans.values())
    if start_ms is not None and end_ms is not None and end_ms <= start_ms:
        raise UsageError(f"the run would end ({format_ms(end_ms)}) before it starts ({format_ms(start_ms)})")
    known = f"all {len(spans)} assets have candles from {format_ms(first)} to {format_ms(last)}"
    end = last if end_ms is None else interval.floor(end_ms)
    start = max(first, end - days * DAY_MS) if start_ms is None else interval.ceil(start_ms)
    if end > last or start < first:
        raise UsageError(f"the range {format_ms(start)} to {format_ms(end)} leaves the data; {known}")
    earliest = first + warmup_bars * interval.ms
    if start_ms is None:
        start = max(start, interval.ceil(earliest))
    if start < earliest:
        raise NotEnoughData(
            f"the first {warmup_bars} bars warm the indicators and the regime model up, so trading can start at "
            f"{format_ms(earliest)}, not at {format_ms(start)}; {known}"
        )
    if start >= end:
        raise NotEnoughData(
            f"nothing is left to trade between {format_ms(start)} and {format_ms(end)}; {known}, "
            f"and the first {warmup_bars} bars are warm-up"
        )
    return start, end
