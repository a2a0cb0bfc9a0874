"""Value at risk and expected shortfall of a return series, as losses: 0.03 is a loss of 3 % of the equity.

Historical VaR is the interpolated (type 7) quantile, CVaR the mean of what lies at or beyond it. Gaussian VaR is -(μ + z σ).
Cornish-Fisher corrects the quantile z for skewness S and excess kurtosis K, all moments with n:
z + (z² - 1) S/6 + (z³ - 3z) K/24 - (2z³ - 5z) S²/36 (Zangari 1996). It is a quantile only where it rises with every z, which
limits S and K (Maillard 2012, "A user's guide to the Cornish Fisher expansion"); outside, the historical number is given and
said so. Invariant: no number is NaN; what too little data cannot say is `None`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

import numpy as np

from shared.domain.candles import FloatArray
from shared.domain.errors import ConfigError, MalformedData

LEVELS = (0.95, 0.99)
"""Confidence levels that are reported."""
_STILL = 1e-14  # a deviation below this is rounding, not movement


class VarMethod(StrEnum):
    """How a value at risk was computed."""

    HISTORICAL = "historical"
    GAUSSIAN = "gaussian"
    CORNISH_FISHER = "cornish_fisher"


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments of a sample, all divided by n."""

    mean: float
    deviation: float
    skewness: float
    excess_kurtosis: float


@dataclass(frozen=True, slots=True)
class ValueAtRisk:
    """Losses at one confidence level over one period, as fractions; negative is a gain even there."""

    level: float
    observations: int
    historical: float
    gaussian: float
    cornish_fisher: float
    """equal to `historical` where `cornish_fisher_method` says so"""
    cornish_fisher_method: VarMethod
    cornish_fisher_note: str | None
    """why Cornish-Fisher could not be used; `None` where it was"""
    cvar: float
    """mean of the returns at or beyond the historical VaR"""


def least_observations(level: float) -> int:
    """Returns that a historical VaR at `level` needs: one of them is then expected beyond it."""
    return math.ceil(round(1 / (1 - level), 9))


def value_at_risk(returns: FloatArray, level: float) -> ValueAtRisk | None:
    """All forms at once for returns (n,), at a `level` in (0.5, 1); `None` for fewer than 1 / (1 - level) returns.

    Raises `ConfigError` for another level, `MalformedData` for returns that are not finite.
    """
    _check(returns, level)
    if len(returns) < least_observations(level):
        return None
    known = moments(returns)
    past = historical_var(returns, level)
    reason = domain_problem(known.skewness, known.excess_kurtosis)
    corrected = past if reason else cornish_fisher_var(known, level)
    return ValueAtRisk(
        level=level,
        observations=len(returns),
        historical=past,
        gaussian=gaussian_var(known, level),
        cornish_fisher=corrected,
        cornish_fisher_method=VarMethod.HISTORICAL if reason else VarMethod.CORNISH_FISHER,
        cornish_fisher_note=reason,
        cvar=conditional_var(returns, level),
    )


def moments(returns: FloatArray) -> Moments:
    """Moments of returns (n,), n > 0; skewness and excess kurtosis are 0 where nothing moves."""
    mean = float(np.mean(returns))
    apart = returns - mean
    deviation = math.sqrt(float(np.mean(apart**2)))
    if deviation <= _STILL:
        return Moments(mean, 0.0, 0.0, 0.0)
    scaled = apart / deviation
    return Moments(mean, deviation, float(np.mean(scaled**3)), float(np.mean(scaled**4)) - 3.0)


def historical_var(returns: FloatArray, level: float) -> float:
    """Loss at the type 7 quantile of 1 - `level` of returns (n,), n > 0 (Hyndman and Fan 1996; numpy's "linear")."""
    return -float(np.quantile(returns, 1.0 - level))


def conditional_var(returns: FloatArray, level: float) -> float:
    """Mean loss of the returns (n,) at or beyond the historical VaR: the expected shortfall."""
    threshold = np.quantile(returns, 1.0 - level)
    return -float(np.mean(returns[returns <= threshold]))


def gaussian_var(known: Moments, level: float) -> float:
    """Loss at the quantile of a normal distribution with these moments."""
    return -(known.mean + NormalDist().inv_cdf(1.0 - level) * known.deviation)


def cornish_fisher_var(known: Moments, level: float) -> float:
    """Loss at the Cornish-Fisher quantile. Meaningful only where `domain_problem` is `None`."""
    z = NormalDist().inv_cdf(1.0 - level)
    skewness, kurtosis = known.skewness, known.excess_kurtosis
    corrected = z + (z**2 - 1) * skewness / 6 + (z**3 - 3 * z) * kurtosis / 24 - (2 * z**3 - 5 * z) * skewness**2 / 36
    return -(known.mean + corrected * known.deviation)


def domain_problem(skewness: float, excess_kurtosis: float) -> str | None:
    """Why the Cornish-Fisher transformation is no quantile function for these moments; `None` where it is one.

    Its derivative in z is a parabola, which is nowhere negative exactly if
    27 K² - (216 + 66 S²) K + 40 S⁴ + 336 S² <= 0 (Maillard 2012, eq. 6): |S| <= 2.49, and for S = 0: 0 <= K <= 8.
    """
    square = skewness**2
    outside = 27 * excess_kurtosis**2 - (216 + 66 * square) * excess_kurtosis + 40 * square**2 + 336 * square
    if outside <= 0:
        return None
    return (
        f"skewness {skewness:.2f} with excess kurtosis {excess_kurtosis:.2f} is outside the monotone domain of Cornish-Fisher"
    )


def _check(returns: FloatArray, level: float) -> None:
    if not 0.5 < level < 1:
        raise ConfigError(f"the confidence level of a value at risk is {level}; expected one in (0.5, 1), e.g. 0.95")
    if not np.all(np.isfinite(returns)):
        raise MalformedData("a value at risk needs finite returns; leave out what is not known")
