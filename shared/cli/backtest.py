"""`ost backtest`: a strategy over history on one account, with costs, a comparison, and a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shared.domain.errors import UsageError
from shared.domain.interval import MAX_DAYS


def backtest(
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with Parquet or CSV archive files (default: the venue, else a generated market)."),
    ] = None,
    symbols: Annotated[str | None, typer.Option(help="Comma-separated symbols (default: the configured universe).")] = None,
    interval: Annotated[str | None, typer.Option("--interval", "-i", help="Bars that are traded on: 15m to 1d.")] = None,
    start: Annotated[str | None, typer.Option(help="First day, YYYY-MM-DD (default: as early as the data allow).")] = None,
    end: Annotated[str | None, typer.Option(help="Trade up to this day, YYYY-MM-DD (default: the newest bar).")] = None,
    days: Annotated[int | None, typer.Option(help="Days that end at --end (instead of --start).", min=1, max=MAX_DAYS)] = None,
    strategy: Annotated[str, typer.Option(help="system, regime-only, sma-cross or buy-and-hold.")] = "system",
    regime: Annotated[str, typer.Option(help="Who says what the regime is: hmm, jump or off.")] = "hmm",
    capital: Annotated[str | None, typer.Option(help="Starting wallet, quote currency.")] = None,
    cost_bps: Annotated[
        float | None,
        typer.Option(
            help="Fee and half-spread of every fill together, bps of notional; impact and funding come on top.", min=0
        ),
    ] = None,
    champion: Annotated[str | None, typer.Option(help="Trade the parameters of this champion (id, or its beginning).")] = None,
    csv: Annotated[Path | None, typer.Option(help="Folder for equity, days, fills and round trips as CSV.")] = None,
    parquet: Annotated[Path | None, typer.Option(help="The same as Parquet.")] = None,
    report: Annotated[Path | None, typer.Option(help="Where the HTML report goes (default: below storage.root).")] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no HTML report.")] = False,
    warm: Annotated[bool, typer.Option("--warm", hidden=True, help="Only compile the kernels, for later.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON for machines.")] = False,
) -> None:
    """Trade history in one go: the decisions of the live system, filled at the next open, with all costs.

    Example: ost backtest --data ../shared/data/ohlcv/binance_usdm --symbols BTCUSDT,ETHUSDT --start 2024-01-01

    Example: ost backtest --strategy sma-cross --days 365 --json

    Settings change as everywhere: ost --set strategy.entry_threshold=0.3 backtest. Looking at other parameters, bars or regimes
    than the defaults is trying them: it is counted as a trial of each asset, and later significance tests correct for it.
    """
    from shared.cli import output, wiring

    if warm:
        from shared.backtest.warm import warm_up

        warm_up()
        output.note("the kernels are compiled")
        return
    from shared.cli.backtest_files import check_folder, write_tables
    from shared.cli.backtest_run import Wanted, run
    from shared.cli.backtest_views import view
    from shared.cli.run_report import check_writable, write_report

    if days is not None and start is not None:
        raise UsageError("--days counts back from the end and --start names the first day; give one of them")
    if report is not None and no_report:
        raise UsageError("--report and --no-report contradict each other; give one of them")
    check_writable(report)
    for folder in (csv, parquet):
        check_folder(folder)
    overrides = {"run.capital": capital, "interval": interval}
    if cost_bps is not None:
        overrides |= {name: str(cost_bps) for name in ("costs.taker_fee_bps", "costs.maker_fee_bps")}
        overrides["costs.half_spread_bps"] = "0"
    settings = wiring.settings(overrides)
    wanted = Wanted(data, symbols, start, end, days, strategy, regime, champion)
    done = run(settings, wanted)
    files = [str(write_tables(done, folder, kind)) for folder, kind in ((csv, "csv"), (parquet, "parquet")) if folder]
    if not no_report:
        from shared.backtest.report import render_report
        from shared.cli.backtest_run import record

        path = report or settings.storage.root / "backtests" / f"{done.result.label}.html"
        write_report(path, render_report(record(done, settings)))
        files.append(str(path))
    shown = done.as_dict() | {"files": files}
    output.emit(shown, as_json, view=None if as_json else view(done, files))
