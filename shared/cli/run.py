"""`ost run`: the whole loop over history, on the paper exchange, with a report at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli import output
from shared.domain.errors import UsageError
from shared.domain.interval import MAX_DAYS

if TYPE_CHECKING:
    from shared.cli.paper_run import PaperRun, RunEnd
    from shared.config.settings import Settings
    from shared.trading.run_plan import RunPlan


def run(
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with Parquet or CSV archive files (default: the venue, else a generated market)."),
    ] = None,
    symbols: Annotated[str | None, typer.Option(help="Comma-separated symbols (default: the configured universe).")] = None,
    interval: Annotated[str | None, typer.Option("--interval", "-i", help="Bars that are traded on: 15m to 1d.")] = None,
    days: Annotated[int | None, typer.Option(help="Days to trade, ending at the newest bar.", min=1, max=MAX_DAYS)] = None,
    start: Annotated[str | None, typer.Option(help="First day to trade, YYYY-MM-DD (instead of --days).")] = None,
    end: Annotated[str | None, typer.Option(help="Trade up to this day, YYYY-MM-DD.")] = None,
    capital: Annotated[str | None, typer.Option(help="Starting wallet, quote currency.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start a new run even if the same one was interrupted.")] = False,
    report: Annotated[Path | None, typer.Option(help="Where the HTML report goes (default: beside the run).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON for machines.")] = False,
) -> None:
    """Trade history on the paper exchange: candles in, regime, decision, order, ledger out.

    The same command continues a run that was interrupted, by Ctrl-C or by anything else.

    Example: ost run --days 30 --symbols BTCUSDT,ETHUSDT

    Example: ost run --data ../shared/data/ohlcv/binance_usdm --start 2025-07-01 --end 2025-08-01
    """
    from shared.cli import output, wiring
    from shared.cli.run_progress import showing
    from shared.cli.run_report import check_writable, finished, outcome_lines

    if days is not None and start is not None:
        raise UsageError("--days counts back from the end and --start names the first day; give one of them")
    check_writable(report)
    settings = wiring.settings({"run.capital": capital, "run.days": days, "interval": interval})
    plan, prepared, continued = prepare(settings, data, symbols, start, end, fresh=fresh)
    from shared.cli.paper_run import trade

    if continued:
        output.note(f"continuing the interrupted run {prepared.book} (start over with --fresh)")
    how_to_go_on = f"the ledger is consistent. Go on with the same command (run {prepared.book})."
    try:
        with showing(plan, prepared.ledger, prepared.book) as on_step:
            ended: RunEnd = asyncio.run(trade(prepared, on_step, output.note))
        for problem in ended.problems:
            output.note(problem)
        if ended.interrupted:
            output.note(f"stopped after a whole bar; {how_to_go_on}")
            raise typer.Exit(130)
        result = finished(prepared, ended, report)
    except KeyboardInterrupt:
        output.note(f"interrupted; {how_to_go_on}")
        raise typer.Exit(130) from None
    output.emit(result, as_json, view=outcome_lines(result))
    if ended.problems:
        raise typer.Exit(1)


def prepare(
    settings: Settings,
    data: Path | None,
    symbols: str | None,
    start: str | None,
    end: str | None,
    *,
    fresh: bool,
    live: bool = False,
    say: Callable[[str], None] = output.note,
) -> tuple[RunPlan, PaperRun, bool]:
    """The plan, the run with its frozen candles, and whether it goes on with an interrupted one; `live` for `ost live`."""
    from shared.adapters.local.bucket import FolderBucket
    from shared.cli import wiring
    from shared.cli.market_source import fingerprint, freeze, resolve
    from shared.cli.paper_run import PaperRun
    from shared.domain.asset import Universe
    from shared.domain.ids import content_id
    from shared.domain.interval import parse_date_ms
    from shared.strategy.ml_store import copy_ml_models
    from shared.strategy.rl_store import copy_rl_policies
    from shared.trading.rl_models import policies_of
    from shared.trading.run_plan import RunPlan, choose_book, choose_range, outside

    start_ms, end_ms = (parse_date_ms(day) if day else None for day in (start, end))
    wanted = tuple(name.strip().upper() for name in (symbols or "").split(",") if name.strip())
    if symbols is not None and not wanted:
        raise UsageError("--symbols names no symbol; write e.g. --symbols BTCUSDT,ETHUSDT, or leave it out")
    interval, system = settings.interval, settings.system
    source = resolve(settings, interval, data=data, symbols=wanted, days=settings.run.days, say=say)
    left_out = outside(source.spans, interval, start_ms=start_ms, end_ms=end_ms, warmup_bars=system.warmup_bars)
    spans = {symbol: span for symbol, span in source.spans.items() if symbol not in left_out}
    source = replace(source, universe=Universe.of(source.universe.assets[0].venue, tuple(spans)), spans=spans)
    problems = (*source.problems, *(f"{symbol}: {reason}" for symbol, reason in left_out.items()))
    for problem in problems:
        say(problem)
    first_ms, last_ms = choose_range(
        source.spans, interval, start_ms=start_ms, end_ms=end_ms, days=settings.run.days, warmup_bars=system.warmup_bars
    )
    window_bars = system.window_bars(interval)
    plan = RunPlan(
        universe=source.universe,
        interval=interval,
        start_ms=first_ms,
        end_ms=last_ms,
        capital=f"{settings.run.capital:f}".rstrip("0").rstrip("."),
        params_version=system.version,
        account_version=content_id("a", asdict(settings.costs), settings.run.leverage),
        market_label=source.label,
        market_hash=fingerprint(source, first_ms - window_bars * interval.ms, last_ms),
        generated=source.generated,
        live=live,
    )
    ledger = wiring.ledger(settings, live=live)
    book, continued = choose_book(plan, ledger.books(), fresh=fresh)
    folder = settings.storage.root / ("live" if live else "runs") / book
    freeze(source, plan, folder / "market", window_bars)
    if not continued:
        for asset in plan.universe:
            copy_ml_models(wiring.bucket(settings), FolderBucket(folder), asset, interval)
        copy_rl_policies(wiring.bucket(settings), FolderBucket(folder), settings.strategy.rl_policies)
    if not (continued or live):  # a live book is known once its start was not refused
        ledger.register_book(book, plan.start_ms, plan.as_dict())
    for idle in policies_of(FolderBucket(folder), plan.universe, interval, system)[1]:
        say(idle)
    return plan, PaperRun(plan, book, settings, ledger, folder, problems), continued
