"""From a market to the lake: incremental, resumable, concurrent over assets.

What is missing is fetched in pages and merged page by page, so that an interruption loses one page at most and the next call
goes on from there. An asset that fails is named in the report and never stops the others. Rate limits are the market
adapter's business; here only the number of assets at work at a time is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from shared.data.findings import Finding, FindingKind
from shared.data.gaps import Gap, missing_ranges
from shared.data.ingest_params import IngestParams
from shared.data.merge import merge_into, merge_series
from shared.data.quality import QualityReport, assess
from shared.data.store import FUNDING, OPEN_INTEREST, load_candles, load_quality, load_series, quality_path, update
from shared.domain.asset import Asset, Universe
from shared.domain.candles import Candles, IntArray
from shared.domain.errors import PASSING, OstError, VenueError, needs_help
from shared.domain.ids import candles_hash
from shared.domain.interval import DAY_MS, HOUR_MS, Interval
from shared.ports import Bucket, Clock, MarketData


@runtime_checkable
class ReportsFindings(Protocol):
    """A market that can say what it noticed in its sources."""

    def findings(self, symbol: str, interval: Interval) -> Sequence[Finding]:
        """What was noticed while the sources of `symbol` became candles."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one asset is: `done` of `total` bars asked for (bars that do not exist count as done)."""

    asset: Asset
    interval: Interval
    done: int
    total: int


OnProgress = Callable[[Progress], None]

FUNDING_MS, OPEN_INTEREST_MS = 8 * HOUR_MS, HOUR_MS
"""Longest time between two values of a series."""


@dataclass(frozen=True, slots=True)
class AssetReport:
    """What ingestion did for one asset at one interval."""

    asset: Asset
    interval: Interval
    added: int
    revised: int
    """bars that came differently from the stored ones; the stored ones stay"""
    quality: QualityReport | None
    last_close_ms: int | None = None
    """close of the newest stored bar; `None` where there is none, or the bars could not be fetched"""
    data_hash: str = ""
    """content of all stored bars"""
    error: str = ""
    """one line where it failed; what had arrived before is stored"""
    is_passing: bool = False
    """whether what failed is to be asked for again"""
    needs_help: bool = False
    """whether somebody has to mend something first"""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What ingestion did for all assets, in the order of the universe."""

    assets: tuple[AssetReport, ...]

    @property
    def failed(self) -> tuple[AssetReport, ...]:
        """Those that have an error."""
        return tuple(report for report in self.assets if report.error)

    @property
    def added(self) -> int:
        """New bars in all."""
        return sum(report.added for report in self.assets)


async def ingest_asset(
    market: MarketData,
    bucket: Bucket,
    clock: Clock,
    asset: Asset,
    interval: Interval,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    params: IngestParams | None = None,
    on_progress: OnProgress | None = None,
    with_series: bool = True,
) -> AssetReport:
    """Bring one asset up to the newest closed bar, then, `with_series`, its funding and open interest.

    Nothing newer than `until_ms` is asked for. Without `since_ms`: from the last stored bar on (`params.default_days` back if
    nothing is stored). With it: everything that the lake lacks from there on, holes included. Raises `VenueError`, `DataError`,
    `StorageError`, `Conflict`; where the venue refuses funding or open interest alone, the report has the error.
    """
    params = params or IngestParams()
    now_ms = clock.now_ms() if until_ms is None else min(until_ms, clock.now_ms())
    stored = load_candles(bucket, asset, interval) or Candles.empty(interval)
    ranges = _wanted(stored, interval, since_ms, now_ms, params)
    total = sum(gap.missing for gap in ranges)
    added, done, noticed = 0, 0, list[Finding]()
    for start_ms, end_ms in _pages(ranges, interval, params.page_bars):
        page = await market.candles(asset.symbol, interval, start_ms, end_ms)
        merged = merge_into(bucket, asset, page, now_ms)
        added += merged.added
        noticed += merged.findings
        done += (end_ms - start_ms) // interval.ms
        if on_progress is not None:
            on_progress(Progress(asset, interval, done, total))
    if isinstance(market, ReportsFindings):
        noticed += market.findings(asset.symbol, interval)
    now_stored = load_candles(bucket, asset, interval) or Candles.empty(interval)
    quality = _store_quality(bucket, asset, now_stored, noticed)
    start_ms = ranges[0].start_ms if ranges else now_ms - interval.ms
    report = AssetReport(
        asset,
        interval,
        added,
        revised=sum(finding.bars for finding in noticed if finding.kind is FindingKind.REVISED),
        quality=quality,
        last_close_ms=int(now_stored.close_time[-1]) if len(now_stored) else None,
        data_hash=candles_hash(now_stored),
    )
    if not with_series:
        return report
    try:
        await _ingest_series(market, bucket, asset, start_ms if since_ms is None else since_ms, now_ms)
    except VenueError as error:  # the bars are there all the same
        return replace(report, error=str(error), is_passing=isinstance(error, PASSING), needs_help=needs_help(error))
    return report


async def ingest_universe(
    market: MarketData,
    bucket: Bucket,
    clock: Clock,
    universe: Universe,
    intervals: Iterable[Interval],
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    params: IngestParams | None = None,
    on_progress: OnProgress | None = None,
    series_of: Container[Asset] | None = None,
) -> IngestReport:
    """`ingest_asset` for every asset and interval, a bounded number of them at a time. Failures are in the report.

    Funding and open interest are asked for `series_of` these assets, by default all.
    """
    params = params or IngestParams()
    slots = asyncio.Semaphore(params.concurrency)

    async def one(asset: Asset, interval: Interval) -> AssetReport:
        async with slots:
            try:
                return await ingest_asset(
                    market,
                    bucket,
                    clock,
                    asset,
                    interval,
                    since_ms=since_ms,
                    until_ms=until_ms,
                    params=params,
                    on_progress=on_progress,
                    with_series=series_of is None or asset in series_of,
                )
            except OstError as error:
                again, help_ = isinstance(error, PASSING), needs_help(error)
                return AssetReport(asset, interval, 0, 0, None, error=str(error), is_passing=again, needs_help=help_)

    wanted = list(intervals)
    return IngestReport(tuple(await asyncio.gather(*(one(asset, interval) for asset in universe for interval in wanted))))


def _wanted(stored: Candles, interval: Interval, since_ms: int | None, now_ms: int, params: IngestParams) -> list[Gap]:
    """Ranges to fetch, oldest first, up to the newest closed bar."""
    if since_ms is None:
        default_ms = interval.floor(now_ms) - params.default_days * DAY_MS
        since_ms = int(stored.close_time[-1]) if len(stored) else default_ms
    return missing_ranges(stored, since_ms, interval.floor(now_ms))


def _pages(ranges: list[Gap], interval: Interval, page_bars: int) -> list[tuple[int, int]]:
    """[start, end) of each request."""
    step = page_bars * interval.ms
    return [(start, min(start + step, gap.end_ms)) for gap in ranges for start in range(gap.start_ms, gap.end_ms, step)]


def _store_quality(bucket: Bucket, asset: Asset, candles: Candles, noticed: list[Finding]) -> QualityReport:
    report = assess(candles, noticed, load_quality(bucket, asset, candles.interval))
    if len(candles):
        update(bucket, quality_path(asset, candles.interval), lambda _: report.to_json())
    return report


def _next_ms(times: IntArray, longest_ms: int) -> int:
    """When the next value of a series is due, by the shortest of its last steps."""
    steps = [int(step) for step in np.diff(times[-4:])]
    return int(times[-1]) + min([longest_ms, *steps])


async def _ingest_series(market: MarketData, bucket: Bucket, asset: Asset, since_ms: int, now_ms: int) -> None:
    """Funding and open interest from the newest stored instant on (or the whole range where none is stored).

    The venue counts these requests apart and grants few: nothing is asked before the next value can be there.
    """
    for kind, fetch, longest_ms in (
        (FUNDING, market.funding_rates, FUNDING_MS),
        (OPEN_INTEREST, market.open_interest, OPEN_INTEREST_MS),
    ):
        times, _ = load_series(bucket, asset, kind)
        covered = len(times) > 0 and int(times[0]) <= since_ms
        if covered and now_ms < _next_ms(times, longest_ms):
            continue
        start_ms = int(times[-1]) + 1 if covered else since_ms
        new = await fetch(asset.symbol, start_ms, now_ms + 1)
        if len(new[0]):
            merge_series(bucket, asset, kind, new)
