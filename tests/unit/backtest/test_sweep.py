"""A sweep gives each variant the run that it has alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shared.backtest.market import AssetMarket
from shared.backtest.metrics import daily_returns
from shared.backtest.params import BacktestParams
from shared.backtest.result import BacktestResult
from shared.backtest.sweep import returns_over, signals_over, sweep
from shared.backtest.system import PreparedAsset, backtest_system, prepare
from shared.backtest.venue_rules import symbol_spec
from shared.data.generated import generate_market
from shared.data.params import CurationParams
from shared.domain.asset import Asset
from shared.domain.errors import ConfigError
from shared.domain.interval import Interval, parse_date_ms
from shared.regime.params import RegimeParams
from shared.strategy.params import StrategyParams
from shared.trading.params import SystemParams

PARAMS = SystemParams(regime=RegimeParams(train_bars=700, burn_in_bars=200, restarts=1))
ACCOUNT = BacktestParams()
SYMBOLS = ("BTCUSDT", "ETHUSDT")


@pytest.fixture(scope="module")
def assets() -> tuple[PreparedAsset, ...]:
    made = generate_market(np.random.default_rng(3), list(SYMBOLS), Interval.H1, parse_date_ms("2025-04-01"), 2400)
    prepared = []
    for symbol in SYMBOLS:
        candles = made.history[symbol]
        spec = symbol_spec(symbol, float(candles.open[0]))
        prepared.append(prepare(AssetMarket(Asset("binanceusdm", symbol), candles, spec, made.funding[symbol]), PARAMS))
    return tuple(prepared)


def bounds(prepared: PreparedAsset) -> dict[str, int]:
    close_time = prepared.market.candles.close_time
    return {"start_ms": int(close_time[1600]), "end_ms": int(close_time[-1])}


def variant(**changes: object) -> SystemParams:
    return replace(PARAMS, strategy=replace(PARAMS.strategy, **changes))


VARIANTS = [
    PARAMS,
    variant(entry_threshold=0.2, full_score=0.4),
    variant(breakout_bars=24),
    variant(target_volatility=0.4),
    replace(PARAMS, risk=replace(PARAMS.risk, stress_multiplier=0.2)),
]


def same(one: BacktestResult, other: BacktestResult) -> bool:
    arrays = ("time_ms", "equity", "wallet", "exposure", "position", "funding", "halts")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)


def test_each_variant_has_the_run_that_it_has_alone(assets: tuple[PreparedAsset, ...]) -> None:
    told: list[tuple[int, int]] = []
    span = bounds(assets[0])
    runs = list(sweep(assets, VARIANTS, ACCOUNT, lambda run: run, **span, on_progress=lambda a, b: told.append((a, b))))
    assert told == [(done, len(VARIANTS)) for done in range(1, len(VARIANTS) + 1)]
    for params, run in zip(VARIANTS, runs, strict=True):
        assert same(run, backtest_system(assets, params, ACCOUNT, **span))
        assert run.identity_error < 1e-9
    assert len({run.equity[-1] for run in runs}) == len(VARIANTS)


def test_daily_returns_of_all_variants_stand_side_by_side(assets: tuple[PreparedAsset, ...]) -> None:
    span = bounds(assets[0])
    days, returns = returns_over(assets[:1], VARIANTS, ACCOUNT, **span)
    assert returns.shape == (len(days), len(VARIANTS))
    alone = daily_returns(backtest_system(assets[:1], VARIANTS[2], ACCOUNT, **span))
    assert np.array_equal(days, alone[0])
    assert np.array_equal(returns[:, 2], alone[1])


def test_no_variants_give_no_returns(assets: tuple[PreparedAsset, ...]) -> None:
    days, returns = returns_over(assets, [], ACCOUNT, **bounds(assets[0]))
    assert len(days) == 0
    assert returns.size == 0


@pytest.mark.parametrize(
    ("room", "changed"),
    [("curation", CurationParams(rsi_bars=20)), ("regime", replace(PARAMS.regime, enter_threshold=0.7))],
)
def test_a_variant_of_what_the_assets_were_prepared_with_is_refused(
    assets: tuple[PreparedAsset, ...], room: str, changed: object
) -> None:
    with pytest.raises(ConfigError, match=f"variant 1 changes {room}"):
        list(signals_over(assets, [PARAMS, replace(PARAMS, **{room: changed})]))


def test_assets_may_have_strategies_of_their_own(assets: tuple[PreparedAsset, ...]) -> None:
    span, own = bounds(assets[0]), StrategyParams(entry_threshold=0.15, exit_threshold=0.05)
    ether = assets[1].market.asset
    both = backtest_system(assets, PARAMS, ACCOUNT, **span, strategies={ether: own})
    alone = backtest_system(assets[1:], replace(PARAMS, strategy=own), ACCOUNT, **span)
    plain = backtest_system(assets, PARAMS, ACCOUNT, **span)
    assert not same(both, plain)
    first = int(np.argmax(alone.position[:, 0] != 0))
    assert both.position[first, 1] != 0
    assert both.assets == (assets[0].market.asset, ether)
