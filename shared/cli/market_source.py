"""Where the candles of a run come from: a folder, the venue, or a generated market, in this order.

The chosen bars are copied into the run's own folder: what the paper exchange replays then stays the same when the run is
continued tomorrow, whatever has happened to the source.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shared.cli import wiring
from shared.domain.asset import Universe
from shared.domain.errors import DataError, DataNotFound, MalformedData, UsageError
from shared.domain.interval import DAY_MS, Interval, parse_date_ms

if TYPE_CHECKING:
    from shared.config.settings import Settings
    from shared.ports import MarketData
    from shared.trading.run_plan import RunPlan

GENERATED_VENUE = "generated"
GENERATED_END_MS = parse_date_ms("2025-01-01")
"""The generated market ends here, whenever it is generated: the same seed is the same market on every day."""

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class MarketSource:
    """Candles to trade on."""

    market: MarketData
    universe: Universe
    interval: Interval
    spans: dict[str, tuple[int, int]]
    """(first open, last close) by symbol, ms"""
    label: str
    generated: bool
    problems: tuple[str, ...] = ()
    """assets that were asked for and cannot be traded, one line each"""


def resolve(
    settings: Settings, interval: Interval, *, data: Path | None, symbols: Sequence[str], days: int, say: Say
) -> MarketSource:
    """The first source that works. `say` gets one line for whatever the user should know.

    Raises `UsageError` or a `DataError` where a folder was named and cannot be used.
    """
    if data is not None:
        return _from_folder(settings, data, interval, symbols, say)
    reason = venue_problem(settings)
    if reason is None:
        return _from_venue(settings, interval, symbols, days)
    say(f"{reason}; using a GENERATED market instead (your own candles: --data DIR, or make run DATA=DIR)")
    return _generated(settings, interval, symbols, days, say)


def freeze(source: MarketSource, plan: RunPlan, folder: Path, window_bars: int) -> None:
    """Copy the plan's candles and funding, with `window_bars` of history, into `folder`; one that is there stays as it is."""
    from shared.adapters.local.bucket import FolderBucket
    from shared.data.tables import candles_to_bytes, series_to_bytes

    bucket = FolderBucket(folder)
    start_ms = plan.start_ms - window_bars * plan.interval.ms
    for asset in plan.universe:
        name = f"{asset.symbol}/{plan.interval}.parquet"
        if bucket.read(name) is not None:
            continue
        candles = asyncio.run(source.market.candles(asset.symbol, plan.interval, start_ms, plan.end_ms))
        funding = asyncio.run(source.market.funding_rates(asset.symbol, start_ms, plan.end_ms + 1))
        bucket.write(f"{asset.symbol}/funding.parquet", series_to_bytes(funding, "funding_rate"))
        bucket.write(name, candles_to_bytes(candles))


def fingerprint(source: MarketSource, start_ms: int, end_ms: int) -> str:
    """Content hash of every candle of the source in [start, end)."""
    from shared.domain.ids import candles_hash, content_id

    hashes = {}
    for asset in source.universe:
        candles = asyncio.run(source.market.candles(asset.symbol, source.interval, start_ms, end_ms))
        hashes[asset.symbol] = candles_hash(candles)
    return content_id("market", hashes)


def _from_folder(settings: Settings, data: Path, interval: Interval, symbols: Sequence[str], say: Say) -> MarketSource:
    from shared.adapters.local.market_files import FileMarket

    files = FileMarket(data, settings.universe.venue)
    found = {symbol for symbol in files.symbols() if interval in files.intervals(symbol)}
    wanted = tuple(symbols) or settings.universe.symbols
    missing = [symbol for symbol in wanted if symbol not in found]
    listed = " ".join(sorted(found)) or "none"
    if missing and (symbols or len(missing) == len(wanted)):
        raise DataNotFound(f"{data} has no {interval} candles of {' '.join(missing)}; it has {listed} (choose with --symbols)")
    if missing:
        say(f"{data} has no {interval} candles of {' '.join(missing)}; trading the others")
    spans, problems = {}, []
    for symbol in (s for s in wanted if s in found):
        try:
            spans[symbol] = files.span(symbol, interval)
        except DataError as error:
            problems.append(f"{symbol}: {error}")
            continue
        for finding in files.findings(symbol, interval):
            say(f"{symbol}: {finding}")
    if not spans:
        raise MalformedData("\n".join(problems))
    universe = Universe.of(settings.universe.venue, tuple(spans))
    return MarketSource(files, universe, interval, spans, f"files in {data}", generated=False, problems=tuple(problems))


def venue_problem(settings: Settings) -> str | None:
    """Why the venue cannot be asked, in one line; `None` where it can."""
    from shared.adapters.exchange.probe import probe_venue

    answer = asyncio.run(
        probe_venue(
            wiring.clock(),
            settings.universe.venue,
            base_url=settings.venue.base_url,
            timeout_s=settings.venue.probe_timeout_s,
            admission=wiring.admission(settings, settings.venue.base_url),
        )
    )
    return None if answer.reachable else answer.reason


def _from_venue(settings: Settings, interval: Interval, symbols: Sequence[str], days: int) -> MarketSource:
    """Download what is missing into the lake and read it from there."""
    from shared.adapters.local.market_files import FileMarket
    from shared.cli.data import ingest

    venue = settings.universe.venue
    universe = Universe.of(venue, tuple(symbols) or settings.universe.symbols)
    now_ms = wiring.clock().now_ms() // DAY_MS * DAY_MS  # whole days: the same command on the same day is the same run
    since_ms = _since_1970(now_ms - days * DAY_MS - settings.system.window_bars(interval) * interval.ms, days)
    market, bucket, clock = wiring.market(settings), wiring.bucket(settings), wiring.clock()
    report = asyncio.run(ingest(market, bucket, clock, universe, [interval], since_ms, settings.ingest))
    failed = {asset.asset: asset.error for asset in report.failed}
    good = tuple(asset.symbol for asset in universe if asset not in failed)
    if not good:
        raise DataNotFound(f"no candles could be fetched from {venue}; name a folder with --data DIR")
    files = FileMarket(settings.lake / "raw" / venue, venue, end_ms=now_ms)
    return MarketSource(
        files,
        Universe.of(venue, good),
        interval,
        {symbol: files.span(symbol, interval) for symbol in good},
        f"{venue} through ccxt",
        generated=False,
        problems=tuple(f"{asset.symbol}: {error}" for asset, error in failed.items()),
    )


def _generated(settings: Settings, interval: Interval, symbols: Sequence[str], days: int, say: Say) -> MarketSource:
    import numpy as np

    from shared.data.generated import KNOWN_SYMBOLS, generate_market

    if interval.ms > DAY_MS:
        raise UsageError(f"the generated market has no {interval} bars; choose 15m to 1d")
    chosen = tuple(symbols) or settings.universe.symbols
    if unknown := [symbol for symbol in chosen if symbol not in KNOWN_SYMBOLS]:
        say(f"{' '.join(unknown)}: the venue could not be asked whether it lists that; it is invented as well")
    seed = settings.run.seed
    bars = round(days * interval.bars_per_day) + settings.system.window_bars(interval)
    end_ms = interval.floor(GENERATED_END_MS)
    since_ms = _since_1970(end_ms - bars * interval.ms, days)
    market = generate_market(np.random.default_rng(seed), chosen, interval, since_ms, bars)
    spans = {symbol: market.span(symbol, interval) for symbol in chosen}
    universe = Universe.of(GENERATED_VENUE, chosen)
    return MarketSource(market, universe, interval, spans, f"GENERATED market (seed {seed})", generated=True)


def _since_1970(since_ms: int, days: int) -> int:
    """Where the history begins; raises `UsageError` where no market was."""
    if since_ms < 0:
        raise UsageError(f"{days} days and the history before them begin before 1970; choose fewer days")
    return since_ms
