"""Compile every kernel now, so that nobody waits for it later: `warm_up()`, or `python -m shared.backtest.warm`.

A small generated market goes once through everything that research compiles, with the argument types of a real run: curation,
both regime classifiers, alphas and agents, signals and targets, the account. the code is kept on disk (`shared/compiled.py`).
"""

from __future__ import annotations

import numpy as np

from shared.backtest.engine import backtest
from shared.backtest.market import AssetMarket
from shared.backtest.params import BacktestParams
from shared.backtest.strategies import STRATEGIES
from shared.backtest.system import RegimeMode, backtest_system, prepare
from shared.backtest.venue_rules import symbol_spec
from shared.data.generated import generate_market
from shared.domain.asset import Asset
from shared.domain.interval import HOUR_MS, Interval
from shared.regime.params import RegimeParams
from shared.risk.params import RiskParams
from shared.trading.params import SystemParams

_SYMBOL = "BTCUSDT"
_TRADED_BARS, _WARMUP_BARS = 4096, 1000


def warm_up(seed: int = 7) -> None:
    """Run everything once on a generated market that is just long enough for the compiled forms to be taken."""
    bars = _TRADED_BARS + _WARMUP_BARS
    market = _market(bars, seed)
    start_ms, end_ms = _WARMUP_BARS * HOUR_MS, bars * HOUR_MS
    account, risk = BacktestParams(), RiskParams()
    for strategy in STRATEGIES.values():
        path = strategy.path(market, start_ms=start_ms)
        backtest([market], [path], account, risk, start_ms=start_ms, end_ms=end_ms, label="warm")
    # Few refits: what is compiled is the same for one as for many.
    params = SystemParams(regime=RegimeParams(train_bars=2000, refit_days=56, restarts=1))
    for mode in (RegimeMode.HMM, RegimeMode.JUMP):
        prepared = prepare(market, params, mode=mode)
        backtest_system([prepared], params, account, start_ms=start_ms, end_ms=end_ms, label="warm")


def _market(bars: int, seed: int) -> AssetMarket:
    made = generate_market(np.random.default_rng(seed), (_SYMBOL,), Interval.H1, 0, bars)
    candles = made.history[_SYMBOL]
    stamps = np.arange(0, bars * HOUR_MS, 8 * HOUR_MS, dtype=np.int64)
    funding = (stamps, np.full(len(stamps), 1e-4))
    return AssetMarket(Asset("generated", _SYMBOL), candles, symbol_spec(_SYMBOL, float(candles.open[0])), funding)


if __name__ == "__main__":
    warm_up()
