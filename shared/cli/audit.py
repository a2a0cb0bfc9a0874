"""`ost audit`: looks, by cutting histories, for what sees the future or remembers more than it says; an example plug-in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.domain.errors import UsageError
from shared.domain.interval import format_ms

if TYPE_CHECKING:
    from rich.table import Table

    from shared.calibration.audit import Audit
    from shared.config.settings import Settings
    from shared.data.curation import Series
    from shared.domain.candles import Candles

app = typer.Typer(no_args_is_help=True, help="Look for scores that see the future; write an example plug-in.")

_COLUMNS = ("open", "high", "low", "close", "volume")


@app.callback()
def _audit() -> None:
    """Keeps `ost audit lookahead` a command of a group."""


@app.command()
def lookahead(
    plugins: Annotated[
        Path | None, typer.Option(help="Folder with your own alphas and agents; its Python files are run.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with candle files (default: a generated market).")] = None,
    symbols: Annotated[
        str | None, typer.Option(help="Symbol of --data to audit on (default: the first configured one).")
    ] = None,
    bars: Annotated[int, typer.Option(help="Newest bars to audit on.", min=1200, max=100_000)] = 3000,
    cuts: Annotated[
        int, typer.Option(help="Evenly spread instants at which the future is cut off, and windows.", min=4, max=500)
    ] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON for machines.")] = False,
) -> None:
    """Cut histories off and compare: earlier values must not change, and the declared look-back must be enough.

    Besides --cuts evenly spread instants, histories end directly behind the bars where a score begins, turns or changes: some
    200 for each of ours, up to 3000 for a plug-in. What is found is certain; a pass is evidence, not a proof.
    Exit code 1 where a check fails; the first offending bar, the difference and its probable cause are named.

    Example: ost audit lookahead --plugins plugins
    """
    from shared.adapters.local.plugins import load_plugins
    from shared.calibration.audit import audit
    from shared.calibration.audit_subjects import subjects_of
    from shared.cli import output, wiring

    settings = wiring.settings()
    folder = plugins or settings.plugins
    own = load_plugins(folder) if folder is not None else ()
    candles, funding, open_interest, label = _history(settings, data, symbols, bars)
    subjects = subjects_of(settings.curation, settings.strategy, own)
    with output.progress(unit="histories", transient=True) as shown:
        task = shown.add_task("audit", total=None, detail="")
        result = audit(
            candles,
            subjects,
            settings.curation,
            funding=funding,
            open_interest=open_interest,
            cuts=cuts,
            windows=cuts,
            on_progress=lambda done, total: shown.update(task, completed=done, total=total),
        )
    output.emit(_plain(result, label), as_json, view=_view(result, label))
    if not result.passed:
        raise typer.Exit(1)


@app.command()
def template(
    folder: Annotated[Path, typer.Argument(help="Folder that the example is written to.")],
) -> None:
    """Write a plug-in that works: one alpha and one agent, with the rules in its opening comment.

    Example: ost audit template plugins
    """
    from shared.adapters.local.plugins import write_template
    from shared.cli import output
    from shared.data.curation import CURATED_COLUMNS
    from shared.strategy.plugins import TEMPLATE

    names = " ".join(name for name in CURATED_COLUMNS if name not in _COLUMNS)
    text = TEMPLATE.replace("{folder}", str(folder)).replace("{columns}", f"{' '.join(_COLUMNS)}\n{names}")
    output.note(f"wrote {write_template(folder, text)}; audit it with: ost audit lookahead --plugins {folder}")


def _history(
    settings: Settings, data: Path | None, symbols: str | None, bars: int
) -> tuple[Candles, Series | None, Series | None, str]:
    """The bars to audit on, their funding and open interest where there are any, and where they come from."""
    import asyncio

    import numpy as np

    from shared.adapters.local.market_files import FileMarket
    from shared.cli.market_source import GENERATED_END_MS
    from shared.cli.research_market import parse_symbols
    from shared.data.generated import generate_market
    from shared.domain.errors import DataNotFound

    wanted = parse_symbols(symbols)
    if len(wanted) > 1:
        raise UsageError("an audit takes one symbol: what sees the future sees it on every asset")
    interval = settings.interval
    if data is not None:
        files = FileMarket(data, settings.universe.venue)
        first = next((symbol for symbol in settings.universe.symbols if symbol in files.symbols()), None)
        symbol = wanted[0] if wanted else first
        if symbol is None:
            raise DataNotFound(
                f"{data} has none of the configured assets; choose one with --symbols: {' '.join(files.symbols())}"
            )
        candles = files.history(symbol, interval)[-bars:]
        span = int(candles.open_time[0]), int(candles.close_time[-1]) + 1
        funding = asyncio.run(files.funding_rates(symbol, *span))
        interest = asyncio.run(files.open_interest(symbol, *span))
        label = f"{symbol} {interval} of {data}"
        return candles, funding if len(funding[0]) else None, interest if len(interest[0]) else None, label
    symbol = wanted[0] if wanted else settings.universe.symbols[0]
    start_ms = interval.floor(GENERATED_END_MS) - bars * interval.ms
    market = generate_market(np.random.default_rng(settings.run.seed), (symbol,), interval, start_ms, bars)
    return market.history[symbol], market.funding[symbol], None, f"generated {symbol} {interval}"


def _plain(result: Audit, label: str) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "market": label,
        "bars": result.bars,
        "cuts": result.cuts,
        "windows": result.windows,
        "passed": result.passed,
        "subjects": [
            {
                "name": subject.name,
                "kind": subject.kind,
                "lookback_bars": subject.lookback_bars,
                "passed": not any(one.subject == subject.name for one in result.findings),
            }
            for subject in result.subjects
        ],
        "findings": [asdict(finding) for finding in result.findings],
    }


def _view(result: Audit, label: str) -> Table | str:
    from shared.cli import output

    tried = f"{result.cuts:,} cuts"
    where = f"{result.bars} bars, {result.windows} windows, {label}"
    if result.passed:
        return f"{len(result.subjects)} features, alphas, agents and plug-ins: found nothing in {tried} ({where})"
    rows = [
        (one.subject, one.column, one.check, format_ms(one.bar_close_ms), _number(one.full), _number(one.cut), one.cause)
        for one in result.findings
    ]
    title = f"{len({one.subject for one in result.findings})} of {len(result.subjects)} fail in {tried} ({where})"
    return output.table(("subject", "column", "check", "bar close", "full", "cut", "probable cause"), rows, title=title)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"
