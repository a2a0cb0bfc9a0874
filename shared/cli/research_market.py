"""Candles, rules and funding for the research commands: from a folder, the venue, or a generated market, as in `ost run`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shared.domain.errors import NotEnoughData, UsageError
from shared.domain.interval import DAY_MS, Interval, format_ms, parse_date_ms

if TYPE_CHECKING:
    from shared.backtest.market import AssetMarket
    from shared.config.settings import Settings


@dataclass(frozen=True, eq=False)
class ResearchMarkets:
    """Assets over one period. Their candles begin `warmup_bars` before `start_ms` where there are so many."""

    markets: tuple[AssetMarket, ...]
    interval: Interval
    start_ms: int
    """open of the first bar of the period"""
    end_ms: int
    """close of the last one"""
    label: str
    """where the candles come from, for people"""
    generated: bool
    data_hash: dict[str, str]
    """content hash of the candles by symbol"""
    problems: tuple[str, ...]
    """assets that were left out, one line each"""
    notes: tuple[str, ...] = ()
    """what the data of the others leave out inside the period, one line each"""


def parse_symbols(text: str | None) -> tuple[str, ...]:
    """Comma-separated symbols; empty where the option was not given. Raises `UsageError` where it names none."""
    wanted = tuple(name.strip().upper() for name in (text or "").split(",") if name.strip())
    if text is not None and not wanted:
        raise UsageError("no symbol is named; write e.g. BTCUSDT,ETHUSDT, or leave the option out")
    return wanted


def load_markets(
    settings: Settings,
    *,
    data: Path | None,
    symbols: tuple[str, ...],
    start: str | None,
    end: str | None,
    warmup_bars: int,
    days: int | None = None,
    history_bars: int | None = None,
    keep_ended: bool = False,
) -> ResearchMarkets:
    """Markets of `symbols` (default: the configured universe) from `start` to `end` (YYYY-MM-DD; default: all that there is).

    An asset that does not reach over the period is left out and named; with `keep_ended` one stays whose candles end inside it
    (who drops those trades with hindsight). Where there are more candles before the period than the warm-up needs, up to
    `history_bars` (default: the warm-up) are given. What is missing inside the period is noted on stderr as well. Raises
    `UsageError` for dates that make no sense, `NotEnoughData` where no asset reaches over the period.
    """
    from shared.backtest.market import AssetMarket
    from shared.backtest.venue_rules import symbol_spec
    from shared.cli import output
    from shared.cli.market_caveats import early_end, missing_bars, missing_funding
    from shared.cli.market_source import resolve
    from shared.domain.ids import candles_hash

    interval = settings.interval
    start_ms, end_ms = (parse_date_ms(day) if day else None for day in (start, end))
    if start_ms is not None and end_ms is not None and end_ms <= start_ms:
        raise UsageError(f"the period would end ({end}) before it starts ({start})")
    if start_ms is not None and start_ms < warmup_bars * interval.ms:
        raise UsageError(f"{warmup_bars} {interval} bars of warm-up come before {start}, and that is before 1970; start later")
    wanted_days = days or settings.run.days
    if start_ms is not None and end_ms is not None:
        wanted_days = (end_ms - start_ms) // DAY_MS
    source = resolve(settings, interval, data=data, symbols=symbols, days=max(wanted_days, 1), say=output.note)
    last = max(span[1] for span in source.spans.values()) if end_ms is None else end_ms
    if start_ms is None and days is not None:
        start_ms = last - days * DAY_MS
        if start_ms < warmup_bars * interval.ms:
            raise UsageError(f"{days} days before {format_ms(last)} and their warm-up begin before 1970; choose fewer days")
    problems, notes, markets, hashes = list(source.problems), [], [], {}
    firsts = {symbol: first + warmup_bars * interval.ms for symbol, (first, _) in source.spans.items()}
    begin = start_ms if start_ms is not None else max(firsts.values())
    begin, last = interval.ceil(begin), interval.floor(last)
    if begin >= last:
        reach = ", ".join(f"{symbol} {format_ms(first)} to {format_ms(end)}" for symbol, (first, end) in source.spans.items())
        raise NotEnoughData(
            f"no bars between {format_ms(begin)} and {format_ms(last)}: {warmup_bars} bars of warm-up come first; there are "
            f"candles of {reach}"
        )
    for asset in source.universe:
        first, newest = source.spans[asset.symbol]
        until = min(newest, last) if keep_ended else last
        if newest < until or until <= begin or firsts[asset.symbol] > begin:
            problems.append(
                f"{asset.symbol}: left out: candles from {format_ms(first)} to {format_ms(newest)}, needed from "
                f"{format_ms(begin - warmup_bars * interval.ms)} ({warmup_bars} bars of warm-up) to {format_ms(last)}"
            )
            continue
        from_ms = begin - max(warmup_bars, history_bars or 0) * interval.ms
        candles = asyncio.run(source.market.candles(asset.symbol, interval, from_ms, last))
        funding = asyncio.run(source.market.funding_rates(asset.symbol, from_ms, last + 1))
        try:
            notes += missing_bars(asset.symbol, candles, begin, until)
        except NotEnoughData as error:
            problems.append(f"{error}: left out")
            continue
        notes += early_end(asset.symbol, newest, last) + missing_funding(asset.symbol, funding, begin, until)
        spec = symbol_spec(asset.symbol, float(candles.open[0]))
        markets.append(AssetMarket(asset, candles, spec, funding if len(funding[0]) else None))
        hashes[asset.symbol] = candles_hash(candles)
    if not markets:
        raise NotEnoughData("\n".join(problems))
    for note in notes:
        output.note(note)
    return ResearchMarkets(
        tuple(markets), interval, begin, last, source.label, source.generated, hashes, tuple(problems), tuple(notes)
    )
