"""`ost classify`, `ost regenerate-signal`, `ost recommend`: the market as the lake shows it.

Nothing is fetched or traded. Each goes over all assets; one that fails is named and the others go on. Exit codes: 0 all is
well, 1 problems were found (and named), 2 the command cannot be understood.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli.data import JsonOption, SymbolsOption, chosen_universe
from shared.domain.errors import DataNotFound, LeaseLost, OstError, UsageError
from shared.domain.interval import Interval

if TYPE_CHECKING:
    from shared.domain.decision import Decision
    from shared.domain.records import Lease
    from shared.trading.signal_desk import SignalDesk
    from shared.trading.signals import OnRefit

SignalInterval = Annotated[str | None, typer.Option("--interval", "-i", help="15m 30m 1h 4h 1d (default: the configured one).")]


def classify(
    interval: SignalInterval = None,
    history_days: Annotated[
        int, typer.Option(help="Days that regimes are followed over; models of their refit instants are fitted.", min=1)
    ] = 30,
    symbols: SymbolsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which regime each asset is in: probabilities, held regime, model, drift, stress. Fits the models that are due.

    Example: ost classify --interval 1h --symbols BTCUSDT,ETHUSDT
    """
    from shared.cli import output
    from shared.cli.signal_views import classified_row, classified_table, failed_row

    desk = _desk(interval, symbols)
    rows = []
    with _progress(desk, history_days) as on_refit:
        for asset in desk.universe:
            try:
                history = desk.history(asset, history_days, on_refit)
                row = classified_row(history, desk.params, desk.clock.now_ms())
                if history.states and row["bar_close_ms"] == history.states[-1].bar_close_ms:
                    desk.ledger.record_regimes(desk.book, [history.states[-1]])
            except (LeaseLost, UsageError):
                raise
            except OstError as error:
                row = failed_row(asset, error)
            rows.append(row)
    problems = [row for row in rows if row["problem"]]
    document = {"book": desk.book, "interval": desk.interval.value, "problems": len(problems), "assets": rows}
    output.emit(document, as_json, view=classified_table(rows, desk.interval))
    _name_problems([f"{row['asset']}: {row['problem']}" for row in problems])


def regenerate_signal(interval: SignalInterval = None, symbols: SymbolsOption = None, as_json: JsonOption = False) -> None:
    """Decide the newest closed bar of each asset again from the lake, for a flat book. Nothing is fetched or ordered.

    Example: ost regenerate-signal --symbols BTCUSDT
    """
    from shared.cli import output
    from shared.cli.signal_views import signal_row, signal_table

    desk = _desk(interval, symbols)
    rows, problems = [], []
    with _lease(desk) as lease:
        for asset in desk.universe:
            try:
                decision, new = desk.regenerate(asset, lease)
            except (LeaseLost, UsageError):
                raise
            except OstError as error:
                problems.append(f"{asset}: {error}")
            else:
                rows.append(signal_row(decision, new, desk.clock.now_ms()))
    document = {"book": desk.book, "interval": desk.interval.value, "new": sum(row["new"] for row in rows), "signals": rows}
    output.emit({**document, "problems": problems}, as_json, view=signal_table(rows, desk.capital))
    _name_problems(problems)


def recommend(
    interval: SignalInterval = None,
    symbols: SymbolsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what to do with each asset now, and why. Decides first where the lake has a newer bar. Nothing is ordered.

    Example: ost recommend --symbols BTCUSDT,ETHUSDT
    """
    from shared.cli import output
    from shared.cli.signal_views import recommendation_row, recommendation_view

    desk = _desk(interval, symbols)
    decisions: list[Decision] = []
    problems = []
    with _lease(desk) as lease:
        for asset in desk.universe:
            try:
                decisions.append(desk.newest(asset, lease))
            except (LeaseLost, UsageError):
                raise
            except OstError as error:
                problems.append(f"{asset}: {error}")
    rows = [recommendation_row(decision, desk.clock.now_ms()) for decision in decisions]
    document = {"book": desk.book, "interval": desk.interval.value, "recommendations": rows, "problems": problems}
    output.emit(document, as_json, view=recommendation_view(decisions, desk.clock.now_ms(), desk.capital))
    _name_problems(problems)


def _desk(interval: str | None, symbols: str | None) -> SignalDesk:
    """What the three commands work on. Raises `UsageError`; `DataNotFound` where the lake is empty."""
    parsed = None if interval is None else Interval.parse(interval)
    from shared.cli import wiring
    from shared.data.store import RAW
    from shared.trading.signal_desk import SignalDesk
    from shared.version import code_version

    settings = wiring.settings()
    wanted = parsed or settings.interval
    universe, bucket = chosen_universe(settings, symbols), wiring.bucket(settings)
    if not any(bucket.read(asset.path(RAW, wanted)) for asset in universe):
        names = " ".join(asset.symbol for asset in universe)
        raise DataNotFound(f"the lake holds no {wanted} bars of {names}; fetch them with: ost backfill --interval {wanted}")
    capital = str(settings.run.capital)
    return SignalDesk(bucket, wiring.ledger(settings), universe, wanted, settings.system, capital, code_version, wiring.clock())


@contextmanager
def _lease(desk: SignalDesk) -> Iterator[Lease]:
    """The right to write the signal book. Raises `LeaseLost` while another process has it."""
    from shared.cli.wiring import process_name

    with desk.writing(process_name()) as lease:
        yield lease


@contextmanager
def _progress(desk: SignalDesk, days: int) -> Iterator[OnRefit]:
    """A bar over all refits of all assets, on standard error."""
    from shared.cli import output

    with output.progress(unit="models", transient=True) as bars:
        task = bars.add_task("regime models", total=desk.refits(days), detail="")
        yield lambda _: bars.advance(task)


def _name_problems(problems: list[str]) -> None:
    """Each problem on a line of standard error; exit code 1 where there is one."""
    from shared.cli import output

    for problem in problems:
        output.print_error(problem)
    if problems:
        raise typer.Exit(1)
