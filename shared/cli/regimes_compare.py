"""What `ost regimes compare` computes: every classifier over the same bars, and backtests with each, and with none.

On generated markets the figures are means over markets; a lag is taken over all true changes together. Backtests differ in the
regime alone: same data, costs and account; `off` holds balanced throughout. The system follows its playbooks; `regime only` is
long or flat by the held regime and nothing else. Breakers and the drawdown latch are lifted: they would end some of the runs
long before the others, and what is left to compare would be luck.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from shared.backtest.engine import backtest
from shared.backtest.market import AssetMarket
from shared.backtest.metrics import RunSummary, summarise
from shared.backtest.params import BacktestParams
from shared.backtest.system import PreparedAsset, RegimeMode, RegimeOnlyParams, backtest_system, prepare, regime_only
from shared.backtest.venue_rules import symbol_spec
from shared.calibration.trials import Try, tried
from shared.cli.backtest_trials import counted_trials
from shared.cli.market_source import GENERATED_END_MS, GENERATED_VENUE
from shared.cli.regimes_result import AccountLine, ClassifierLine, Comparison, Ribbon
from shared.cli.research_market import ResearchMarkets
from shared.config.settings import Settings
from shared.data.generated import generate_market
from shared.domain.asset import Asset
from shared.domain.candles import IntArray
from shared.domain.errors import UsageError
from shared.domain.interval import DAY_MS, Interval
from shared.regime.comparison import Agreement, agreement, detection_lags, persistence
from shared.regime.schedule import refit_instants
from shared.regime.transition import NOTHING_HELD

CLASSIFIERS = (RegimeMode.HMM, RegimeMode.JUMP)
GENERATED_SYMBOL = "BTCUSDT"
"""A drawdown that no account comes back from"""
Telling = Callable[[str], Callable[[int, int], None]]
"""A progress bar by name: gives what is told of the work done and in all"""


@dataclass(frozen=True, eq=False, slots=True)
class _Seen:
    """One market under every classifier."""

    lines: tuple[ClassifierLine, ...]
    lags: dict[str, IntArray]
    ribbon: Ribbon
    true_switches_per_year: float | None


def on_markets(settings: Settings, markets: ResearchMarkets, telling: Telling) -> Comparison:
    """Real bars, or whatever `load_markets` gave: no truth, but persistence and backtests of all assets in one account."""
    prepared = [_prepared(settings, market, markets.start_ms, telling) for market in markets.markets]
    seen = [_seen(settings, one, markets.start_ms, None) for one in prepared]
    runs = _backtests(settings, prepared, markets.start_ms, markets.end_ms)
    return Comparison(
        source=markets.label,
        generated=markets.generated,
        classifiers=tuple(line for one in seen for line in one.lines),
        accounts=_account_lines([runs.summaries]),
        true_switches_per_year=None,
        ribbons=tuple(one.ribbon for one in seen),
        trials=counted_trials(settings, markets, runs.tries, runs.account, command="regimes compare"),
    )


def on_generated(settings: Settings, markets: int, days: int, telling: Telling) -> Comparison:
    """`markets` generated markets of `days` days after the warm-up; seeds count up from the setting `run.seed`."""
    interval, first_seed = settings.interval, settings.run.seed
    if interval.ms > DAY_MS:
        raise UsageError(f"the generated market has no {interval} bars; choose 15m to 1d")
    start_ms = interval.floor(GENERATED_END_MS - days * DAY_MS)
    seen, runs = [], []
    for seed in range(first_seed, first_seed + markets):
        market, states = _generated(settings, seed, days)
        prepared = _prepared(settings, market, start_ms, telling, f" (seed {seed})")
        seen.append(_seen(settings, prepared, start_ms, states))
        runs.append(_backtests(settings, [prepared], start_ms, int(market.candles.close_time[-1])).summaries)
    rates = [one.true_switches_per_year for one in seen if one.true_switches_per_year is not None]
    return Comparison(
        source=f"{markets} GENERATED markets of {days} days, seeds {first_seed} to {first_seed + markets - 1}",
        generated=True,
        classifiers=tuple(_mean_line(mode.value, seen) for mode in CLASSIFIERS),
        accounts=_account_lines(runs),
        true_switches_per_year=fmean(rates),
        ribbons=(seen[0].ribbon,),
        trials=None,
    )


def _generated(settings: Settings, seed: int, days: int) -> tuple[AssetMarket, IntArray]:
    """A market and its true regimes: a full training window before the first bar that counts."""
    interval, asset = settings.interval, Asset(GENERATED_VENUE, GENERATED_SYMBOL)
    warmup = max(settings.system.warmup_bars, settings.system.window_bars(interval))
    bars = round(days * interval.bars_per_day) + warmup
    first_ms = interval.floor(GENERATED_END_MS) - bars * interval.ms
    market = generate_market(np.random.default_rng(seed), [asset.symbol], interval, first_ms, bars)
    candles = market.history[asset.symbol]
    spec = symbol_spec(asset.symbol, float(candles.open[0]))
    return AssetMarket(asset, candles, spec, market.funding[asset.symbol]), market.states


Prepared = dict[RegimeMode, PreparedAsset]


def _prepared(settings: Settings, market: AssetMarket, start_ms: int, telling: Telling, note: str = "") -> Prepared:
    name = market.asset.symbol
    prepared = {
        mode: prepare(market, settings.system, mode=mode, held_from_ms=start_ms, on_progress=telling(f"{name} {mode}{note}"))
        for mode in CLASSIFIERS
    }
    return {**prepared, RegimeMode.OFF: prepare(market, settings.system, mode=RegimeMode.OFF, held_from_ms=start_ms)}


def _seen(settings: Settings, prepared: Prepared, start_ms: int, states: IntArray | None) -> _Seen:
    market = prepared[RegimeMode.OFF].market
    interval, close = market.candles.interval, market.candles.close_time
    rows = slice(int(np.searchsorted(close, start_ms)), None)
    truth = None if states is None else states[rows]
    held = {mode.value: prepared[mode].held[rows] for mode in CLASSIFIERS}
    lines, lags = [], {}
    for mode in CLASSIFIERS:
        line = _line(settings, prepared[mode], rows, interval)
        if truth is not None:
            against = agreement(prepared[mode].probabilities[rows], held[mode.value], truth)
            line = _with_truth(line, against)
            lags[mode.value] = detection_lags(held[mode.value], truth)
        lines.append(line)
    shown = held if truth is None else {"truth": truth.astype(np.int8), **held}
    true_rate = None if truth is None else persistence(truth.astype(np.int8), interval).switches_per_year
    ribbon = Ribbon(market.asset.symbol, interval, close[rows], market.candles.close[rows], shown)
    return _Seen(tuple(lines), lags, ribbon, true_rate)


def _line(settings: Settings, prepared: PreparedAsset, rows: slice, interval: Interval) -> ClassifierLine:
    held = prepared.held[rows]
    stays = persistence(held, interval)
    close = prepared.frame.close_time[rows][held != NOTHING_HELD]
    instants = set(refit_instants(int(close[0]), int(close[-1]) + 1, settings.system.regime))
    fitted = instants & {model.valid_from_ms for model in prepared.path.models} if prepared.path else set()
    return ClassifierLine(
        classifier=prepared.mode.value,
        asset=prepared.market.asset.symbol,
        refits=len(instants),
        refused=len(instants) - len(fitted),
        switches_per_year=stays.switches_per_year,
        mean_duration_bars=stays.mean_duration_bars,
        calm_share=stays.shares[0],
        balanced_share=stays.shares[1],
        stress_share=stays.shares[2],
    )


def _with_truth(line: ClassifierLine, against: Agreement) -> ClassifierLine:
    return replace(
        line,
        accuracy=against.accuracy,
        worst_accuracy=against.accuracy,
        held_accuracy=against.held_accuracy,
        noticed=against.noticed / against.changes if against.changes else None,
        median_lag_bars=against.median_lag_bars,
    )


def _mean_line(classifier: str, seen: Sequence[_Seen]) -> ClassifierLine:
    lines = [line for one in seen for line in one.lines if line.classifier == classifier]
    lags = np.concatenate([one.lags[classifier] for one in seen])
    noticed = lags[lags >= 0]
    means = {
        name: fmean(getattr(line, name) for line in lines)
        for name in ("switches_per_year", "mean_duration_bars", "calm_share", "balanced_share", "stress_share")
    }
    right = [line.accuracy for line in lines if line.accuracy is not None]
    return ClassifierLine(
        classifier=classifier,
        asset=lines[0].asset,
        refits=sum(line.refits for line in lines),
        refused=sum(line.refused for line in lines),
        **means,
        accuracy=fmean(right),
        worst_accuracy=min(right),
        held_accuracy=fmean(line.held_accuracy for line in lines if line.held_accuracy is not None),
        noticed=len(noticed) / len(lags) if len(lags) else None,
        median_lag_bars=float(np.median(noticed)) if len(noticed) else None,
    )


Summaries = dict[tuple[str, str], RunSummary]
"""By strategy and classifier"""


@dataclass(frozen=True, eq=False, slots=True)
class _Backtests:
    """Every strategy under every classifier."""

    summaries: Summaries
    tries: tuple[Try, ...]
    """those of the system: `regime only` is a comparison and no variant of it"""
    account: BacktestParams


def _backtests(settings: Settings, prepared: Sequence[Prepared], start_ms: int, end_ms: int) -> _Backtests:
    """Every strategy under every classifier, all assets in one account."""
    risk = settings.system.risk.without_breakers()
    system, account = replace(settings.system, risk=risk), BacktestParams(costs=settings.costs)
    # At most one times the equity, however many assets share it.
    exposures = RegimeOnlyParams(*(share / len(prepared) for share in (1.0, 0.5, 0.0)))
    summaries: Summaries = {}
    tries = []
    for mode in RegimeMode:
        assets = [one[mode] for one in prepared]
        whole = backtest_system(assets, system, account, start_ms=start_ms, end_ms=end_ms)
        markets, targets = [one.market for one in assets], [regime_only(one, exposures) for one in assets]
        alone = backtest(markets, targets, account, risk, start_ms=start_ms, end_ms=end_ms)
        summaries["system", mode.value] = summarise(whole)
        tries.append(tried(whole, markets, system, mode))
        summaries["regime only", mode.value] = summarise(alone)
    return _Backtests(summaries, tuple(tries), account)


def _account_lines(runs: Sequence[Summaries]) -> tuple[AccountLine, ...]:
    lines = []
    for strategy, classifier in sorted(runs[0]):
        summaries = [run[strategy, classifier] for run in runs]
        sharpes = [one.sharpe for one in summaries if one.sharpe is not None]
        lines.append(
            AccountLine(
                strategy=strategy,
                classifier=classifier,
                markets=len(summaries),
                total_return=fmean(one.total_return for one in summaries),
                sharpe=fmean(sharpes) if sharpes else None,
                max_drawdown=fmean(one.max_drawdown for one in summaries),
                trades=fmean(one.trades for one in summaries),
                costs=fmean((one.fees + (one.slippage or 0.0)) / one.start_equity for one in summaries),
            )
        )
    return tuple(lines)
