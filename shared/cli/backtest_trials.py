"""A look at parameters is a trial: what `ost backtest` leaves in the memory of research, for later tests to correct for."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from shared.backtest.breakdown import asset_profits
from shared.backtest.statistics import returns_by_day, sharpe
from shared.calibration.trials import setting, variant_key
from shared.calibration.variants import changes_between
from shared.cli import wiring
from shared.domain.ids import content_id
from shared.domain.research import Trial
from shared.trading.params import SystemParams
from shared.version import code_version

if TYPE_CHECKING:
    from shared.backtest.params import BacktestParams
    from shared.backtest.result import BacktestResult
    from shared.backtest.system import RegimeMode
    from shared.cli.research_market import ResearchMarkets
    from shared.config.settings import Settings


def counted_trials(
    settings: Settings,
    found: ResearchMarkets,
    system: SystemParams,
    mode: RegimeMode,
    account: BacktestParams,
    result: BacktestResult,
) -> str | None:
    """Record one trial for each asset, and say how many variants were tried on it; `None` for the default parameters.

    Raises `LedgerUnavailable`: a look that cannot be counted is not shown.
    """
    changes = changes_between(SystemParams(), system)
    if not changes:
        return None
    research, now_ms = wiring.research(settings), wiring.clock().now_ms()
    ratios = _sharpe_by_asset(result, found)
    rows = []
    for market, (ratio, days) in zip(found.markets, ratios, strict=True):
        data_hash = found.data_hash[market.asset.symbol]
        identity = (str(market.asset), found.interval.value, system.version, data_hash, asdict(account))
        rows.append(
            Trial(
                id=content_id("trial", "backtest", *identity, mode.value, found.start_ms, found.end_ms, code_version()),
                asset=market.asset,
                interval=found.interval,
                params_version=system.version,
                params=changes,
                code_version=code_version(),
                data_hash=data_hash,
                start_ms=found.start_ms,
                end_ms=found.end_ms,
                sharpe=ratio,
                days=days,
                metrics={"backtest": result.label, **setting(mode, account), "assets": len(found.markets)},
                campaign_id=None,
                created_ms=now_ms,
            )
        )
    research.record_trials(rows)
    tried = {row.asset.symbol: len({variant_key(trial) for trial in research.trials(row.asset)}) for row in rows}
    counts = (f"{count} variant{'s' * (count != 1)} tried on {symbol}" for symbol, count in tried.items())
    return f"this look counts: {', '.join(counts)}"


def _sharpe_by_asset(result: BacktestResult, found: ResearchMarkets) -> list[tuple[float | None, int]]:
    """Sharpe ratio per day of what each asset added to the account, without funding, and the days."""
    profits = asset_profits(result, found.markets)
    ratios = []
    for column in range(profits.shape[1]):
        curve = result.initial + np.cumsum(profits[:, column])
        _, returns = returns_by_day(result.time_ms, curve, result.initial, int(result.time_ms[0]))
        ratios.append((sharpe(returns), len(returns)))
    return ratios
