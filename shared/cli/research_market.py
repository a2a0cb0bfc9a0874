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
    from shared.cli.market_source import MarketSource
    from shared.config.settings import Settings
    from shared.domain.asset import Asset


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
    from shared.cli import output
    from shared.domain.ids import candles_hash

    source, begin, last = _period(settings, data, symbols, start, end, warmup_bars, days)
    problems, notes, markets = list(source.problems), [], []
    for asset in source.universe:
        first, newest = source.spans[asset.symbol]
        until = min(newest, last) if keep_ended else last
        if newest < until or until <= begin or first + warmup_bars * settings.interval.ms > begin:
            problems.append(
                f"{asset.symbol}: left out: candles from {format_ms(first)} to {format_ms(newest)}, needed from "
                f"{format_ms(begin - warmup_bars * settings.interval.ms)} ({warmup_bars} bars of warm-up) to {format_ms(last)}"
            )
            continue
        from_ms = begin - max(warmup_bars, history_bars or 0) * settings.interval.ms
        try:
            market, gaps = _asset_market(source, asset, from_ms, (begin, until), last)
        except NotEnoughData as error:
            problems.append(f"{error}: left out")
            continue
        notes += gaps
        markets.append(market)
    if not markets:
        raise NotEnoughData("\n".join(problems))
    for note in notes:
        output.note(note)
    hashes = {market.asset.symbol: candles_hash(market.candles) for market in markets}
    return ResearchMarkets(
        tuple(markets), settings.interval, begin, last, source.label, source.generated, hashes, tuple(problems), tuple(notes)
    )


def _period(
    settings: Settings,
    data: Path | None,
    symbols: tuple[str, ...],
    start: str | None,
    end: str | None,
    warmup_bars: int,
    days: int | None,
) -> tuple[MarketSource, int, int]:
    """Where the candles come from, and the period [begin, last) in ms that the dates and the candles leave."""
    from shared.cli import output
    from shared.cli.market_source import resolve

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
    if start_ms is None:
        start_ms = max(first for first, _ in source.spans.values()) + warmup_bars * interval.ms
    begin, last = interval.ceil(start_ms), interval.floor(last)
    if begin >= last:
        reach = ", ".join(
            f"{symbol} {format_ms(first)} to {format_ms(until)}" for symbol, (first, until) in source.spans.items()
        )
        raise NotEnoughData(
            f"no bars between {format_ms(begin)} and {format_ms(last)}: {warmup_bars} bars of warm-up come first; there are "
            f"candles of {reach}"
        )
    return source, begin, last


def _asset_market(
    source: MarketSource, asset: Asset, from_ms: int, period: tuple[int, int], last_ms: int
) -> tuple[AssetMarket, list[str]]:
    """An asset's candles from `from_ms`, funding and venue rules, and a line for each thing that they lack inside `period`."""
    from shared.backtest.market import AssetMarket
    from shared.backtest.venue_rules import symbol_spec
    from shared.cli.market_caveats import early_end, missing_bars, missing_funding

    symbol, (_, newest) = asset.symbol, source.spans[asset.symbol]
    candles = asyncio.run(source.market.candles(symbol, source.interval, from_ms, last_ms))
    funding = asyncio.run(source.market.funding_rates(symbol, from_ms, last_ms + 1))
    gaps = [
        *missing_bars(symbol, candles, *period),
        *early_end(symbol, newest, last_ms),
        *missing_funding(symbol, funding, *period),
    ]
    spec = symbol_spec(symbol, float(candles.open[0]))
    return AssetMarket(asset, candles, spec, funding if len(funding[0]) else None), gaps
