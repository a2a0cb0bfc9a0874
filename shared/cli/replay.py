"""`ost replay`: make the decisions of a paper or live day again from what was stored, and compare every one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli.books import has_own_exchange
from shared.domain.errors import DataNotFound, UsageError
from shared.domain.interval import DAY_MS, Interval, format_ms, parse_date_ms

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from shared.config.settings import Settings
    from shared.domain.candles import Candles, FloatArray, IntArray
    from shared.domain.records import BookRecord
    from shared.ports import Ledger, MarketData
    from shared.trading.replay import Replay, ReplaySource

SHOWN = 20
"""Differences that the table shows; the rest is in `--json`"""


def replay(
    date: Annotated[str | None, typer.Option(help="Day to replay, YYYY-MM-DD (default: every day of the book).")] = None,
    book: Annotated[
        str | None, typer.Option(help="Book, or the start of its name (default: the newest that traded then).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON for machines.")] = False,
) -> None:
    """Make every decision of a day again from stored candles, models and ledger rows, and compare it with what was stored.

    Equity rows must follow from fills and funding, one at each bar from the book's first to its last. Exit code 1 where a
    decision or a row differs or is gone, with the probable cause. Use the same settings (--config, --set) as the run.

    Example: ost replay --date 2025-07-01
    """
    from shared.cli import output, wiring
    from shared.trading.replay import replay as replayed

    settings = wiring.settings()
    start_ms, end_ms = _period(date)
    ledger = wiring.ledger(settings)
    record = _chosen(ledger, book, start_ms, end_ms)
    source = _source(settings, ledger, record)
    with output.progress(unit="bars", transient=True) as bars:
        task = bars.add_task("replay", total=None, detail="")
        result = asyncio.run(
            replayed(source, start_ms, end_ms, lambda done, total: bars.update(task, completed=done, total=total))
        )
    if result.decisions == 0 and not result.differences:
        raise DataNotFound(
            f"the book {record.book} decided nothing {f'on {date}' if date else 'at all'}; see: ost status --book"
        )
    output.emit({**_plain(result)}, as_json, view=_view(result))
    for note in result.notes:
        output.note(note)
    if not result.identical:
        raise typer.Exit(1)


def _period(date: str | None) -> tuple[int, int]:
    """[start, end) of the bar closes: a bar belongs to the day at which it is decided."""
    if date is None:
        return 0, 2**62
    start_ms = parse_date_ms(date)
    return start_ms, start_ms + DAY_MS


def _chosen(ledger: Ledger, book: str | None, start_ms: int, end_ms: int) -> BookRecord:
    """The book to replay. Raises `UsageError` where none fits, or several."""
    traded = [record for record in ledger.books() if "market" in record.settings]
    if book is not None:
        fitting = [record for record in traded if record.book.startswith(book)]
        exact = [record for record in fitting if record.book == book]
        if len(exact or fitting) != 1:
            names = " ".join(record.book for record in (fitting or traded)[-5:]) or "none; start one with: ost run"
            raise UsageError(f"{'several books' if fitting else 'no book'} of that name: {book}; there are {names}")
        return (exact or fitting)[0]
    for record in reversed(traded):
        last = ledger.last_equity(record.book)
        planned_ms = int(record.settings["end_ms"]) if record.finished_ms is not None else 0
        last_ms = max(planned_ms, last.time_ms if last is not None else 0)
        if record.created_ms < end_ms and last_ms >= start_ms:
            return record
    raise UsageError("no book traded then; list the books with: ost status, and name one with --book")


def _source(settings: Settings, ledger: Ledger, record: BookRecord) -> ReplaySource:
    """The stored inputs of a book: the candles frozen for its paper exchange, else those of the lake. Raises `DataNotFound`."""
    from shared.adapters.local.bucket import FolderBucket
    from shared.adapters.local.market_files import FileMarket
    from shared.cli import wiring
    from shared.domain.asset import Universe
    from shared.trading.replay import ReplaySource
    from shared.version import code_version

    venue, interval = str(record.settings["venue"]), Interval.parse(str(record.settings["interval"]))
    folder = settings.storage.root / ("live" if record.settings.get("live") else "runs") / record.book
    frozen = (folder / "market").is_dir()
    directory = folder / "market" if frozen else settings.lake / "raw" / venue
    if not directory.is_dir():
        raise DataNotFound(_no_candles(record, settings, folder / "market", directory))
    files = FileMarket(directory, venue)
    universe = Universe.of(venue, tuple(str(symbol) for symbol in record.settings["symbols"]))
    return ReplaySource(
        book=record.book,
        universe=universe,
        interval=interval,
        ledger=ledger,
        market=PaperFunding(files) if frozen else files,
        models=FolderBucket(folder) if frozen else wiring.bucket(settings),
        rules={asset.symbol: _rules(files, asset.symbol, interval) for asset in universe},
        params=settings.system if record.settings.get("live") else settings.system.in_lockstep(),
        code_version=code_version(),
        record=record,
        paper=frozen,
    )


def _no_candles(record: BookRecord, settings: Settings, frozen: Path, lake: Path) -> str:
    if has_own_exchange(record):
        return f"the candles of the book {record.book} are gone: expected them in {frozen}; keep that folder to replay a book"
    interval = Interval.parse(str(record.settings["interval"]))
    since_ms = max(0, record.created_ms - settings.system.window_bars(interval) * interval.ms)
    if record.settings.get("mode") == "paper":
        return (
            f"{lake} has no candles of the paper exchange that the book {record.book} traded on: copy them there from the "
            "folder that it was served from (`--market`)"
        )
    return (
        f"the candles of a venue are not kept while a book trades on them, and {lake} has none; fetch them first: ost backfill "
        f"--interval {interval} --symbols {','.join(map(str, record.settings['symbols']))} --since {format_ms(since_ms)[:10]}"
    )


def _rules(files: Any, symbol: str, interval: Interval) -> Any:
    """The venue's rules of a symbol as the paper exchange states them."""
    from shared.backtest.venue_rules import symbol_spec
    from shared.domain.money import SymbolRules

    spec = symbol_spec(symbol, float(files.history(symbol, interval).open[0]))
    return SymbolRules(symbol, spec.tick, spec.step, spec.step, spec.max_quantity, spec.min_notional)


class PaperFunding:
    """Market data of a run folder as the paper exchange served them: funding is stamped at the whole minute."""

    def __init__(self, market: MarketData) -> None:
        self._market = market

    async def candles(self, symbol: str, interval: Interval, start_ms: int, end_ms: int) -> Candles:
        """Closed bars that open in [start_ms, end_ms)."""
        return await self._market.candles(symbol, interval, start_ms, end_ms)

    async def funding_rates(self, symbol: str, start_ms: int, end_ms: int) -> tuple[IntArray, FloatArray]:
        """Settled funding in [start_ms, end_ms)."""
        times, rates = await self._market.funding_rates(symbol, start_ms, end_ms + 60_000)
        times = times // 60_000 * 60_000
        inside = (times >= start_ms) & (times < end_ms)
        return times[inside], rates[inside]

    async def open_interest(self, symbol: str, start_ms: int, end_ms: int) -> tuple[IntArray, FloatArray]:
        """Open interest in [start_ms, end_ms)."""
        return await self._market.open_interest(symbol, start_ms, end_ms)

    async def close(self) -> None:
        """Release what the files hold."""
        await self._market.close()


def _plain(result: Replay) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(result), "identical": result.identical}


def _view(result: Replay) -> Table | str:
    from shared.cli import output

    how = f"{result.exact} to the bit"
    if result.within_tolerance:
        how += f", {result.within_tolerance} to 1e-9"
    if result.identical:
        return f"{result.book}: {result.decisions} decisions came out again ({how}), and {result.bars} equity rows follow"
    rows = [
        (format_ms(one.bar_close_ms), one.symbol, one.decision_id[:10], one.what, one.stored, one.replayed, one.cause)
        for one in result.differences[:SHOWN]
    ]
    wrong = len({(one.bar_close_ms, one.symbol) for one in result.differences if one.symbol})
    holes = len({one.bar_close_ms for one in result.differences if not one.symbol})
    fields = f"{len(result.differences)} fields, {len(rows)} shown"
    told = f"{wrong} of {result.decisions} decisions differ, {holes} of {result.bars} equity rows are gone or do not follow"
    title = f"{result.book}: {told if holes else told.partition(', ')[0]} ({fields})"
    return output.table(("bar close", "asset", "decision", "field", "stored", "replayed", "probable cause"), rows, title=title)
