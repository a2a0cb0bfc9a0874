"""How far a Sharpe ratio and a volatility may stray by chance: moments of daily returns and the standard errors that follow.

Sharpe: Var(SR) = (1 - γ3 SR + (γ4 - 1)/4 SR²) / (n - 1) (Mertens 2002, as in Bailey and Lopez de Prado 2012; Lo 2002 where
γ3 = 0, γ4 = 3). Volatility: Var(ln s²) = v / n with v = Σ_k (1 - |k|/m) cov(z²_t, z²_{t+k}), |k| < m: m times the variance of
the mean of m consecutive z², so that clustered volatility counts (Bartlett weights; Newey and West 1987). Ratios are per day.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from shared.domain.candles import FloatArray

DAYS_PER_YEAR = 365.0
YEAR_ROOT = math.sqrt(DAYS_PER_YEAR)

_STILL = 1e-14  # a deviation of returns below this is rounding, not movement
_NORMAL = 2.0  # variance of z² of a normal variable: daily returns are never less dispersed


@dataclass(frozen=True, eq=False, slots=True)
class Moments:
    """Moments of the last axis of (..., n) returns, (...) each; NaN where the returns do not move."""

    days: int
    mean: FloatArray
    deviation: FloatArray
    """with n - 1"""
    skewness: FloatArray
    """γ3, with n"""
    kurtosis: FloatArray
    """γ4, with n; 3 for a normal variable"""

    @property
    def sharpe(self) -> FloatArray:
        """Mean / deviation, per day."""
        return np.asarray(self.mean / self.deviation)


def moments(returns: FloatArray) -> Moments:
    """Moments over the last axis of `returns` (..., n), n >= 2, finite."""
    days = returns.shape[-1]
    mean = returns.mean(axis=-1)
    centred = returns - mean[..., None]
    square = centred * centred
    variance = square.mean(axis=-1)
    moving = np.where(variance > _STILL**2, variance, np.nan)
    return Moments(
        days,
        mean,
        np.sqrt(moving * (days / (days - 1))),
        np.asarray((square * centred).mean(axis=-1) / moving**1.5),
        np.asarray((square * square).mean(axis=-1) / moving**2),
    )


def sharpe_error(sharpe: FloatArray, skewness: FloatArray, kurtosis: FloatArray, days: int) -> FloatArray:
    """Standard error of a per-day Sharpe ratio from `days` returns; shapes broadcast."""
    variance = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    return np.asarray(np.sqrt(np.maximum(variance, 0.0) / (days - 1)))


def sharpe_difference_error(
    sharpe: FloatArray, skewness: FloatArray, kurtosis: FloatArray, days: int, baseline_days: int
) -> FloatArray:
    """Standard error of the Sharpe ratio of `days` returns minus that of `baseline_days`, where nothing has changed.

    Both have the baseline's `sharpe`, `skewness` and `kurtosis` then: four moments of thirty returns say little, and in a bad
    month they are themselves bad (measured: with the window's own moments, heavy tails triple the false alarms).
    """
    window = sharpe_error(sharpe, skewness, kurtosis, days)
    return np.asarray(np.hypot(window, sharpe_error(sharpe, skewness, kurtosis, baseline_days)))


def clustering(returns: FloatArray, window: int) -> FloatArray:
    """v of the module's formula over the last axis of `returns` (..., n), for means of `window` days; at least 2.

    2 is the variance of z² of independent normal returns; heavy tails and clustered volatility make it larger.
    """
    centred = returns - returns.mean(axis=-1, keepdims=True)
    squares = centred * centred
    scaled = squares / squares.mean(axis=-1, keepdims=True) - 1.0
    days = returns.shape[-1]
    total = (scaled * scaled).mean(axis=-1)
    for lag in range(1, min(window, days)):
        total = total + 2.0 * (1.0 - lag / window) * (scaled[..., lag:] * scaled[..., :-lag]).sum(axis=-1) / days
    return np.asarray(np.maximum(total, _NORMAL))


def log_variance_error(v: FloatArray, days: int, baseline_days: int) -> FloatArray:
    """Standard error of ln(s² / s²_baseline) from `days` and `baseline_days` returns whose squares have the variance `v`."""
    return np.asarray(np.sqrt(v * (1.0 / days + 1.0 / baseline_days)))
