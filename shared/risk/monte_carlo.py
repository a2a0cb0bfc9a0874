"""What the next year could look like if it is made of the same days as the past: a stationary block bootstrap of daily returns.

Politis and Romano (1994): a future is put together from blocks of consecutive past days with geometric lengths of mean L; the
past is a circle. Blocks keep what neighbouring days have in common (clustered volatility), the random lengths keep the
series stationary. It cannot show a day that is worse than every past one, and assumes that the strategy stays as good (or bad)
as it was: the fan says what chance alone can do to it. Seeded; the same generator gives the same futures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.domain.candles import FloatArray, IntArray
from shared.domain.errors import ConfigError, MalformedData, NotEnoughData
from shared.domain.interval import DAY_MS

FAN = (0.05, 0.25, 0.50, 0.75, 0.95)
"""Quantiles of the fan."""
LEAST_DAYS = 30
_CHUNK = 500  # paths at a time: bounds the memory


@dataclass(frozen=True, eq=False, slots=True)
class MonteCarlo:
    """Simulated futures of h days, starting from 1."""

    days: int
    """past days that they are made of"""
    mean_block_days: float
    fan: FloatArray
    """(len(FAN), h + 1) quantiles of the value on each day; column 0 is 1"""
    final_returns: FloatArray
    """(paths,) return after h days"""
    drawdowns: FloatArray
    """(paths,) largest drawdown on the way, from day ends"""

    @property
    def horizon_days(self) -> int:
        """Length of a future."""
        return int(self.fan.shape[1]) - 1

    def drawdown_probability(self, depth: float) -> float:
        """Share of futures whose drawdown is deeper than `depth`."""
        return float(np.mean(self.drawdowns > depth))

    def loss_probability(self) -> float:
        """Share of futures that end below where they started."""
        return float(np.mean(self.final_returns < 0))

    def final_quantiles(self) -> dict[str, float]:
        """Return after h days at the quantiles of the fan, by name (`5 %`)."""
        values = np.quantile(self.final_returns, FAN)
        return {f"{level * 100:g} %": float(value) for level, value in zip(FAN, values, strict=True)}


def simulate(
    returns: FloatArray, rng: np.random.Generator, *, paths: int, horizon_days: int, mean_block_days: float
) -> MonteCarlo:
    """Futures of `horizon_days` from past daily returns (d,).

    Raises `NotEnoughData` for fewer than 30 days, `MalformedData` for returns that are not finite or below -1.
    """
    if paths < 1 or horizon_days < 1 or mean_block_days < 1:
        raise ConfigError(f"found {paths} paths of {horizon_days} days in blocks of {mean_block_days}; expected 1 or more")
    if len(returns) < LEAST_DAYS:
        raise NotEnoughData(f"a simulation needs at least {LEAST_DAYS} daily returns, found {len(returns)}")
    if not np.all(np.isfinite(returns)) or np.any(returns < -1):
        raise MalformedData("a simulation needs finite daily returns of -1 or more")
    values = np.empty((paths, horizon_days + 1), dtype=np.float32)  # for quantiles: seven digits are plenty
    drawdowns = np.empty(paths)
    for start in range(0, paths, _CHUNK):
        rows = slice(start, min(start + _CHUNK, paths))
        drawn = returns[block_rows(len(returns), rows.stop - start, horizon_days, mean_block_days, rng)]
        grown = np.concatenate([np.ones((len(drawn), 1)), np.cumprod(1.0 + drawn, axis=1)], axis=1)
        values[rows] = grown
        drawdowns[rows] = np.max(1.0 - grown / np.maximum.accumulate(grown, axis=1), axis=1)
    fan = np.quantile(values, FAN, axis=0).astype(np.float64)
    return MonteCarlo(len(returns), mean_block_days, fan, values[:, -1].astype(np.float64) - 1.0, drawdowns)


def block_rows(count: int, paths: int, length: int, mean_block: float, rng: np.random.Generator) -> IntArray:
    """Rows (paths, length) in [0, count): blocks with geometric lengths of mean `mean_block` on a circle."""
    begins = rng.random((paths, length)) < 1.0 / mean_block
    begins[:, 0] = True
    starts = rng.integers(0, count, (paths, length))
    places = np.arange(length)
    begun = np.maximum.accumulate(np.where(begins, places, 0), axis=1)  # where the block of each day began
    rows: IntArray = (np.take_along_axis(starts, begun, axis=1) + places - begun) % count
    return rows


def fan_times(end_ms: int, horizon_days: int) -> IntArray:
    """Instants (h + 1,) of a fan that starts at `end_ms`."""
    return end_ms + DAY_MS * np.arange(horizon_days + 1, dtype=np.int64)
