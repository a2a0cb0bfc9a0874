"""`ost alphas`: train the ML alpha, keep recognised patterns, and say honestly which alphas and agents earn their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.domain.errors import StorageError

if TYPE_CHECKING:
    from shared.backtest.market import AssetMarket
    from shared.backtest.system import PreparedAsset
    from shared.cli.research_market import ResearchMarkets
    from shared.config.settings import Settings
    from shared.ports import Bucket
    from shared.strategy.ml_model import MlModel, ModelCard

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
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of other models of the same instants.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train the ML alpha walk-forward and store each model with its card in the lake; `ost run` takes them from there.

    A model is trained on complete labels before its instant only. It counts where an agent gives `ml_confidence` a weight.
    Where an instant has a model of another training, that one stays and is named, unless you give --replace.

    Example: ost alphas train --data ../shared/data/ohlcv/binance_usdm --symbols BTCUSDT
    """
    from shared.calibration.ml import train_all
    from shared.cli import output, wiring
    from shared.cli.alphas_views import trained
    from shared.data.curation import curate

    settings = wiring.settings()
    found = _markets(settings, data, symbols, start, end, warmup_bars=0)
    cards: list[tuple[AssetMarket, ModelCard, str]] = []
    bucket, problems = wiring.bucket(settings), list(found.problems)
    for market in found.markets:
        frame = curate(market.candles, settings.curation, market.funding, market.open_interest)
        with _progress(f"{market.asset.symbol}: models") as told:
            trainings = train_all(frame, market.asset, settings.ml, settings.curation, on_progress=told)
        models = [training.model for training in trainings if training.model is not None]
        stored, kept = _stored(bucket, market, models, replace=replace)
        cards += stored
        if kept:
            problems.append(f"{market.asset.symbol}: {len(kept)} instants keep another model, e.g. {kept[0]}; see --replace")
        if not models:
            reason = trainings[-1].reason if trainings else "the data reach no training instant"
            problems.append(f"{market.asset.symbol}: no model: {reason}")
    rows, table = trained(cards)
    output.emit({"models": rows, "problems": problems}, as_json, view=table)
    _name(problems)


def _stored(
    bucket: Bucket, market: AssetMarket, models: Sequence[MlModel], *, replace: bool
) -> tuple[list[tuple[AssetMarket, ModelCard, str]], list[str]]:
    """The models that are in the bucket now, with their objects' names, and why others are not."""
    from shared.strategy.ml_store import OtherModel, save_ml_model

    stored, kept = [], []
    for model in models:
        try:
            stored.append((market, model.card, save_ml_model(bucket, market.asset, model, replace=replace)))
        except OtherModel as error:
            kept.append(str(error))
    return stored, kept


@app.command()
def patterns(
    data: DataOption = None,
    symbols: SymbolsOption = None,
    start: StartOption = None,
    end: EndOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recognise order blocks, liquidity surges and volatility expansions, keep them, and show what is kept of the period.

    Recognising them again changes nothing.

    Example: ost alphas patterns --data ../shared/data/ohlcv/binance_usdm --symbols BTCUSDT --start 2025-01-01
    """
    from shared.cli import output, wiring
    from shared.cli.alphas_views import kept_patterns
    from shared.data.curation import curate
    from shared.strategy.patterns import detect_patterns

    settings = wiring.settings()
    warmup = settings.curation.lookback_bars + settings.strategy.lookback_bars
    found = _markets(settings, data, symbols, start, end, warmup_bars=warmup)
    research, rows, kept = wiring.research(settings), [], []
    for market in found.markets:
        frame = curate(market.candles, settings.curation, market.funding, market.open_interest)
        seen = detect_patterns(frame, market.asset, settings.strategy, since_ms=found.start_ms)
        new = research.record_patterns(seen)
        kinds = sorted({pattern.kind for pattern in seen})
        counts = {kind: sum(pattern.kind == kind for pattern in seen) for kind in kinds}
        rows.append({"asset": market.asset.symbol, "found": len(seen), "new": new, **counts})
        kept += [
            pattern
            for pattern in research.patterns(market.asset, since_ms=found.start_ms)
            if pattern.interval is found.interval and pattern.end_ms <= found.end_ms
        ]
    document, view = kept_patterns(rows, kept)
    output.emit({**document, "problems": found.problems}, as_json, view=view)
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

    Each backtest without a piece, and each plug-in alone, is a variant that was tried: it is counted, as one of `ost backtest`.

    A plug-in that sees the future on these candles is refused before anything is measured.

    Example: ost alphas report --data ../shared/data/ohlcv/binance_usdm --symbols BTCUSDT --start 2023-01-01 --html alphas.html
    """
    import numpy as np

    from shared.adapters.local.plugins import load_plugins
    from shared.backtest.params import BacktestParams
    from shared.calibration.attribution import attribute, check_period
    from shared.calibration.attribution_page import render_page
    from shared.calibration.audit import refuse_lookahead
    from shared.cli import output, wiring
    from shared.cli.alphas_views import document, view
    from shared.cli.backtest_trials import counted_trials

    settings = wiring.settings()
    folder = plugins or settings.plugins
    own = load_plugins(folder) if folder is not None else ()
    found = _markets(settings, data, symbols, start, end, warmup_bars=settings.system.warmup_bars)
    if ablation:
        check_period(found.start_ms, found.end_ms)
    refuse_lookahead(found.markets, own, settings.curation)
    prepared = [_prepared(settings, market, ml=ml) for market in found.markets]
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
    counted = counted_trials(settings, found, result.tries, account, command="alphas report")
    if html is not None:
        _write(html, render_page(result, label=found.label, generated=found.generated))
    output.emit({**document(result, found), "trials": counted}, as_json, view=view(result))
    if counted:
        output.note(counted)
    _name([*found.problems, *result.problems])


def _prepared(settings: Settings, market: AssetMarket, *, ml: bool) -> PreparedAsset:
    """One asset with its regimes and, where `ml` is set, the walk-forward scores of the ML alpha."""
    from dataclasses import replace

    from shared.backtest.system import prepare
    from shared.calibration.ml import with_walk_forward_ml

    with _progress(f"{market.asset.symbol}: regimes") as told:
        prepared = prepare(market, settings.system, on_progress=told)
    if not ml:
        return prepared
    with _progress(f"{market.asset.symbol}: ML models") as told:
        frame = with_walk_forward_ml(prepared.frame, market.asset, settings.ml, settings.curation, told)
    return replace(prepared, frame=frame)


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
