"""Everything that a bar may ask is asked once before trading begins, on a generated market.

A process that has just started would meet its first bars with machine code that is not loaded, or on a new machine not even
compiled (`shared/compiled.py`): half a second at the first fit, or half a minute, in the loop that watches over positions. The
rehearsal takes that time before the lease is taken. It knows no book and no venue and leaves nothing behind but loaded code.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from shared.data.curation import curate
from shared.data.generated import generate_market
from shared.domain.asset import Asset
from shared.domain.interval import DAY_MS, Interval
from shared.regime.schedule import last_instant, refit
from shared.speed import numba_installed
from shared.trading.analysis import analyse, remembered
from shared.trading.params import SystemParams
from shared.trading.window import MarketWindow, empty_series

_SYMBOL = "BTCUSDT"
_BARS = 3
"""analysed after the fit: the first burns the filter in, the others take one step each"""
_TRAIN_BARS = 600


def rehearse(params: SystemParams, interval: Interval, seed: int = 7) -> None:
    """Fit and analyse once with `params` at `interval`. Nothing where numba is absent: there is nothing to compile then."""
    if not numba_installed():
        return
    short = replace(params, regime=replace(params.regime, train_bars=min(params.regime.train_bars, _TRAIN_BARS), restarts=1))
    bars = short.window_bars(interval) + _BARS
    begin_ms = 365 * DAY_MS
    market = generate_market(np.random.default_rng(seed), [_SYMBOL], interval, begin_ms, bars)
    candles, asset = market.history[_SYMBOL], Asset("generated", _SYMBOL)
    fitted = refit(
        curate(candles, short.curation), asset, last_instant(int(candles.close_time[-1]), short.regime), short.regime
    )
    model = fitted.model
    if model is None:
        return  # what it needs was loaded all the same
    memory = remembered(None)
    window = MarketWindow.empty(asset, interval, bars).extended(candles[:-_BARS], market.funding[_SYMBOL], empty_series())
    for row in range(len(candles) - _BARS, len(candles)):
        window = window.extended(candles[row : row + 1], empty_series(), empty_series())
        memory = analyse(window, int(candles.close_time[row]), model, memory, short).memory


if __name__ == "__main__":
    rehearse(SystemParams(), Interval.H1)
