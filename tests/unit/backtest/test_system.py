"""The system over a history is the live system, bar by bar; and no bar knows the next one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from shared.backtest.market import AssetMarket
from shared.backtest.system import (
    PreparedAsset,
    RegimeMode,
    RegimeOnlyParams,
    fitted_models,
    playbooks,
    prepare,
    regime_only,
    signal_path,
)
from shared.backtest.venue_rules import symbol_spec
from shared.data.generated import generate_market
from shared.domain.asset import Asset
from shared.domain.candles import Candles
from shared.domain.interval import Interval, parse_date_ms
from shared.domain.regime import REGIMES, Regime
from shared.regime.params import RegimeParams
from shared.risk.allocation import size_multiplier
from shared.strategy.orchestrator import consensus
from shared.trading.analysis import Analysis, analyse, remembered
from shared.trading.params import SystemParams
from shared.trading.window import MarketWindow, Series, empty_series

ASSET = Asset("binanceusdm", "BTCUSDT")
PARAMS = SystemParams(regime=RegimeParams(train_bars=700, burn_in_bars=200, restarts=1))


def market_of(candles: Candles, funding: Series | None = None) -> AssetMarket:
    return AssetMarket(ASSET, candles, symbol_spec("BTCUSDT", float(candles.open[0])), funding)


@dataclass(frozen=True)
class History:
    market: AssetMarket
    prepared: PreparedAsset

    def live(self, first: int, last: int) -> list[Analysis]:
        """What a session that starts at row `first` sees until `last`, with the models in force on each bar."""
        candles, path = self.market.candles, self.prepared.path
        times, rates = self.market.funding or empty_series()
        window = MarketWindow.empty(ASSET, candles.interval, PARAMS.window_bars(candles.interval))
        memory, seen, newest = remembered(None), [], -(2**62)
        for row in range(first, last + 1):
            close_ms = int(candles.close_time[row])
            fresh = (times > newest) & (times <= close_ms)
            bars = candles[: row + 1] if row == first else candles[row : row + 1]
            window, newest = window.extended(bars, (times[fresh], rates[fresh]), empty_series()), close_ms
            assert path is not None
            model = path.models[path.model_index[row]]
            seen.append(analyse(window, close_ms, model, memory, PARAMS))  # type: ignore[arg-type]
            memory = seen[-1].memory
        return seen


@pytest.fixture(scope="module")
def generated() -> History:
    made = generate_market(np.random.default_rng(3), ["BTCUSDT"], Interval.H1, parse_date_ms("2025-04-01"), 2600)
    market = market_of(made.history["BTCUSDT"], made.funding["BTCUSDT"])
    return History(market, prepare(market, PARAMS))


@pytest.fixture(scope="module")
def real(real_candles: Callable[..., Candles], real_funding: Callable[[str], Series]) -> History:
    market = market_of(real_candles("binance_usdm/BTCUSDT/1h", slice(-2600, None)), real_funding("BTCUSDT"))
    return History(market, prepare(market, PARAMS))


def assert_live_equal(history: History, first: int, last: int) -> None:
    models = history.prepared.path.models if history.prepared.path else ()
    start_ms = int(history.market.candles.close_time[first])
    prepared = prepare(history.market, PARAMS, models=models, held_from_ms=start_ms)
    signals = signal_path(prepared, PARAMS.strategy, PARAMS.risk)
    seen = history.live(first, last)
    assert len({analysis.model_id for analysis in seen}) > 1, "the run crosses a refit"
    assert len({analysis.regime for analysis in seen}) > 1, "and a change of regime"
    for row, analysis in enumerate(seen, start=first):
        assert analysis.score == pytest.approx(signals.score[row], abs=1e-9)
        assert analysis.volatility == pytest.approx(signals.volatility[row], rel=1e-9)
        assert analysis.atr_fraction == pytest.approx(signals.atr_fraction[row], rel=1e-9)
        assert analysis.strategy.policy == signals.policies[signals.policy_index[row]]
        assert analysis.frozen != signals.tradable[row]
        multiplier = size_multiplier(analysis.probabilities, PARAMS.risk)
        assert multiplier == pytest.approx(signals.size_multiplier[row], abs=1e-9)


def test_every_bar_of_a_generated_market_is_what_the_live_session_decides_from(generated: History) -> None:
    assert_live_equal(generated, 1900, 2150)


def test_every_bar_of_real_candles_is_what_the_live_session_decides_from(real: History) -> None:
    assert_live_equal(real, 1800, 2100)


def test_scores_are_the_consensus_under_the_playbook_of_the_held_regime_to_the_bit(generated: History) -> None:
    prepared = generated.prepared
    score = signal_path(prepared, PARAMS.strategy, PARAMS.risk).score
    for place, params in enumerate(playbooks(PARAMS.strategy)):
        rows = np.isfinite(score) & (prepared.held == place)
        assert rows.any()
        assert np.array_equal(score[rows], consensus(prepared.frame, prepared.probabilities, params).score[rows])
    known = np.flatnonzero(np.isfinite(score))
    assert known[0] >= PARAMS.decision_bars - 1
    assert len(known) == len(score) - known[0]


def test_cutting_off_the_future_changes_nothing_across_refits(generated: History) -> None:
    whole = signal_path(generated.prepared, PARAMS.strategy, PARAMS.risk)
    for end in (1750, 2000, 2333):
        times, rates = generated.market.funding or empty_series()
        past = times <= int(generated.market.candles.close_time[end - 1])
        market = replace(generated.market, candles=generated.market.candles[:end], funding=(times[past], rates[past]))
        part = signal_path(prepare(market, PARAMS), PARAMS.strategy, PARAMS.risk)
        for name in ("score", "volatility", "atr_fraction", "size_multiplier", "policy_index", "tradable"):
            assert np.array_equal(getattr(part, name), getattr(whole, name)[:end], equal_nan=True), name


def test_without_a_regime_every_bar_is_balanced(generated: History) -> None:
    prepared = prepare(generated.market, PARAMS, mode=RegimeMode.OFF)
    signals = signal_path(prepared, PARAMS.strategy, PARAMS.risk)
    assert prepared.path is None
    assert set(prepared.held) == {REGIMES.index(Regime.BALANCED)}
    assert set(signals.size_multiplier) == {PARAMS.risk.balanced_multiplier}
    balanced = np.tile([0.0, 1.0, 0.0], (len(prepared.frame), 1))
    expected = consensus(prepared.frame, balanced, playbooks(PARAMS.strategy)[1]).score
    known = np.isfinite(signals.score)
    assert np.array_equal(signals.score[known], expected[known])
    assert known.sum() > 1000


def test_the_jump_model_stands_behind_the_same_interface(generated: History) -> None:
    prepared = prepare(generated.market, PARAMS, mode=RegimeMode.JUMP)
    assert prepared.path is not None
    assert len(prepared.path.models) > 2
    known = prepared.held >= 0
    assert np.allclose(prepared.probabilities[known].sum(axis=1), 1.0)
    assert np.isfinite(signal_path(prepared, PARAMS.strategy, PARAMS.risk).score).sum() > 1000


def test_progress_tells_of_every_refit(generated: History) -> None:
    told: list[tuple[int, int]] = []
    models = fitted_models(generated.prepared.frame, ASSET, PARAMS, on_progress=lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert told[-1][1] == len(told) >= len(models) > 2


def test_a_frozen_market_is_not_tradable(walk: Callable[..., Candles]) -> None:
    candles = walk(1, 1600, frozen=slice(1500, 1520))
    prepared = prepare(market_of(candles), PARAMS, mode=RegimeMode.OFF)
    assert np.flatnonzero(~prepared.tradable).tolist() == list(range(1502, 1520))


@pytest.mark.parametrize("bars", [0, 1, 2, 50])
def test_too_few_bars_give_no_score_and_no_error(walk: Callable[..., Candles], bars: int) -> None:
    prepared = prepare(replace(market_of(walk(1, 60)), candles=walk(1, 60)[:bars]), PARAMS)
    signals = signal_path(prepared, PARAMS.strategy, PARAMS.risk)
    assert len(signals.score) == bars
    assert not np.isfinite(signals.score).any()
    assert (prepared.held == -1).all()


def test_regime_only_is_long_by_the_held_regime(generated: History) -> None:
    target = regime_only(generated.prepared, RegimeOnlyParams(calm=0.9, balanced=0.4, stress=0.0))
    wanted, holding = {0: 0.9, 1: 0.4, 2: 0.0}, np.nan
    for fraction, held in zip(target.fraction.tolist(), generated.prepared.held.tolist(), strict=True):
        holding = holding if np.isnan(fraction) else fraction
        assert holding == wanted[held] if held >= 0 else np.isnan(holding)
    trades = np.isfinite(target.fraction).sum()
    assert 3 < trades < 200
    start_ms = int(generated.prepared.frame.close_time[2000])
    late = regime_only(generated.prepared, start_ms=start_ms)
    assert np.flatnonzero(np.isfinite(late.fraction))[0] == 2000
