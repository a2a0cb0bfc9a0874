"""What `ost regimes compare` found, for people, machines and the page."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from shared.cli.texts import percent
from shared.domain.candles import FloatArray, IntArray
from shared.domain.interval import Interval
from shared.regime.comparison import Held


@dataclass(frozen=True, slots=True)
class ClassifierLine:
    """One classifier on one asset, or its mean over generated markets."""

    classifier: str
    asset: str
    refits: int
    refused: int
    """refits after which the previous model stayed, or there was none"""
    switches_per_year: float
    mean_duration_bars: float
    calm_share: float
    balanced_share: float
    stress_share: float
    accuracy: float | None = None
    """share of bars whose most probable regime is the true one; `None` where the truth is unknown"""
    worst_accuracy: float | None = None
    """of any market"""
    held_accuracy: float | None = None
    noticed: float | None = None
    """share of the true changes"""
    median_lag_bars: float | None = None


@dataclass(frozen=True, slots=True)
class AccountLine:
    """A backtest under one classifier; means over generated markets."""

    strategy: str
    """`system` or `regime only`"""
    classifier: str
    markets: int
    total_return: float
    sharpe: float | None
    """annualised"""
    max_drawdown: float
    trades: float
    costs: float
    """fees and execution, of the capital at the start"""


@dataclass(frozen=True, eq=False, slots=True)
class Ribbon:
    """The example that the page draws: prices and what each classifier held."""

    symbol: str
    interval: Interval
    close_time: IntArray
    close: FloatArray
    held: dict[str, Held]
    """by classifier; `truth` where it is known"""


@dataclass(frozen=True, eq=False, slots=True)
class Comparison:
    """Everything that is shown."""

    source: str
    generated: bool
    classifiers: tuple[ClassifierLine, ...]
    accounts: tuple[AccountLine, ...]
    true_switches_per_year: float | None
    ribbons: tuple[Ribbon, ...]
    trials: str | None
    """what its backtests count as, for people"""

    def as_dict(self) -> dict[str, Any]:
        """For JSON: without the arrays."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "ribbons"}


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table for people, on a terminal or on the page."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int
    """leading columns that hold names; the others hold numbers"""


def tables(result: Comparison) -> tuple[TextTable, ...]:
    """Against the truth where it is known, persistence, backtests."""
    known = () if result.true_switches_per_year is None else (_truth(result, result.true_switches_per_year),)
    return (*known, _persistence(result), _backtests(result))


def _truth(result: Comparison, changes_per_year: float) -> TextTable:
    return TextTable(
        f"Against the truth, which changes {changes_per_year:.0f} times a year",
        ("classifier", "right", "worst market", "held is right", "noticed", "median lag"),
        tuple(
            (
                line.classifier,
                percent(line.accuracy, 1),
                percent(line.worst_accuracy, 1),
                percent(line.held_accuracy, 1),
                percent(line.noticed, 1),
                "" if line.median_lag_bars is None else f"{line.median_lag_bars:.0f} bars",
            )
            for line in result.classifiers
        ),
        names=1,
    )


def _persistence(result: Comparison) -> TextTable:
    return TextTable(
        f"The held regime · {result.source}",
        ("asset", "classifier", "switches/y", "lasts", "calm", "stress", "refused fits"),
        tuple(
            (
                line.asset,
                line.classifier,
                f"{line.switches_per_year:.0f}",
                f"{line.mean_duration_bars:.0f} bars",
                percent(line.calm_share, 1),
                percent(line.stress_share, 1),
                f"{line.refused} of {line.refits}",
            )
            for line in result.classifiers
        ),
        names=2,
    )


def _backtests(result: Comparison) -> TextTable:
    return TextTable(
        "What each does to a backtest (breakers lifted, so that all reach the end)",
        ("strategy", "regime", "return", "Sharpe", "drawdown", "round trips", "costs"),
        tuple(
            (
                line.strategy,
                line.classifier,
                f"{line.total_return:+.1%}",
                "" if line.sharpe is None else f"{line.sharpe:.2f}",
                percent(line.max_drawdown, 1),
                f"{line.trades:.0f}",
                percent(line.costs, 1),
            )
            for line in result.accounts
        ),
        names=2,
    )
