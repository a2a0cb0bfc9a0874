"""`ost alphas`: train the ML alpha, keep recognised patterns, and say honestly which alphas and agents earn their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.domain.errors import StorageError

if TYPE_CHECKING:
    from shared.backtest.system import PreparedAsset
    from shared.cli.research_market import ResearchMarkets
    from shared.config.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Train the ML alpha, keep patterns, measure what alphas and agents are worth.")

DataOption = Annotated[
    Path | None, typer.Option(help="Folder with candle files (default: the venue, else a generated market).")
]
SymbolsOption = Annotated[str | None, typer.Option(help="Comma-separated symbols (default: the configured universe).")]
StartOption = Annotated[str | None, typer.Option(help="First day, YYYY-MM-DD (default: all that there is).")]
EndOption = Annotated[str | None, typer.Option(help="Up to this day, YYYY-MM-DD.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON for machines.")]


@app.command()
def train(
    data: DataOption = None,
    symbols: SymbolsOption = None,
    start: StartOption = None,
    end: EndOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train the ML alpha walk-forward and store each model with its card in the lake; `ost run` takes them from there.

    A model is trained on complete labels before its instant only. It counts where an agent gives `ml_confidence` a weight.

    Example: ost alphas train --data ../shared/data/ohlcv/binance_usdm --symbols BTCUSDT
    """
    from shared.calibration.ml import train_all
    from shared.cli import output, wiring
    from shared.data.curation import curate
    from shared.domain.interval import format_ms
    from shared.strategy.ml_store import save_ml_model

    settings = wiring.settings()
    found = _markets(settings, data, symbols, start, end, warmup_bars=0)
    rows: list[dict[str, Any]] = []
    bucket, problems = wiring.bucket(settings), list(found.problems)
    for market in found.markets:
        frame = curate(market.candles, settings.curation, market.funding, market.open_interest)
        with _progress(f"{market.asset.symbol}: models") as told:
            trainings = train_all(frame, market.asset, settings.ml, settings.curation, on_progress=told)
        for training in trainings:
            if training.model is None:
                continue
            card = training.model.card
            name = save_ml_model(bucket, market.asset, training.model)
            rows.append(
                {
                    "asset": market.asset.symbol,
                    "id": card.id,
                    "valid_from_ms": card.valid_from_ms,
                    "expires_ms": card.expires_ms,
                    "samples": card.samples,
                    "up_share": card.up_share,
                    "train_auc": card.train_auc,
                    "object": name,
                }
            )
        if not any(training.model for training in trainings):
            reason = trainings[-1].reason if trainings else "the data reach no training instant"
            problems.append(f"{market.asset.symbol}: no model: {reason}")
    table = output.table(
        ("asset", "model", "valid from", "expires", "samples", "up", "AUC in training"),
        [
            (
                row["asset"],
                row["id"],
                format_ms(row["valid_from_ms"]),
                format_ms(row["expires_ms"]),
                row["samples"],
                f"{row['up_share']:.0%}",
                f"{row['train_auc']:.3f}",
            )
            for row in rows[-12:]
        ],
        title=f"{len(rows)} models stored (newest {min(12, len(rows))} shown); in training every model looks better than it is",
    )
    output.emit({"models": rows, "problems": problems}, as_json, view=table)
    _name(problems)


@app.command()
def patterns(
    data: DataOption = None,
    symbols: SymbolsOption = None,
    start: StartOption = None,
    end: EndOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recognise order blocks, liquidity surges and volatility expansions, and keep them; again changes nothing.

    Example: ost alphas patterns --data ../shared/data/ohlcv/binance_usdm --symbols BTCUSDT --start 2025-01-01
    """
    from shared.cli import output, wiring
    from shared.data.curation import curate
    from shared.strategy.patterns import detect_patterns

    settings = wiring.settings()
    warmup = settings.curation.lookback_bars + settings.strategy.lookback_bars
    found = _markets(settings, data, symbols, start, end, warmup_bars=warmup)
    research, rows = wiring.research(settings), []
    for market in found.markets:
        frame = curate(market.candles, settings.curation, market.funding, market.open_interest)
        seen = detect_patterns(frame, market.asset, settings.strategy, since_ms=found.start_ms)
        new = research.record_patterns(seen)
        kinds = sorted({pattern.kind for pattern in seen})
        counts = {kind: sum(pattern.kind == kind for pattern in seen) for kind in kinds}
        rows.append({"asset": market.asset.symbol, "found": len(seen), "new": new, **counts})
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = output.table(columns, [[row.get(name, 0) for name in columns] for row in rows], right=columns[1:])
    output.emit({"assets": rows, "problems": found.problems}, as_json, view=table)
    _name(list(found.problems))


@app.command()
def report(
    data: DataOption = None,
    symbols: SymbolsOption = None,
    start: StartOption = None,
    end: EndOption = None,
    plugins: Annotated[Path | None, typer.Option(help="Folder with your own alphas and agents; its files are run.")] = None,
    ml: Annotated[bool, typer.Option(help="Train the ML alpha walk-forward and let it take part.")] = True,
    ablation: Annotated[bool, typer.Option(help="Backtest the system without each alpha and agent.")] = True,
    quick: Annotated[bool, typer.Option("--quick", help="HAC errors for the Sharpe ratios instead of the bootstrap.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write the report as one HTML page.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what each alpha and agent knows about the next move, and what the system loses without it.

    Example: ost alphas report --data ../shared/data/ohlcv/binance_usdm --symbols BTCUSDT --start 2023-01-01 --html alphas.html
    """
    import numpy as np

    from shared.adapters.local.plugins import load_plugins
    from shared.backtest.params import BacktestParams
    from shared.calibration.attribution import attribute
    from shared.calibration.attribution_page import render_page
    from shared.cli import output, wiring
    from shared.cli.alphas_views import document, view

    settings = wiring.settings()
    folder = plugins or settings.plugins
    own = load_plugins(folder) if folder is not None else ()
    found = _markets(settings, data, symbols, start, end, warmup_bars=settings.system.warmup_bars)
    prepared = [_prepared(settings, found, place, ml=ml) for place in range(len(found.markets))]
    account = BacktestParams(settings.run.capital, settings.run.leverage, settings.costs)
    with _progress("ablations", unit="backtests") as told:
        result = attribute(
            prepared,
            settings.system,
            account,
            np.random.default_rng(settings.run.seed),
            start_ms=found.start_ms,
            end_ms=found.end_ms,
            plugins=own,
            ablate=ablation,
            method="hac" if quick else "bootstrap",
            on_progress=told,
        )
    if html is not None:
        _write(html, render_page(result, label=found.label, generated=found.generated))
    output.emit(document(result, found), as_json, view=view(result))
    _name([*found.problems, *result.problems])


def _prepared(settings: Settings, found: ResearchMarkets, place: int, *, ml: bool) -> PreparedAsset:
    """One asset with its regimes and, where `ml` is set, the walk-forward scores of the ML alpha."""
    from dataclasses import replace

    from shared.backtest.system import prepare
    from shared.calibration.ml import train_all
    from shared.strategy.ml_model import with_ml_scores

    market = found.markets[place]
    with _progress(f"{market.asset.symbol}: regimes") as told:
        prepared = prepare(market, settings.system, on_progress=told)
    if not ml:
        return prepared
    with _progress(f"{market.asset.symbol}: ML models") as told:
        trainings = train_all(prepared.frame, market.asset, settings.ml, settings.curation, on_progress=told)
    models = [training.model for training in trainings if training.model is not None]
    return replace(prepared, frame=with_ml_scores(prepared.frame, models, settings.curation))


def _markets(
    settings: Settings, data: Path | None, symbols: str | None, start: str | None, end: str | None, *, warmup_bars: int
) -> ResearchMarkets:
    from shared.cli.research_market import load_markets, parse_symbols

    wanted = parse_symbols(symbols)
    return load_markets(settings, data=data, symbols=wanted, start=start, end=end, warmup_bars=warmup_bars)


@contextmanager
def _progress(what: str, *, unit: str = "models") -> Iterator[Callable[[int, int], None]]:
    from shared.cli import output

    with output.progress(unit=unit, transient=True) as bars:
        task = bars.add_task(what, total=None, detail="")
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _write(path: Path, text: str) -> None:
    from shared.cli import output

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; choose another place with --html") from None
    output.note(f"report: {path}")


def _name(problems: list[str]) -> None:
    """Each problem on a line of standard error; exit code 1 where there is one."""
    from shared.cli import output

    for problem in problems:
        output.print_error(problem)
    if problems:
        raise typer.Exit(1)
