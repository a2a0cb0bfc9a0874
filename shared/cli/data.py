"""`ost backfill`, `ost check-gaps`, `ost curate`: the lake from the command line.

Each goes over all assets and all intervals asked for; one that fails is named and the others go on. Exit codes: 0 all is well,
1 problems were found (and named), 2 the command cannot be understood.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.domain.asset import Universe
from shared.domain.errors import OstError, UsageError
from shared.domain.interval import DAY_MS, STORED_INTERVALS, Interval, parse_date_ms

if TYPE_CHECKING:
    from shared.adapters.local.market_files import FileMarket
    from shared.config.settings import Settings
    from shared.data.ingest_params import IngestParams
    from shared.data.ingestion import IngestReport, OnProgress
    from shared.ports import Bucket, Clock, MarketData

IntervalOption = Annotated[str, typer.Option("--interval", "-i", help="15m 30m 1h 4h 1d 1w, or all.")]
SymbolsOption = Annotated[str | None, typer.Option(help="Comma-separated symbols (default: the configured universe).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def backfill(
    interval: IntervalOption,
    since: Annotated[
        str | None, typer.Option(help="YYYY-MM-DD: fetch all that is missing from then on (default: go on from the last bar).")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(help="Folder with Parquet or CSV archive files instead of the venue; all of it without --since."),
    ] = None,
    symbols: SymbolsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch closed candles, funding rates and open interest into the lake; run it again to go on.

    Example: ost backfill --interval 1h --since 2025-01-01

    Example: ost backfill --interval all --source ../shared/data/ohlcv/binance_usdm --symbols BTCUSDT,ETHUSDT
    """
    from shared.adapters.local.market_files import FileMarket
    from shared.cli import wiring
    from shared.cli.data_views import ingest_lines, ingest_row

    intervals = parse_intervals(interval)
    since_ms = None if since is None else parse_date_ms(since)
    settings = wiring.settings()
    universe = chosen_universe(settings, symbols)
    market: MarketData
    if source is None:
        market = wiring.market(settings)
    else:
        files = FileMarket(source, universe.assets[0].venue)
        since_ms = first_bar_ms(files) if since_ms is None else since_ms
        market = files
    bucket, clock = wiring.bucket(settings), wiring.clock()
    report = asyncio.run(ingest(market, bucket, clock, universe, intervals, since_ms, settings.ingest))
    rows = [ingest_row(asset) for asset in report.assets]
    _emit({"added": report.added, "failed": len(report.failed), "assets": rows}, as_json, ingest_lines(rows))
    if report.failed:
        raise typer.Exit(1)


async def ingest(
    market: MarketData,
    bucket: Bucket,
    clock: Clock,
    universe: Universe,
    intervals: list[Interval],
    since_ms: int | None,
    params: IngestParams,
) -> IngestReport:
    """Fetch into the lake with a progress display; closes `market`. Failures are in the report."""
    from shared.data.ingestion import ingest_universe

    try:
        with _progress() as on_progress:
            return await ingest_universe(
                market, bucket, clock, universe, intervals, since_ms=since_ms, params=params, on_progress=on_progress
            )
    finally:
        await market.close()


@contextmanager
def _progress() -> Iterator[OnProgress]:
    """A line per asset with the time that is left, on standard error."""
    from shared.cli.output import progress
    from shared.data.ingestion import Progress as Step

    with progress(transient=True) as bars:
        tasks: dict[tuple[str, str], Any] = {}

        def show(step: Step) -> None:
            key = (step.asset.symbol, step.interval.value)
            if key not in tasks:
                tasks[key] = bars.add_task(" ".join(key), total=step.total, detail="")
            bars.update(tasks[key], completed=step.done)

        yield show


def check_gaps(
    interval: IntervalOption,
    days: Annotated[int, typer.Option(help="How many days to look back.", min=1)] = 30,
    symbols: SymbolsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List bars that the lake lacks in the last days, up to the newest closed one, and series that are frozen.

    Example: ost check-gaps --interval all --days 7
    """
    from shared.cli import wiring
    from shared.cli.data_views import gap_lines, gap_row

    intervals = parse_intervals(interval)
    settings = wiring.settings()
    bucket, now_ms = wiring.bucket(settings), wiring.clock().now_ms()
    every = interval == "all"
    rows = [
        row
        for asset in chosen_universe(settings, symbols)
        for wanted in intervals
        if (row := gap_row(bucket, asset, wanted, now_ms - days * DAY_MS, now_ms, skip_absent=every)) is not None
    ]
    if not rows:
        raise UsageError("nothing is stored for these assets yet; fetch it with: ost backfill --interval 1h")
    problems = [row for row in rows if row["missing"] or row["frozen_since_ms"] is not None or row["error"]]
    _emit({"days": days, "problems": len(problems), "assets": rows}, as_json, gap_lines(rows))
    if problems:
        raise typer.Exit(1)


def curate(interval: IntervalOption, symbols: SymbolsOption = None, as_json: JsonOption = False) -> None:
    """Compute the curated frames (indicators, funding, open interest) from the raw bars in the lake.

    Example: ost curate --interval 1h
    """
    from shared.cli import wiring
    from shared.cli.data_views import curate_lines
    from shared.data.refresh import refresh_curated
    from shared.data.store import load_candles

    intervals = parse_intervals(interval)
    settings = wiring.settings()
    bucket = wiring.bucket(settings)
    rows: list[dict[str, Any]] = []
    for asset in chosen_universe(settings, symbols):
        for wanted in intervals:
            row: dict[str, Any] = {"asset": str(asset), "interval": wanted.value, "rows": 0, "changed": False, "error": ""}
            try:
                if interval == "all" and load_candles(bucket, asset, wanted) is None:
                    continue
                result = refresh_curated(bucket, asset, wanted, settings.curation)
                row |= {"rows": len(result.frame), "changed": result.changed}
            except OstError as error:
                row["error"] = str(error)
            rows.append(row)
    if not rows:
        raise UsageError("nothing is stored for these assets yet; fetch it with: ost backfill --interval 1h")
    failed = [row for row in rows if row["error"]]
    _emit({"failed": len(failed), "assets": rows}, as_json, curate_lines(rows))
    if failed:
        raise typer.Exit(1)


def parse_intervals(text: str) -> list[Interval]:
    """The intervals that `text` names: one, or every stored one for `all`. Raises `UsageError`."""
    return list(STORED_INTERVALS) if text == "all" else [Interval.parse(text)]


def chosen_universe(settings: Settings, symbols: str | None) -> Universe:
    """The configured universe, or the comma-separated `symbols` on its venue. Raises `UsageError`."""
    configured = settings.universe
    names = tuple(configured.symbols) if symbols is None else tuple(part.strip() for part in symbols.split(",") if part.strip())
    return Universe.of(configured.venue, names)


def first_bar_ms(files: FileMarket) -> int:
    """The oldest bar of any symbol in a folder; unreadable files are left for the ingestion to name."""
    starts = []
    for symbol in files.symbols():
        for interval in files.intervals(symbol):
            try:
                starts.append(files.span(symbol, interval)[0])
            except OstError:
                continue
    return min(starts, default=0)


def _emit(data: dict[str, Any], as_json: bool, lines: list[str]) -> None:
    """JSON for machines, or lines for people, on standard output."""
    from shared.cli.output import to_json

    typer.echo(to_json(data) if as_json else "\n".join(lines))
