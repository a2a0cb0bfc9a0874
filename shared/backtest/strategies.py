"""Simple strategies to compare with: what a line of code would have earned under the same fills, costs and limits.

Each turns candles into a `TargetPath`. They act on an event (a cross, the start) and keep what they hold in between, so a
position is not resized as its value drifts, and after a stop they wait for the next event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.backtest.market import AssetMarket
from shared.backtest.signals import TargetPath
from shared.compiled import compiled
from shared.domain.candles import FloatArray
from shared.domain.errors import ConfigError

_REFRESH_BARS = 256  # rolling sums are added up afresh this often, so that rounding does not grow with the history


@dataclass(frozen=True, slots=True)
class SmaCrossParams:
    """Follow the crossing of two simple moving averages of the close."""

    fast: int = 20
    """bars of the fast average"""
    slow: int = 50
    """bars of the slow average"""
    exposure: float = 1.0
    """|notional| / equity of a position"""
    long_only: bool = False
    """a cross downwards closes the position instead of turning it"""
    stop: float = 0.05
    """distance of the stop from the close as a fraction; 0 is no stop"""

    def __post_init__(self) -> None:
        if not 1 <= self.fast < self.slow:
            raise ConfigError(f"sma-cross: fast {self.fast} and slow {self.slow}; expected 1 <= fast < slow")
        if not (0 < self.exposure < float("inf") and 0 <= self.stop < 1):
            raise ConfigError(
                f"sma-cross: exposure {self.exposure} and stop {self.stop}; expected a positive exposure and a stop in [0, 1)"
            )


@dataclass(frozen=True, slots=True)
class BuyAndHoldParams:
    """Buy at the first decision and keep it."""

    exposure: float = 1.0
    """notional / equity at the purchase"""

    def __post_init__(self) -> None:
        if not 0 < self.exposure < float("inf"):
            raise ConfigError(f"buy-and-hold: exposure is {self.exposure}; expected a positive number")


@dataclass(frozen=True, slots=True)
class SimpleStrategy:
    """A strategy by name."""

    name: str
    about: str
    """one line for people"""
    defaults: Any
    """its parameters: a frozen dataclass"""
    build: Callable[[AssetMarket, Any, int], TargetPath]

    def path(self, market: AssetMarket, params: Any = None, *, start_ms: int = 0) -> TargetPath:
        """The wanted position at each bar of the market. `start_ms` is when the backtest starts to decide."""
        return self.build(market, self.defaults if params is None else params, start_ms)


def sma_cross(market: AssetMarket, params: SmaCrossParams, start_ms: int = 0) -> TargetPath:
    """Long after the fast average rose above the slow one, short (or flat) after it fell below.

    The averages know all candles; `start_ms` changes nothing, and the first position waits for the first cross after it.
    """
    close = market.candles.close
    path = np.empty((2, len(close)))
    below = 0.0 if params.long_only else -params.exposure
    rows = np.ascontiguousarray(close)[:]
    rows.flags.writeable = False  # as candles out of files are: one compiled version serves all
    _crosses(rows, params.fast, params.slow, params.exposure, below, path[0])
    path[1] = params.stop
    return TargetPath(path[0], path[1])


def buy_and_hold(market: AssetMarket, params: BuyAndHoldParams, start_ms: int = 0) -> TargetPath:
    """The whole exposure at the first bar that closes at or after `start_ms`, then nothing."""
    candles = market.candles
    fraction = np.full(len(candles), np.nan)
    first = int(np.searchsorted(candles.close_time, start_ms))
    if first < len(fraction):
        fraction[first] = params.exposure
    return TargetPath(fraction, np.zeros(len(candles)))


@compiled
def _crosses(close: FloatArray, fast: int, slow: int, above: float, below: float, wanted: FloatArray) -> None:
    """Write into `wanted` (n,): `above` and `below` at the bars where the averages cross, NaN elsewhere.

    A cross is a strict change of side: averages that touch and part again on the same side have not crossed.
    """
    bars, first, side = len(close), slow - 1, 0
    wanted[:first] = np.nan
    while first < bars:
        end = min((first // _REFRESH_BARS + 1) * _REFRESH_BARS, bars)
        fast_sum, slow_sum = 0.0, 0.0
        for price in close[first - slow + 1 : first - fast + 1]:
            slow_sum += price
        for price in close[first - fast + 1 : first + 1]:
            slow_sum += price
            fast_sum += price
        # Views, because numba tests each place in an array for being negative.
        rows, newest = wanted[first:end], close[first:end]
        left_fast, left_slow = close[first - fast + 1 : end - fast], close[first - slow + 1 : end - slow]
        for k in range(end - first):
            if k > 0:
                fast_sum += newest[k] - left_fast[k - 1]
                slow_sum += newest[k] - left_slow[k - 1]
            difference = fast_sum * slow - slow_sum * fast
            now = 1 if difference > 0.0 else -1 if difference < 0.0 else side
            rows[k] = (above if now > 0 else below) if now != side and side != 0 else np.nan
            side = now
        first = end


STRATEGIES: Mapping[str, SimpleStrategy] = {
    strategy.name: strategy
    for strategy in (
        SimpleStrategy("sma-cross", "long and short on the cross of two moving averages", SmaCrossParams(), sma_cross),
        SimpleStrategy("buy-and-hold", "buy at the start and keep it", BuyAndHoldParams(), buy_and_hold),
    )
}
