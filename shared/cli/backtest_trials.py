"""A look at a variant is a trial: what backtests, ablations and comparisons leave in the memory of research."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shared.backtest.system import RegimeMode
from shared.calibration.trials import TrialContext, Try, trial_rows, variant_key
from shared.cli import wiring
from shared.domain.asset import Asset
from shared.domain.interval import Interval
from shared.version import code_version

if TYPE_CHECKING:
    from shared.backtest.params import BacktestParams
    from shared.cli.research_market import ResearchMarkets
    from shared.config.settings import Settings

DEFAULT_INTERVAL, DEFAULT_MODE = Interval.H1, RegimeMode.HMM
"""Bars and classifier of the system as it comes (`default.yaml`)"""


def counted_trials(
    settings: Settings, found: ResearchMarkets, tries: Sequence[Try], account: BacktestParams, *, command: str
) -> str | None:
    """Record each try on each asset, and say how many variants were tried on it; `None` where there is nothing to count.

    The default system on its own bars is nobody's choice, whatever the account that it trades on; a generated market says
    nothing about a real one. Raises `LedgerUnavailable`: a look that cannot be counted is not shown.
    """
    usual = found.interval is DEFAULT_INTERVAL
    counted = [one for one in tries if not (usual and one.is_default(DEFAULT_MODE))]
    if found.generated or not counted:
        return None
    hashes = {market.asset: found.data_hash[market.asset.symbol] for market in found.markets}
    context = TrialContext(command, found.interval, found.start_ms, found.end_ms, hashes, account, code_version())
    research = wiring.research(settings)
    research.record_trials(trial_rows(counted, context, wiring.clock().now_ms()))
    assets: dict[Asset, None] = dict.fromkeys(asset for one in counted for asset in one.shown)
    known = {asset.symbol: len({variant_key(trial) for trial in research.trials(asset)}) for asset in assets}
    counts = (f"{count} variant{'s' * (count != 1)} tried on {symbol}" for symbol, count in known.items())
    return f"this look counts: {', '.join(counts)}"
