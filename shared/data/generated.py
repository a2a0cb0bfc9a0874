"""A market with known truth: three hidden states, correlated assets, funding. For tests, and where no venue can be reached.

State s_t is a Markov chain (calm, balanced, stress; `REGIMES` order) shared by all assets. Per bar and asset
    r = μ_s Δ + σ_s √Δ (√ρ_s · M + √(1-ρ_s) · E),    M, E standardised Γ innovations with skewness γ_s,
    log volume = log V + ν_s + AR(1) noise + 0.25 |shock|,
with Δ in years. High and low follow the exact law of a Brownian bridge's extremes between open and close; a bar opens where
its predecessor closed. Funding settles every 8 hours and leans towards the recent return.
Invariant: the same generator and arguments give the same bits; truth never leaks into the candles other than through them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.data.generated_params import GeneratedParams
from shared.data.resample import resample
from shared.data.tables import Series, candles_to_bytes, series_to_bytes
from shared.domain.candles import Candles, FloatArray, IntArray
from shared.domain.errors import DataNotFound, UsageError
from shared.domain.interval import HOUR_MS, YEAR_MS, Interval
from shared.ports import Bucket

FUNDING_MS = 8 * HOUR_MS
# Orders of magnitude only, so that a report on generated data looks familiar; unknown symbols start at 100.
_START_PRICE = {"BTCUSDT": 60_000.0, "ETHUSDT": 3_000.0, "SOLUSDT": 150.0, "BNBUSDT": 600.0, "XRPUSDT": 0.6}
KNOWN_SYMBOLS = frozenset(_START_PRICE)
"""Symbols that are known to exist at a venue; the market of any other is made up altogether"""
_TURNOVER_PER_HOUR = 5e7
_NOISE_MEMORY = 0.6


@dataclass(frozen=True, eq=False)
class GeneratedMarket:
    """A generated market; as a `MarketData` it also serves coarser intervals. Not real data: label it wherever it appears."""

    interval: Interval
    history: dict[str, Candles]
    funding: dict[str, Series]
    states: IntArray
    """true state of each bar, shape (bars,): an index into `REGIMES`"""

    def symbols(self) -> tuple[str, ...]:
        """The symbols, in the order in which they were asked for."""
        return tuple(self.history)

    def intervals(self, symbol: str) -> tuple[Interval, ...]:
        """The interval that was generated; coarser ones are made from it on demand."""
        self._of(symbol, self.interval)
        return (self.interval,)

    def span(self, symbol: str, interval: Interval) -> tuple[int, int]:
        """Open time of the first bar and close time of the last one (ms)."""
        candles = self._of(symbol, interval)
        return int(candles.open_time[0]), int(candles.close_time[-1])

    async def candles(self, symbol: str, interval: Interval, start_ms: int, end_ms: int) -> Candles:
        """Bars that open in [start_ms, end_ms). Raises `DataNotFound` for an unknown symbol."""
        return self._of(symbol, interval).between(start_ms, end_ms)

    async def funding_rates(self, symbol: str, start_ms: int, end_ms: int) -> tuple[IntArray, FloatArray]:
        """Settlements in [start_ms, end_ms)."""
        self._of(symbol, self.interval)
        times, rates = self.funding[symbol]
        rows = slice(int(np.searchsorted(times, start_ms)), int(np.searchsorted(times, end_ms)))
        return times[rows], rates[rows]

    async def open_interest(self, symbol: str, start_ms: int, end_ms: int) -> tuple[IntArray, FloatArray]:
        """Empty: it is not modelled."""
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64)

    async def close(self) -> None:
        """Nothing to release."""

    def _of(self, symbol: str, interval: Interval) -> Candles:
        if symbol not in self.history:
            raise DataNotFound(f"the generated market has no {symbol}; it has {' '.join(self.history)}")
        return resample(self.history[symbol], interval)


def generate_market(
    rng: np.random.Generator,
    symbols: Sequence[str],
    interval: Interval,
    start_ms: int,
    bars: int,
    params: GeneratedParams | None = None,
) -> GeneratedMarket:
    """`bars` bars of each symbol from `start_ms` on. Raises `UsageError` for none, or a start off the grid."""
    if bars < 1 or not symbols or len(set(symbols)) != len(symbols) or not interval.is_open_time(start_ms):
        raise UsageError(
            f"cannot generate {bars} {interval} bars of {list(symbols)} from {start_ms}: expected some, on the grid"
        )
    params = params or GeneratedParams()
    states = state_path(rng, bars, params)
    times = start_ms + np.arange(bars, dtype=np.int64) * interval.ms
    factor = _innovations(rng, states, params)
    history, funding = {}, {}
    for symbol in symbols:
        own = _innovations(rng, states, params)
        weight = np.asarray(params.correlation)[states]
        shocks = np.sqrt(weight) * factor + np.sqrt(1 - weight) * own
        history[symbol] = _candles(rng, symbol, interval, times, states, shocks, params)
        funding[symbol] = _funding(rng, history[symbol])
    return GeneratedMarket(interval, history, funding, states)


def state_path(rng: np.random.Generator, bars: int, params: GeneratedParams) -> IntArray:
    """A path of the Markov chain from its stationary distribution, shape (bars,)."""
    transition = params.transition()
    cumulative = np.cumsum(transition, axis=1)
    draws = rng.random(bars)
    states = np.empty(bars, dtype=np.int64)
    state = _drawn(np.cumsum(params.stationary()), rng.random())
    for bar in range(bars):
        states[bar] = state
        state = _drawn(cumulative[state], float(draws[bar]))
    return states


def _drawn(cumulative: FloatArray, draw: float) -> int:
    """The state whose share of [0, 1) contains `draw`; the sum of the shares may miss 1 by float dust."""
    return min(int(np.searchsorted(cumulative, draw, side="right")), len(cumulative) - 1)


def write_market(market: GeneratedMarket, bucket: Bucket) -> None:
    """Store it in the form that `FileMarket` reads: `SYMBOL/INTERVAL.parquet` and `SYMBOL/funding.parquet`."""
    for symbol, candles in market.history.items():
        bucket.write(f"{symbol}/{candles.interval}.parquet", candles_to_bytes(candles))
        bucket.write(f"{symbol}/funding.parquet", series_to_bytes(market.funding[symbol], "funding_rate"))


def _innovations(rng: np.random.Generator, states: IntArray, params: GeneratedParams) -> FloatArray:
    """Standardised draws, skewed per state: ±(Γ(k) - k)/√k has mean 0, variance 1 and skewness ±2/√k."""
    skew = np.asarray(params.skewness)[states]
    shape = 4 / np.maximum(np.abs(skew), 0.02) ** 2
    drawn: FloatArray = np.where(skew < 0, -1.0, 1.0) * (rng.gamma(shape) - shape) / np.sqrt(shape)
    return drawn


def _candles(
    rng: np.random.Generator,
    symbol: str,
    interval: Interval,
    times: IntArray,
    states: IntArray,
    shocks: FloatArray,
    params: GeneratedParams,
) -> Candles:
    years = interval.ms / YEAR_MS
    sigma = np.asarray(params.volatility)[states] * np.sqrt(years)
    returns = np.asarray(params.drift)[states] * years + sigma * shocks
    start = _START_PRICE.get(symbol, 100.0)
    path = np.concatenate([[0.0], np.cumsum(returns)])
    before, after = path[:-1], path[1:]
    reach = -2 * sigma**2 * np.log(rng.random((2, len(times))))
    half = np.sqrt((after - before) ** 2 + reach) / 2
    middle = (before + after) / 2
    tick = 10.0 ** (np.floor(np.log10(start)) - 5)
    # Rounding is monotone, so the order of the four prices survives it; a price never falls below one tick.
    prices = [
        np.maximum(np.round(start * np.exp(log) / tick), 1) for log in (before, middle + half[0], middle - half[1], after)
    ]
    opens, highs, lows, closes = (np.round(ticks * tick, 10) for ticks in prices)
    volume = _volume(rng, interval, start, states, shocks, params)
    return Candles(interval, times, opens, _highest(highs, opens, closes), _lowest(lows, opens, closes), closes, volume)


def _highest(highs: FloatArray, opens: FloatArray, closes: FloatArray) -> FloatArray:
    """Float dust of √((b-a)²)/2 must not put a high below its open or close."""
    return np.maximum(highs, np.maximum(opens, closes))


def _lowest(lows: FloatArray, opens: FloatArray, closes: FloatArray) -> FloatArray:
    return np.minimum(lows, np.minimum(opens, closes))


def _volume(
    rng: np.random.Generator, interval: Interval, price: float, states: IntArray, shocks: FloatArray, params: GeneratedParams
) -> FloatArray:
    base = _TURNOVER_PER_HOUR * interval.ms / HOUR_MS / price
    noise = rng.normal(0.0, params.volume_noise * np.sqrt(1 - _NOISE_MEMORY**2), len(states))
    memory = _first_order(noise, _NOISE_MEMORY)
    level = np.asarray(params.volume_level)[states] + memory + 0.25 * np.abs(shocks)
    volume: FloatArray = np.round(base * np.exp(level), 3)
    return volume


def _first_order(noise: FloatArray, memory: float) -> FloatArray:
    """x_t = memory · x_{t-1} + noise_t."""
    values = np.empty_like(noise)
    level = 0.0
    for bar, shock in enumerate(noise):
        level = memory * level + float(shock)
        values[bar] = level
    return values


def _funding(rng: np.random.Generator, candles: Candles) -> Series:
    """0.01 % per 8 h, 0.02 % more for each 10 % of return over the last three days, noise; capped at ±0.75 %."""
    first = -(-int(candles.open_time[0]) // FUNDING_MS) * FUNDING_MS
    times = np.arange(first, int(candles.close_time[-1]) + 1, FUNDING_MS, dtype=np.int64)
    newest = np.searchsorted(candles.close_time, times, side="right") - 1
    earlier = np.searchsorted(candles.close_time, times - 9 * FUNDING_MS, side="right") - 1
    log_close = np.log(candles.close)
    leaning = np.where(newest >= 0, log_close[np.maximum(newest, 0)] - log_close[np.maximum(earlier, 0)], 0.0)
    rates = 1e-4 + 0.002 * leaning + rng.normal(0.0, 3e-5, len(times))
    return times, np.asarray(np.round(np.clip(rates, -0.0075, 0.0075), 8), dtype=np.float64)
