"""What `ost backtest` does: markets, regimes, the backtest, its comparison, simulated futures, and what it counts as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.backtest.breakdown import AssetCosts, RegimeRow, asset_costs, by_regime
from shared.backtest.metrics import RunSummary, daily_returns, summarise
from shared.backtest.params import BacktestParams
from shared.backtest.result import BacktestResult
from shared.backtest.system import PreparedAsset, RegimeMode
from shared.calibration.champions import system_of
from shared.calibration.trials import tried
from shared.calibration.variants import changes_between
from shared.cli import output, wiring
from shared.cli.backtest_trade import COMPARISON, NAMES, REGIME_ONLY, SYSTEM, prepared_assets, risk_of, simple, traded, with_ml
from shared.cli.backtest_trials import counted_trials
from shared.cli.research_market import ResearchMarkets, load_markets, parse_symbols
from shared.domain.errors import DataNotFound, NotEnoughData, UsageError
from shared.domain.ids import content_id
from shared.domain.interval import format_ms
from shared.risk.monte_carlo import MonteCarlo, simulate
from shared.trading.params import SystemParams
from shared.version import code_version

if TYPE_CHECKING:
    from shared.backtest.report import RunRecord
    from shared.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options of the command."""

    data: Path | None
    symbols: str | None
    start: str | None
    end: str | None
    days: int | None
    strategy: str
    regime: str
    champion: str | None


@dataclass(frozen=True, eq=False)
class Done:
    """A finished backtest with everything that is shown of it."""

    wanted: Wanted
    found: ResearchMarkets
    system: SystemParams
    prepared: tuple[PreparedAsset, ...]
    result: BacktestResult
    summary: RunSummary
    comparison: RunSummary
    costs: tuple[AssetCosts, ...]
    regimes: tuple[RegimeRow, ...]
    monte_carlo: MonteCarlo | None
    drawdown_depths: tuple[float, ...]
    trials: str | None
    """what this look counts as, for people"""

    @property
    def positions(self) -> dict[str, float]:
        """Signed notional / equity at the end by symbol."""
        equity = float(self.result.equity[-1])
        closes = [float(market.candles.close[-1]) for market in self.found.markets]
        held = zip(self.result.assets, self.result.position[-1].tolist(), closes, strict=True)
        return {asset.symbol: size * close / equity for asset, size, close in held if size and equity > 0}

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        chance = self.monte_carlo
        simulated = None
        if chance is not None:
            depths = {f"{depth:g}": chance.drawdown_probability(depth) for depth in self.drawdown_depths}
            simulated = {
                "horizon_days": chance.horizon_days,
                "final_return": chance.final_quantiles(),
                "loss_probability": chance.loss_probability(),
                "drawdown_probability": depths,
            }
        return {
            "backtest": self.result.label,
            "strategy": self.wanted.strategy,
            "regime": self.wanted.regime,
            "params_version": self.system.version,
            "changed_params": changes_between(SystemParams(), self.system),
            "market": self.found.label,
            "generated": self.found.generated,
            "symbols": [asset.symbol for asset in self.result.assets],
            "interval": self.found.interval.value,
            "start": format_ms(self.found.start_ms),
            "end": format_ms(self.found.end_ms),
            "end_ms": self.found.end_ms,
            "summary": self.summary.as_dict(),
            "comparison": {"strategy": COMPARISON, "summary": self.comparison.as_dict()},
            "costs": [asdict(row) for row in self.costs],
            "regimes": [asdict(row) for row in self.regimes],
            "positions": self.positions,
            "monte_carlo": simulated,
            "halts": len(self.result.halts),
            "identity_error": self.result.identity_error,
            "trials": self.trials,
            "problems": list(self.found.problems),
            "notes": list(self.found.notes),
        }


def run(settings: Settings, wanted: Wanted) -> Done:
    """Run it. Raises `UsageError` for options that make no sense, a `DataError` where no asset can be traded."""
    mode = _checked(wanted)
    system = _system(settings, wanted.champion)
    uses_regimes = wanted.strategy in (SYSTEM, REGIME_ONLY)
    found = load_markets(
        settings,
        data=wanted.data,
        symbols=parse_symbols(wanted.symbols),
        start=wanted.start,
        end=wanted.end,
        days=wanted.days,
        warmup_bars=system.warmup_bars,
        history_bars=system.window_bars(settings.interval) if uses_regimes else None,
        keep_ended=True,
    )
    for problem in found.problems:
        output.note(problem)
    account = settings.account
    prepared = with_ml(prepared_assets(found, system, mode), settings, system) if uses_regimes else ()
    label = _label(wanted, found, system, account)
    with output.working("trading"):
        result = traded(wanted.strategy, found, system, account, prepared, label)
        compared = summarise(simple(COMPARISON, found, system, account, COMPARISON))
    held = {item.market.asset: item.held for item in prepared}
    tries = [tried(result, found.markets, system, mode)] if wanted.strategy == SYSTEM else []
    return Done(
        wanted=wanted,
        found=found,
        system=system,
        prepared=prepared,
        result=result,
        summary=summarise(result),
        comparison=compared,
        costs=asset_costs(result, found.markets),
        regimes=by_regime(result, found.markets, held) if held and mode is not RegimeMode.OFF else (),
        monte_carlo=_futures(settings, result),
        drawdown_depths=settings.risk_report.drawdowns,
        trials=counted_trials(settings, found, tries, account, command="backtest"),
    )


def record(done: Done, settings: Settings) -> RunRecord:
    """What the report shows."""
    from shared.backtest.report.from_backtest import backtest_record

    found = done.found
    notes = [*found.problems, *found.notes, *([done.trials] if done.trials else [])]
    return backtest_record(
        done.result,
        found.markets,
        done.summary,
        risk_of(done.wanted.strategy, done.system.risk),
        source=found.label,
        generated=found.generated,
        settings=_settings(done, settings),
        prepared=done.prepared if done.regimes else (),
        monte_carlo=done.monte_carlo,
        drawdown_depths=done.drawdown_depths,
        notes=notes,
        commands=("ost backtest --parquet out && ost risk --backtest out", "ost campaign --help"),
    )


def _checked(wanted: Wanted) -> RegimeMode:
    if wanted.strategy not in NAMES:
        raise UsageError(f"there is no strategy {wanted.strategy!r}; choose {', '.join(NAMES[:-1])} or {NAMES[-1]}")
    if wanted.regime not in list(RegimeMode):
        raise UsageError(f"--regime {wanted.regime!r} is unknown; choose hmm, jump or off")
    if wanted.champion is not None and wanted.strategy != SYSTEM:
        raise UsageError(
            f"--champion names parameters of the system, and --strategy is {wanted.strategy}; leave one of them out"
        )
    return RegimeMode(wanted.regime)


def _system(settings: Settings, champion: str | None) -> SystemParams:
    """The parameters in force, or a champion's. Raises `DataNotFound` where there is none, `UsageError` for other bars."""
    if champion is None:
        return settings.system
    known = wiring.research(settings).champion(champion)
    if known is None:
        raise DataNotFound(f"there is no champion {champion}; `ost champions list` shows them")
    if known.interval is not settings.interval:
        raise UsageError(
            f"champion {known.id} trades {known.interval} bars, this backtest {settings.interval} bars, on which its "
            f"parameters mean something else; give --interval {known.interval}"
        )
    return system_of(known, settings.system)


def _label(wanted: Wanted, found: ResearchMarkets, system: SystemParams, account: BacktestParams) -> str:
    """Name of the backtest by its content: the same command finds its own files again."""
    period = (found.interval.value, found.start_ms, found.end_ms, found.data_hash)
    name = content_id("b", wanted.strategy, wanted.regime, system.version, asdict(account), period, code_version())
    return f"{wanted.strategy}-{name[2:12]}"


def _futures(settings: Settings, result: BacktestResult) -> MonteCarlo | None:
    """Simulated futures; `None` where the backtest has too few days."""
    chosen = settings.risk_report
    try:
        return simulate(
            daily_returns(result)[1],
            np.random.default_rng(settings.run.seed),
            paths=chosen.paths,
            horizon_days=chosen.horizon_days,
            mean_block_days=chosen.mean_block_days,
        )
    except NotEnoughData:
        return None  # the report and the table then leave it out


def _settings(done: Done, settings: Settings) -> Mapping[str, str]:
    """What decided the outcome, for people."""
    changed = changes_between(SystemParams(), done.system)
    brakes = "on" if done.wanted.strategy == SYSTEM else "off: a comparison strategy"
    return {
        "backtest": done.result.label,
        "strategy": done.wanted.strategy,
        "regime classifier": done.wanted.regime,
        "market": done.found.label,
        "parameters": done.system.version,
        "changed from the defaults": " ".join(f"{name}={value}" for name, value in changed.items()) or "none",
        "costs": " ".join(f"{name}={value:g}" for name, value in asdict(settings.costs).items()),
        "breakers": brakes,
        "capital": f"{settings.run.capital:g}",
        "leverage": str(settings.run.leverage),
        "largest ledger error": f"{done.result.identity_error:.1e} of the capital",
        "code": code_version(),
    }
