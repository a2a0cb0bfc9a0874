"""Simple strategies: the same trades as backtesting.py, and no look at the future."""

from __future__ import annotations

import numpy as np
import pytest
from engine_inputs import START_MS, flat_bars, market, random_candles, run
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.backtest.params import BacktestParams, CostParams
from shared.backtest.strategies import STRATEGIES, BuyAndHoldParams, SmaCrossParams
from shared.domain.errors import ConfigError
from shared.domain.interval import HOUR_MS


def test_a_cross_turns_the_position_and_in_between_nothing_is_wanted() -> None:
    candles = flat_bars(*[100.0] * 5, *[90.0] * 6, *[110.0] * 6)
    path = STRATEGIES["sma-cross"].path(market(candles), SmaCrossParams(fast=2, slow=4, exposure=0.5))
    wanted = {k: value for k, value in enumerate(path.fraction.tolist()) if value == value}
    assert wanted == {10: 0.5}  # the first difference of the averages is no cross, the rise to 110 is one
    assert path.stop_distance.tolist() == [0.05] * len(candles)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 40))
def test_crosses_are_those_of_the_plain_averages_and_know_no_future(seed: int, fast: int, more: int) -> None:
    candles = random_candles(np.random.default_rng(seed), 900, 0.01, 100.0, 0.0)
    slow = fast + more
    path = STRATEGIES["sma-cross"].path(market(candles), SmaCrossParams(fast=fast, slow=slow)).fraction
    means = [np.convolve(candles.close, np.full(k, 1 / k), "valid")[-(len(candles) - slow + 1) :] for k in (fast, slow)]
    side = np.sign(np.round(means[0] - means[1], 9))
    expected = np.full(len(candles), np.nan)
    changed = np.flatnonzero((side[1:] != side[:-1]) & (side[:-1] != 0)) + 1
    expected[changed + slow - 1] = side[changed]
    if (side != 0).all():
        np.testing.assert_array_equal(path, expected)
    shorter = STRATEGIES["sma-cross"].path(market(candles[:600]), SmaCrossParams(fast=fast, slow=slow)).fraction
    np.testing.assert_array_equal(shorter, path[:600])


def test_long_only_goes_flat() -> None:
    candles = random_candles(np.random.default_rng(5), 400, 0.01, 100.0, 0.0)
    path = STRATEGIES["sma-cross"].path(market(candles), SmaCrossParams(long_only=True)).fraction
    assert set(path[np.isfinite(path)].tolist()) == {0.0, 1.0}


def test_buy_and_hold_buys_once_at_the_start() -> None:
    candles = flat_bars(100, 100, 110, 121, 121)
    start = START_MS + 2 * HOUR_MS
    path = STRATEGIES["buy-and-hold"].path(market(candles), start_ms=start)
    assert np.flatnonzero(np.isfinite(path.fraction)).tolist() == [1]
    free = CostParams(taker_fee_bps=0, half_spread_bps=0, impact_bps=0)
    result = run(market(candles), path, BacktestParams(costs=free), start_ms=start)
    assert result.equity[-1] == pytest.approx(10_000 * 1.1, rel=1e-3)
    assert len(result.fills.price) == 1


@pytest.mark.parametrize("wrong", [{"fast": 50}, {"fast": 0}, {"stop": 1.0}, {"exposure": 0.0}])
def test_contradictory_parameters_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="sma-cross"):
        SmaCrossParams(**wrong)
    with pytest.raises(ConfigError, match="buy-and-hold"):
        BuyAndHoldParams(exposure=-1.0)


def test_the_same_trades_as_backtesting_py() -> None:
    """backtesting.py 0.6: `trade_on_close=False` (next open), `exclusive_orders=True` (a new order closes the old position),
    `size` below 1 is a fraction of equity, commission per side, a stop given at the cross's close and checked inside the bars.
    """
    backtesting = pytest.importorskip("backtesting", reason="the peer of this test is optional: pip install backtesting")
    pandas = pytest.importorskip("pandas")
    candles = random_candles(np.random.default_rng(11), 6_000, 0.004, 60_000.0, 0.0)
    asset = market(candles)
    path = STRATEGIES["sma-cross"].path(asset, SmaCrossParams(stop=0.02, exposure=0.5))
    free = CostParams(half_spread_bps=0, impact_bps=0, stop_slippage_bps=0)
    ours = run(asset, path, BacktestParams(capital=1e7, leverage=3, costs=free)).trades

    class Cross(backtesting.Strategy):  # type: ignore[misc, name-defined]
        def init(self) -> None:
            self.wanted = self.I(lambda: np.nan_to_num(path.fraction))  # leading NaN would delay its first bar

        def next(self) -> None:
            price, wanted = self.data.Close[-1], self.wanted[-1]
            if wanted > 0:
                self.buy(size=0.5, sl=price * 0.98)
            elif wanted < 0:
                self.sell(size=0.5, sl=price * 1.02)

    index = pandas.to_datetime(candles.open_time, unit="ms")
    columns = {name.title(): getattr(candles, name) for name in ("open", "high", "low", "close", "volume")}
    peer = backtesting.Backtest(
        pandas.DataFrame(columns, index=index), Cross, cash=1e7, commission=5e-4, margin=1 / 3, exclusive_orders=True
    )
    theirs = peer.run()["_trades"]
    entries = candles.open_time[theirs.EntryBar.to_numpy()].tolist()
    n = len(ours.opened_ms)
    assert n > 50
    assert ours.opened_ms.tolist() == entries[:n]
    bar_of_exit = (ours.closed_ms // HOUR_MS * HOUR_MS).tolist()
    assert bar_of_exit == candles.open_time[theirs.ExitBar.to_numpy()].tolist()[:n]
    assert ours.side.tolist() == np.sign(theirs.Size.to_numpy()).tolist()[:n]
