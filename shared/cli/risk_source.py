"""Where the numbers of `ost risk` come from: a book of the ledger or a written backtest, and candles where there are some."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shared.backtest.statistics import returns_by_day
from shared.cli import output, wiring
from shared.domain.candles import Candles
from shared.domain.errors import DataError, NotEnoughData
from shared.domain.interval import Interval
from shared.risk.assessment import Assessment, BookNow, assess
from shared.risk.stress import REFERENCE
from shared.trading.track_record import unit_returns

if TYPE_CHECKING:
    from shared.adapters.local.market_files import FileMarket
    from shared.config.settings import Settings
    from shared.ports import Ledger


def assessed(settings: Settings, *, book: str | None, backtest: Path | None, data: Path | None) -> Assessment:
    """The risk numbers of a book (default: as `chosen_book`) or of a backtest's folder."""
    if backtest is not None:
        now, folders = _of_backtest(backtest), []
    else:
        now = _of_book(wiring.ledger(settings), book, settings)
        folders = [settings.storage.root / kind / now.name / "market" for kind in ("runs", "live")]
    places = [data] if data is not None else [*folders, settings.lake / "raw" / settings.universe.venue]
    candles = _candles([*now.positions, REFERENCE], places, settings, named=data is not None)
    rng = np.random.default_rng(settings.run.seed)
    return assess(now, candles, settings.risk, settings.risk_report, rng)


def _of_book(ledger: Ledger, wanted: str | None, settings: Settings) -> BookNow:
    """A book as of its last bar: positions at the price of their newest decision."""
    from shared.cli.books import chosen_book

    if not ledger.books():
        raise NotEnoughData(
            "the ledger holds no book yet; make one with `ost run --days 30`, or look at a backtest: "
            "`ost backtest --parquet out`, then `ost risk --backtest out`"
        )
    record = chosen_book(ledger, wanted, settings)
    points = ledger.equity(record.book)
    if not points:
        raise NotEnoughData(f"book {record.book} has no bar yet; go on with the run and look again")
    times_ms = np.array([point.time_ms for point in points], dtype=np.int64)
    equity = np.array([float(point.equity) for point in points])
    positions = {}
    for symbol, held in ledger.positions(record.book).items():
        newest = ledger.decisions(record.book, symbol=symbol, limit=1)
        price = newest[-1].price if newest else float(held.entry_price)
        if held.quantity and equity[-1] > 0:
            positions[symbol] = float(held.quantity) * price / float(equity[-1])
    initial = float(record.settings.get("capital", equity[0]))
    return BookNow(
        name=record.book,
        generated=bool(record.settings.get("generated", False)),
        time_ms=int(times_ms[-1]),
        equity=float(equity[-1]),
        positions=positions,
        daily_returns=returns_by_day(times_ms, equity, initial, int(times_ms[0]))[1],
        unit_returns=unit_returns(points),
    )


def _of_backtest(folder: Path) -> BookNow:
    """A backtest as of its end."""
    from shared.cli.backtest_files import read_backtest

    written = read_backtest(folder)
    return BookNow(
        name=written.name,
        generated=written.generated,
        time_ms=written.end_ms,
        equity=float(written.equity[-1]),
        positions=written.positions,
        daily_returns=written.returns,
        unit_returns=written.unit_returns,
    )


def _candles(symbols: Iterable[str], places: Iterable[Path], settings: Settings, *, named: bool) -> dict[str, Candles]:
    """Hourly candles (else what the settings trade on) of each symbol from the first folder that has some."""
    from shared.adapters.local.market_files import FileMarket

    found: dict[str, Candles] = {}
    for place in places:
        market = FileMarket(place, settings.universe.venue)
        for symbol in dict.fromkeys(symbols):
            if symbol not in found and (bars := _history(market, symbol, settings.interval, named=named)) is not None:
                found[symbol] = bars
    return found


def _history(market: FileMarket, symbol: str, interval: Interval, *, named: bool) -> Candles | None:
    """Candles of a symbol, `None` where the folder has none; where the user named the folder, what is wrong is said."""
    problem: DataError | None = None
    for wanted in dict.fromkeys((Interval.H1, interval)):
        try:
            return market.history(symbol, wanted)
        except DataError as error:
            problem = error
    if named:
        output.note(f"{symbol}: {problem}")
    return None
