"""`ost regimes compare`: the hidden Markov model beside the statistical jump model, against the truth or on real bars."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from shared.cli.regimes_result import Comparison

app = typer.Typer(no_args_is_help=True, help="The regime classifiers, side by side.")


@app.callback()
def regimes() -> None:
    """The regime classifiers, side by side."""


@app.command()
def compare(
    data: Annotated[Path | None, typer.Option(help="Folder of candles (default: the venue, else a generated market).")] = None,
    symbols: Annotated[str | None, typer.Option(help="Symbols, comma-separated (default: the universe).")] = None,
    start: Annotated[str | None, typer.Option(help="First day of the comparison, YYYY-MM-DD.")] = None,
    end: Annotated[str | None, typer.Option(help="Day after the last one, YYYY-MM-DD.")] = None,
    generated: Annotated[
        int | None, typer.Option(help="Compare on so many generated markets instead, whose regimes are known.", min=1)
    ] = None,
    days: Annotated[int, typer.Option(help="Days of each generated market, after the warm-up.", min=30)] = 365,
    report: Annotated[Path | None, typer.Option(help="Where the HTML page goes (default: below storage.root).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """How right, how restless, how late each classifier is, and what each one does to a backtest.

    On recorded candles each backtest of the system is a variant that was tried: it is counted, as one of `ost backtest`.

    Example: ost regimes compare --generated 8

    Example: ost regimes compare --data candles --symbols BTCUSDT --start 2021-01-01 --end 2025-01-01
    """
    from shared.cli import output, wiring
    from shared.cli.regimes_compare import on_generated, on_markets
    from shared.cli.regimes_page import render_comparison
    from shared.cli.research_market import load_markets, parse_symbols
    from shared.cli.run_report import write_report
    from shared.domain.errors import UsageError

    settings = wiring.settings()
    if generated is not None and (data is not None or symbols or start or end):
        raise UsageError("--generated compares on markets of its own; leave --data, --symbols, --start and --end out")
    with output.progress(unit="refits") as display:

        def telling(name: str) -> Any:
            task = display.add_task(name, total=None, detail="")
            return lambda done, total: display.update(task, completed=done, total=total)

        if generated is not None:
            result = on_generated(settings, generated, days, telling)
        else:
            markets = load_markets(
                settings,
                data=data,
                symbols=parse_symbols(symbols),
                start=start,
                end=end,
                warmup_bars=settings.system.warmup_bars,
            )
            for problem in markets.problems:
                output.note(problem)
            result = on_markets(settings, markets, telling)
    path = report or settings.storage.root / "regimes" / "regimes.html"
    write_report(path, render_comparison(result))
    output.emit({"report": path, **result.as_dict()}, as_json, view=_view(result, path))


def _view(result: Comparison, path: Path) -> RenderableType:
    from rich.console import Group

    from shared.cli import output
    from shared.cli.regimes_result import tables

    shown = [
        output.table(table.columns, table.rows, title=table.title, right=table.columns[table.names :])
        for table in tables(result)
    ]
    return Group(*shown, *([result.trials] if result.trials else []), f"page: {path}")
