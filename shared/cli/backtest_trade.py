"""How a strategy is traded that a user named: what it needs to know of the market, and its run on the one account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shared.backtest.engine import backtest
from shared.backtest.result import BacktestResult
from shared.backtest.signals import TargetPath, closed_at_the_end
from shared.backtest.strategies import STRATEGIES
from shared.backtest.system import PreparedAsset, RegimeMode, backtest_system, prepare, regime_only
from shared.cli import output, wiring
from shared.risk.params import RiskParams
from shared.trading.ml_models import with_stored_ml
from shared.trading.rl_models import with_stored_rl

if TYPE_CHECKING:
    from shared.backtest.params import BacktestParams
    from shared.cli.research_market import ResearchMarkets
    from shared.config.settings import Settings
    from shared.trading.params import SystemParams

SYSTEM, REGIME_ONLY = "system", "regime-only"
COMPARISON = "buy-and-hold"
NAMES = (SYSTEM, REGIME_ONLY, *STRATEGIES)
"""What `--strategy` may name."""


def prepared_assets(found: ResearchMarkets, system: SystemParams, mode: RegimeMode) -> tuple[PreparedAsset, ...]:
    """Every asset curated and classified, with progress while models are fitted."""
    ready = []
    with output.progress(unit="models", transient=True) as display:
        for market in found.markets:
            task = display.add_task(f"regimes of {market.asset.symbol}", total=None, detail="")

            def told(done: int, total: int, task: Any = task) -> None:
                display.update(task, completed=done, total=total)

            ready.append(prepare(market, system, mode=mode, held_from_ms=found.start_ms, on_progress=told))
    return tuple(ready)


def with_ml(prepared: tuple[PreparedAsset, ...], settings: Settings, system: SystemParams) -> tuple[PreparedAsset, ...]:
    """The assets with the scores of the lake's ML models and RL policies as a book would have seen them, where asked."""
    ready, bucket = [], wiring.bucket(settings)
    for item in prepared:
        frame, problems = with_stored_ml(item.frame, item.market.asset, bucket, system)
        for problem in problems:
            output.note(problem)
        ready.append(replace(item, frame=with_stored_rl(frame, item.market.asset, bucket, system)))
    return tuple(ready)


def traded(
    name: str,
    found: ResearchMarkets,
    system: SystemParams,
    account: BacktestParams,
    prepared: tuple[PreparedAsset, ...],
    label: str,
) -> BacktestResult:
    """The run of the strategy called `name`; `prepared` where it needs regimes."""
    if name == SYSTEM:
        return backtest_system(prepared, system, account, start_ms=found.start_ms, end_ms=found.end_ms, label=label)
    if name == REGIME_ONLY:
        return _in_parts(name, [regime_only(item) for item in prepared], found, system, account, label)
    return simple(name, found, system, account, label)


def simple(name: str, found: ResearchMarkets, system: SystemParams, account: BacktestParams, label: str) -> BacktestResult:
    """A strategy by name on equal parts of the account."""
    targets = [STRATEGIES[name].path(market, start_ms=found.start_ms) for market in found.markets]
    return _in_parts(name, targets, found, system, account, label)


def risk_of(name: str, risk: RiskParams) -> RiskParams:
    """Limits of a strategy: the comparison strategies trade as their textbooks do, without breakers."""
    if name == SYSTEM:
        return risk
    return risk.without_breakers()


def _in_parts(
    name: str,
    targets: Sequence[TargetPath],
    found: ResearchMarkets,
    system: SystemParams,
    account: BacktestParams,
    label: str,
) -> BacktestResult:
    """Each target on an equal part of the account; an asset whose candles end before the period does is closed there."""
    parts = [
        closed_at_the_end(replace(target, fraction=target.fraction / len(targets)), market.candles, found.end_ms)
        for target, market in zip(targets, found.markets, strict=True)
    ]
    risk = risk_of(name, system.risk)
    return backtest(found.markets, parts, account, risk, start_ms=found.start_ms, end_ms=found.end_ms, label=label)
