"""What `ost regimes compare` found, for people, machines and the page."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from shared.domain.candles import FloatArray, IntArray
from shared.domain.interval import Interval
from shared.regime.comparison import Held

BACKTESTS = "What each does to a backtest (breakers lifted, so that all reach the end)"


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

    def as_dict(self) -> dict[str, Any]:
        """For JSON: without the arrays."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "ribbons"}
