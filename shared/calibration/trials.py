"""How often something was tried on an asset: what the Deflated Sharpe Ratio corrects a winner for.

A variant is its parameters on one candle interval, with one regime mode and one account (stake, leverage, costs): any of them
changes the returns, so that trying another value is another try. Rows are dated, and the list of tries only ever grows: later
rows never take an earlier one away. Otherwise the bar could fall because more was tried.

A campaign records its variants; every other command that shows what a change of the system would have earned (a backtest, an
ablation, another regime classifier) makes a `Try` of it and records that. Only the default system is nobody's choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.backtest.breakdown import asset_profits
from shared.backtest.statistics import returns_by_day, sharpe
from shared.calibration.variants import changes_between
from shared.domain.asset import Asset
from shared.domain.ids import content_id
from shared.domain.interval import Interval
from shared.domain.research import Trial
from shared.trading.params import SystemParams

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.backtest.market import AssetMarket
    from shared.backtest.params import BacktestParams
    from shared.backtest.result import BacktestResult
    from shared.backtest.system import RegimeMode

_REGIME, _ACCOUNT = "regime", "account"


@dataclass(frozen=True, slots=True)
class Tried:
    """Everything that was tried on an asset, oldest first."""

    sharpe: tuple[float | None, ...]
    """per day; `None` where nothing moved"""
    dates: tuple[int, ...]
    """how many were known after each campaign and each single backtest; the last one is all of them"""


@dataclass(frozen=True, slots=True)
class Try:
    """What one backtest of a system showed, as far as it counts."""

    system: SystemParams
    """with which it ran"""
    mode: RegimeMode
    label: str
    """of the backtest, for people"""
    change: str
    """what else was changed and is no parameter, such as `momentum muted`; empty where nothing was"""
    shown: Mapping[Asset, tuple[float | None, int]]
    """Sharpe ratio per day (`None` where nothing moved) of what each asset added to the account, without funding; its days"""

    @property
    def version(self) -> str:
        """Names the variant: the parameters' own version, unless more than parameters was changed."""
        return content_id("p", self.system.version, self.change) if self.change else self.system.version

    def is_default(self, mode: RegimeMode) -> bool:
        """Whether it is the system as it comes, with its usual classifier `mode`."""
        return not self.change and self.mode is mode and not changes_between(SystemParams(), self.system)


@dataclass(frozen=True, slots=True)
class TrialContext:
    """What the tries of one command have in common."""

    command: str
    interval: Interval
    start_ms: int
    end_ms: int
    data_hash: Mapping[Asset, str]
    account: BacktestParams
    code_version: str


def tried(
    result: BacktestResult, markets: Sequence[AssetMarket], system: SystemParams, mode: RegimeMode, change: str = ""
) -> Try:
    """A finished backtest as a try. `markets`: those that it traded, in the order of its assets."""
    profits = asset_profits(result, markets)
    shown = {}
    for column, market in enumerate(markets):
        curve = result.initial + np.cumsum(profits[:, column])
        _, returns = returns_by_day(result.time_ms, curve, result.initial, int(result.time_ms[0]))
        shown[market.asset] = (sharpe(returns), len(returns))
    return Try(system, mode, result.label, change, shown)


def trial_rows(tries: Sequence[Try], context: TrialContext, now_ms: int) -> list[Trial]:
    """One row for each try and asset; the same look again has the same ids."""
    rows = []
    for one in tries:
        for asset, (ratio, days) in one.shown.items():
            period = (context.interval.value, context.start_ms, context.end_ms, context.data_hash[asset])
            identity = (str(asset), one.version, one.mode.value, asdict(context.account), *period, context.code_version)
            rows.append(
                Trial(
                    id=content_id("trial", context.command, *identity),
                    asset=asset,
                    interval=context.interval,
                    params_version=one.version,
                    params=changes_between(SystemParams(), one.system),
                    code_version=context.code_version,
                    data_hash=context.data_hash[asset],
                    start_ms=context.start_ms,
                    end_ms=context.end_ms,
                    sharpe=ratio,
                    days=days,
                    metrics={
                        context.command: one.label,
                        **({"change": one.change} if one.change else {}),
                        **setting(one.mode, context.account),
                        "assets": len(one.shown),
                    },
                    campaign_id=None,
                    created_ms=now_ms,
                )
            )
    return rows


def setting(mode: RegimeMode, account: BacktestParams) -> dict[str, Any]:
    """What a trial's metrics say about the setting that its parameters ran in."""
    return {_REGIME: mode.value, _ACCOUNT: content_id("account", asdict(account))}


def mode_of(trial: Trial) -> str:
    """Regime mode of a trial."""
    return str(trial.metrics.get(_REGIME))


def variant_key(trial: Trial) -> tuple[str, str, str, str]:
    """What makes a trial another variant. Data and code do not: the same idea seen again is no new one."""
    return trial.params_version, trial.interval.value, mode_of(trial), str(trial.metrics.get(_ACCOUNT))


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
