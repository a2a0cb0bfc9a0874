"""How often something was tried on an asset: what the Deflated Sharpe Ratio corrects a winner for.

A variant is its parameters on one candle interval, with one regime mode and one account (stake, leverage, costs): any of them
changes the returns, so that trying another value is another try. Rows are dated, and the list of tries only ever grows: later
rows never take an earlier one away. Otherwise the bar could fall because more was tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from shared.domain.ids import content_id
from shared.domain.research import Trial

if TYPE_CHECKING:
    from shared.backtest.params import BacktestParams
    from shared.backtest.system import RegimeMode

_REGIME, _ACCOUNT = "regime", "account"


@dataclass(frozen=True, slots=True)
class Tried:
    """Everything that was tried on an asset, oldest first."""

    sharpe: tuple[float | None, ...]
    """per day; `None` where nothing moved"""
    dates: tuple[int, ...]
    """how many were known after each campaign and each single backtest; the last one is all of them"""


def setting(mode: RegimeMode, account: BacktestParams) -> dict[str, Any]:
    """What a trial's metrics say about the setting that its parameters ran in."""
    return {_REGIME: mode.value, _ACCOUNT: content_id("account", asdict(account))}


def variant_key(trial: Trial) -> tuple[str, str, str, str]:
    """What makes a trial another variant. Data and code do not: the same idea seen again is no new one."""
    metrics = trial.metrics
    return trial.params_version, trial.interval.value, str(metrics.get(_REGIME)), str(metrics.get(_ACCOUNT))


def ever_tried(known: Sequence[Trial]) -> Tried:
    """The tries among `known` (oldest first): each variant once, and again where a later look showed a larger |Sharpe|.

    Such a look on other data counts for itself: the larger of two results is the result of two tries, and neither a lucky
    older one nor a lucky newer one may vanish.
    """
    largest: dict[tuple[str, str, str, str], float] = {}
    ratios: list[float | None] = []
    dates: list[int] = []
    before: str | None = None
    for trial in known:
        key, size = variant_key(trial), 0.0 if trial.sharpe is None else abs(trial.sharpe)
        batch = trial.campaign_id or trial.id
        if batch != before and ratios:
            dates.append(len(ratios))
        before = batch
        if key not in largest or size > largest[key]:
            largest[key] = size
            ratios.append(trial.sharpe)
    return Tried(tuple(ratios), tuple(dict.fromkeys([*dates, len(ratios)])))
