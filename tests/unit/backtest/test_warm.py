"""What was compiled ahead is what a long run needs: a user waits for nothing twice."""

from __future__ import annotations

import numpy as np

from shared.backtest import consensus_compiled
from shared.backtest.kernel import simulate
from shared.backtest.market import AssetMarket
from shared.backtest.params import BacktestParams
from shared.backtest.system import RegimeMode, backtest_system, prepare
from shared.backtest.venue_rules import symbol_spec
from shared.backtest.warm import warm_up
from shared.data import rolling_compiled
from shared.data.generated import generate_market
from shared.domain.asset import Asset
from shared.domain.interval import Interval, parse_date_ms
from shared.speed import LONG_ROWS
from shared.strategy import series_compiled
from shared.strategy.alphas import order_blocks_compiled
from shared.trading.params import SystemParams

MODULES = (consensus_compiled, rolling_compiled, series_compiled, order_blocks_compiled)


def forms() -> dict[str, int]:
    """Compiled forms of every function, by name."""
    functions = {name: value for module in MODULES for name, value in vars(module).items() if hasattr(value, "signatures")}
    return {name: len(function.signatures) for name, function in (functions | {"simulate": simulate}).items()}


def test_a_long_run_compiles_nothing_that_was_not_compiled_ahead() -> None:
    warm_up()
    ready = forms()
    assert all(ready.values())
    made = generate_market(np.random.default_rng(1), ["BTCUSDT"], Interval.M15, parse_date_ms("2024-01-01"), LONG_ROWS + 1000)
    candles = made.history["BTCUSDT"]
    spec = symbol_spec("BTCUSDT", float(candles.open[0]))
    market = AssetMarket(Asset("binanceusdm", "BTCUSDT"), candles, spec, made.funding["BTCUSDT"])
    prepared = prepare(market, SystemParams(), mode=RegimeMode.OFF)
    span = {"start_ms": int(candles.close_time[2000]), "end_ms": int(candles.close_time[-1])}
    backtest_system([prepared], SystemParams(), BacktestParams(), **span)
    assert forms() == ready
