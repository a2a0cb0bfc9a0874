"""The whole strategy over a long history and sweeps of a hundred variants, beside the same strategy in numpy without a memo.

The 100 variants differ in entry and exit threshold, stop, target volatility, the trend hunter's share and weight, and two
look-backs (breakout channel and volatility), as a campaign's do. On the generated market, which has no edge to find, most of
their accounts lose a fifth and stop trading for good; so the sweep is measured without breakers too, where all trade on.
"""

from __future__ import annotations

import itertools
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from shared import speed
from shared.backtest.market import AssetMarket
from shared.backtest.memo import SignalMemo
from shared.backtest.metrics import daily_returns
from shared.backtest.params import BacktestParams
from shared.backtest.result import BacktestResult
from shared.backtest.sweep import returns_over
from shared.backtest.system import PreparedAsset, backtest_system, playbooks, prepare, signal_path
from shared.backtest.venue_rules import symbol_spec
from shared.data.curation import curate
from shared.data.generated import generate_market
from shared.domain.asset import Asset
from shared.domain.interval import Interval, parse_date_ms
from shared.regime.model import RegimeModel
from shared.regime.schedule import last_instant, refit, refit_instants
from shared.strategy.orchestrator import consensus
from shared.strategy.params import StrategyParams
from shared.trading.params import SystemParams

YEAR_OF_MINUTES = 525_600
TARGET_S = 0.25
TARGET_RATE = 60e6
PARAMS = SystemParams()
ACCOUNT = BacktestParams()


def quick(request: pytest.FixtureRequest, full: int, small: int) -> int:
    """The measured size, or a small one where benchmarks run once and unmeasured (`make test`)."""
    return small if request.config.getoption("benchmark_disable") else full


def market(bars: int, seed: int = 3, symbol: str = "BTCUSDT") -> AssetMarket:
    made = generate_market(np.random.default_rng(seed), [symbol], Interval.M15, parse_date_ms("2010-04-01"), bars)
    candles = made.history[symbol]
    return AssetMarket(Asset("binanceusdm", symbol), candles, symbol_spec(symbol, float(candles.open[0])), made.funding[symbol])


def weekly_models(made: AssetMarket) -> list[RegimeModel]:
    """A model for each week, all of one fit: how fast models are fitted is measured elsewhere."""
    instant, last_ms = last_instant(int(made.candles.close_time[6000]), PARAMS.regime), int(made.candles.close_time[-1])
    fitted = refit(curate(made.candles[:7000], PARAMS.curation), made.asset, instant, PARAMS.regime).model
    assert fitted is not None
    return [replace(fitted, valid_from_ms=week) for week in refit_instants(instant, last_ms, PARAMS.regime)]


def period(made: AssetMarket) -> tuple[int, int]:
    return int(made.candles.close_time[6200]), int(made.candles.close_time[-1])


def variants(count: int) -> list[SystemParams]:
    """`count` variants of the kind that a campaign tries, drawn from a grid of 288."""
    base = PARAMS.strategy
    hunters = [base.trend_hunter, replace(base.trend_hunter, share=1.5)]
    hunters.append(replace(base.trend_hunter, weights=replace(base.trend_hunter.weights, momentum=2.0)))
    grid = list(itertools.product((48, 96), (168, 240), hunters, (0.2, 0.25, 0.3), (0.08, 0.12), (2.0, 3.0), (0.15, 0.3)))
    chosen = [grid[place] for place in np.random.default_rng(0).permutation(len(grid))[:count]]
    names = ("breakout_bars", "volatility_long_bars", "trend_hunter", "entry_threshold", "exit_threshold", "stop_atr")
    fields = (*names, "target_volatility")
    return [replace(PARAMS, strategy=replace(base, **dict(zip(fields, values, strict=True)))) for values in chosen]


def whole(made: AssetMarket, models: Sequence[RegimeModel]) -> BacktestResult:
    """From candles to an account: curation, filter, alphas, agents, policy, costs."""
    start_ms, end_ms = period(made)
    return backtest_system([prepare(made, PARAMS, models=models)], PARAMS, ACCOUNT, start_ms=start_ms, end_ms=end_ms)


def plain_score(prepared: PreparedAsset, strategy: StrategyParams) -> np.ndarray:
    """The peer: the orchestrator's arrays for each playbook, nothing shared."""
    score = np.full(len(prepared.frame), np.nan)
    for place, params in enumerate(playbooks(strategy)):
        rows = prepared.held == place
        score[rows] = consensus(prepared.frame, prepared.probabilities, params).score[rows]
    return score


@pytest.fixture
def in_numpy(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, every function takes its numpy form."""

    def switch() -> None:
        monkeypatch.setattr(speed, "LONG_ROWS", 1 << 60)
        monkeypatch.setattr(speed, "SHORT_ROWS", 1 << 60)

    return switch


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def best_of(rounds: int, work: Callable[[], object]) -> float:
    return min(timed(work) for _ in range(rounds))


def test_the_whole_strategy_on_a_year_of_minutes(
    request: pytest.FixtureRequest,
    benchmark: BenchmarkFixture,
    median_s: Callable[[], float],
    at_least: Callable[[float, float], None],
    in_numpy: Callable[[], None],
) -> None:
    bars = quick(request, YEAR_OF_MINUTES, 20_000)
    made = market(bars)
    models = weekly_models(made)
    result = benchmark.pedantic(whole, args=(made, models), rounds=7, warmup_rounds=2)
    ours = signal_path(prepare(made, PARAMS, models=models), PARAMS.strategy, PARAMS.risk).score
    in_numpy()
    peer_s = best_of(3, lambda: plain_score(prepare(made, PARAMS, models=models), PARAMS.strategy))
    peer = plain_score(prepare(made, PARAMS, models=models), PARAMS.strategy)
    known = np.isfinite(ours)
    assert np.array_equal(ours[known], peer[known])
    assert result.identity_error < 1e-9
    ours_s = median_s()
    benchmark.extra_info |= {"bars": bars, "numpy_signals_s": peer_s, "target_s": TARGET_S}
    print(
        f"\nwhole strategy on {bars:,} bars: {ours_s:.3f} s (target {TARGET_S} s at {YEAR_OF_MINUTES:,}); "
        f"numpy without memo, signals only: {peer_s:.3f} s; ratio {peer_s / ours_s:.1f}"
    )
    at_least(peer_s, 4.2)


def test_a_sweep_of_a_hundred_variants(
    request: pytest.FixtureRequest,
    benchmark: BenchmarkFixture,
    median_s: Callable[[], float],
    at_least: Callable[[float, float], None],
    in_numpy: Callable[[], None],
) -> None:
    bars, count = quick(request, YEAR_OF_MINUTES, 20_000), quick(request, 100, 4)
    made = market(bars)
    prepared = prepare(made, PARAMS, models=weekly_models(made))
    start_ms, end_ms = period(made)
    chosen = variants(count)

    def sweep() -> tuple[np.ndarray, np.ndarray]:
        return returns_over([prepared], chosen, ACCOUNT, start_ms=start_ms, end_ms=end_ms, memo=SignalMemo())

    days, returns = benchmark.pedantic(sweep, rounds=3, warmup_rounds=1)
    assert returns.shape == (len(days), count)
    alone = backtest_system([prepared], chosen[-1], ACCOUNT, start_ms=start_ms, end_ms=end_ms)
    assert np.array_equal(daily_returns(alone)[1], returns[:, -1])
    unbroken = replace(PARAMS.risk, max_drawdown=0.99, pause_drawdowns=(), pause_hours=())
    trading = [replace(one, risk=unbroken) for one in chosen]
    trading_s = best_of(3, lambda: returns_over([prepared], trading, ACCOUNT, start_ms=start_ms, end_ms=end_ms))
    in_numpy()
    peer_s = count * best_of(3, lambda: plain_score(prepared, chosen[0].strategy))
    ours_s = median_s()
    rate, peer_rate = count * bars / ours_s, count * bars / peer_s
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    benchmark.extra_info |= {"bar_variants_per_s": rate, "peer_bar_variants_per_s": peer_rate, "peak_gib": peak_gib}
    print(
        f"\n{count} variants on {bars:,} bars: {ours_s:.2f} s, {rate / 1e6:.1f} M bar·variants/s "
        f"(target {TARGET_RATE / 1e6:.0f} M), "
        f"without breakers {count * bars / trading_s / 1e6:.1f} M; peak {peak_gib:.2f} GiB; "
        f"numpy without memo, signals only: {peer_rate / 1e6:.2f} M/s; ratio {rate / peer_rate:.0f}"
    )
    at_least(peer_s, 75)
    if benchmark.stats:
        assert peer_s / trading_s >= 65
        assert peak_gib <= 1.5


def test_scaling_over_bars_variants_and_assets(request: pytest.FixtureRequest, benchmark: BenchmarkFixture) -> None:
    largest = quick(request, YEAR_OF_MINUTES, 20_000)
    symbols = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    made = [market(largest, seed, symbol) for seed, symbol in enumerate(symbols, start=3)]
    models = [weekly_models(one) for one in made]
    rows = []
    for bars, count, assets in [
        (largest // 16, 10, 1),
        (largest // 4, 10, 1),
        (largest, 1, 1),
        (largest, 10, 1),
        (largest, 30, 1),
        (largest, 10, 2),
        (largest, 10, 3),
    ]:
        cut = [replace(one, candles=one.candles[:bars]) for one in made[:assets]]
        prepared = [prepare(one, PARAMS, models=weekly) for one, weekly in zip(cut, models, strict=False)]
        start_ms, end_ms = (int(cut[0].candles.close_time[row]) for row in (bars // 2, -1))
        chosen = variants(count)
        seconds = timed(lambda: returns_over(prepared, chosen, ACCOUNT, start_ms=start_ms, end_ms=end_ms))  # noqa: B023
        rows.append((bars, count, assets, seconds, bars * count * assets / seconds / 1e6))
    benchmark.extra_info["scaling"] = rows
    benchmark.pedantic(lambda: None, rounds=1)
    print("\n   bars  variants  assets  seconds  M bar·variants·assets/s")
    for bars, count, assets, seconds, rate in rows:
        print(f"{bars:8,} {count:8} {assets:7} {seconds:8.2f} {rate:10.1f}")
