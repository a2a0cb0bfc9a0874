"""Is one Sharpe ratio really higher than another one, or than zero?

Difference of two: Ledoit and Wolf (2008), studentised circular block bootstrap ("bootstrap", for decisions), HAC ("hac", fast),
Jobson-Korkie with Memmel's (2003) correction ("jkm", the i.i.d. normal reference). One: the Probabilistic Sharpe Ratio and
Minimum Track Record Length of Bailey and Lopez de Prado (2012). Than the luckiest of many tries: `deflation.py`. Sharpe ratios
are per day; 365 days make a year where a field says annual. Kurtosis is raw: 3 for the normal distribution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from shared.calibration.significance.hac import hac_standard_error
from shared.calibration.significance.returns import YEAR_ROOT, check_same_days, checked_returns, sharpe_ratio
from shared.domain.candles import FloatArray
from shared.domain.errors import MalformedData, NotEnoughData

Method = Literal["bootstrap", "hac", "jkm"]


@dataclass(frozen=True, slots=True)
class SharpeDifference:
    """What is known about the first Sharpe ratio minus the second. Per day, except `annual`."""

    method: str
    days: int
    first: float
    second: float
    difference: float
    annual: float
    """the difference, annualised"""
    standard_error: float
    minimum_effect: float
    """the difference, per day, that the one-sided test must exceed"""
    p_one_sided: float
    """of: the difference is at most `minimum_effect`"""
    p_two_sided: float
    """of: the difference is zero"""
    lower_bound: float
    """the difference exceeds this with the one-sided confidence 1 - `alpha`"""
    alpha: float
    block: int | None
    """length of the bootstrap blocks, days"""


def sharpe_difference(
    first: ArrayLike,
    second: ArrayLike,
    rng: np.random.Generator,
    *,
    method: Method = "bootstrap",
    minimum_effect: float = 0.0,
    alpha: float = 0.05,
    resamples: int = 10_000,
    block: int | None = None,
) -> SharpeDifference:
    """Test the Sharpe ratio of `first` (t,) against that of `second` (t,), paired by day.

    `minimum_effect` is per day. `block` in days: `None` calibrates it (`calibrated_block`). Each series is divided by its
    standard deviation before the bandwidth of the HAC estimate is chosen, so that neither units nor leverage change anything
    (the paper works in percent; `hac_standard_error` on percent returns gives its numbers). Only "bootstrap" draws from `rng`.

    Raises:
        MalformedData: not finite, constant, or not of the same days. NotEnoughData: fewer than 30 days.

    Source: Ledoit and Wolf (2008), sections 3.1, 3.2.2 and 2 (equations 3, 4); Memmel (2003).
    """
    a, b = checked_returns(first, "the first series"), checked_returns(second, "the second series")
    check_same_days(a, b, "the two series")
    pair = np.stack([a, b], axis=1)
    ratios = sharpe_ratio(pair)
    difference = float(ratios[0] - ratios[1])
    if np.allclose(a / a.std(), b / b.std(), rtol=0, atol=1e-12):
        return _identical(method, len(a), ratios, minimum_effect, alpha, block)
    error = _memmel_standard_error(pair) if method == "jkm" else hac_standard_error(pair / pair.std(axis=0))
    if not error > 0:
        raise MalformedData(
            "the difference of the two series has no variance; expected two strategies that differ on some days"
        )
    if method == "bootstrap":
        from shared.calibration.significance.block_size import calibrated_block
        from shared.calibration.significance.sharpe_bootstrap import studentised_differences

        block = checked_block(block, len(a)) if block is not None else calibrated_block(pair, rng, alpha=alpha)
        drawn = studentised_differences(pair, block, resamples, rng)
        above = _share_at_least(drawn, (difference - minimum_effect) / error)
        around = _share_at_least(np.abs(drawn), abs(difference) / error)
        quantile = float(np.quantile(drawn, 1 - alpha, method="higher"))
    else:
        above = _normal_tail((difference - minimum_effect) / error)
        around = 2 * _normal_tail(abs(difference) / error)
        quantile, block = _normal_quantile(1 - alpha), None
    return SharpeDifference(
        method,
        len(a),
        float(ratios[0]),
        float(ratios[1]),
        difference,
        difference * YEAR_ROOT,
        error,
        minimum_effect,
        above,
        around,
        difference - quantile * error,
        alpha,
        block,
    )


def checked_block(block: int, days: int) -> int:
    """`block` if at least three blocks fit into `days`, else an error: a bootstrap of fewer knows nothing of their spread."""
    if block < 1:
        raise MalformedData(f"a bootstrap block is {block} days long; expected at least 1")
    if days < 3 * block:
        raise NotEnoughData(f"{days} days hold fewer than three blocks of {block}; expected at least {3 * block} days")
    return block


def probabilistic_sharpe(returns: ArrayLike, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio exceeds `benchmark` (per day), given `returns` (t,).

    Φ((SR - benchmark) √(t - 1) / √(1 - γ3 SR + (γ4 - 1)/4 SR²)); Bailey and Lopez de Prado (2012), equation 4.
    """
    values = checked_returns(returns, "the series")
    ratio, skewness, kurtosis = _shape(values)
    return probabilistic_sharpe_of(ratio, benchmark, len(values), skewness, kurtosis)


def probabilistic_sharpe_of(ratio: float, benchmark: float, days: int, skewness: float, kurtosis: float) -> float:
    """`probabilistic_sharpe` of given moments; `kurtosis` raw."""
    return _normal_cdf((ratio - benchmark) * math.sqrt(days - 1) / math.sqrt(_shape_factor(ratio, skewness, kurtosis)))


def minimum_track_record(returns: ArrayLike, benchmark: float = 0.0, confidence: float = 0.95) -> float:
    """Days of such returns after which the Sharpe ratio exceeds `benchmark` (per day) with `confidence`; ∞ if it does not.

    1 + (1 - γ3 SR + (γ4 - 1)/4 SR²) (Φ⁻¹(confidence) / (SR - benchmark))²; Bailey and Lopez de Prado (2012), equation 11.
    """
    ratio, skewness, kurtosis = _shape(checked_returns(returns, "the series"))
    return minimum_track_record_of(ratio, benchmark, skewness, kurtosis, confidence)


def minimum_track_record_of(
    ratio: float, benchmark: float, skewness: float, kurtosis: float, confidence: float = 0.95
) -> float:
    """`minimum_track_record` of given moments, in periods of `ratio`; `kurtosis` raw."""
    if ratio <= benchmark:
        return math.inf
    return 1 + _shape_factor(ratio, skewness, kurtosis) * (_normal_quantile(confidence) / (ratio - benchmark)) ** 2


def _identical(
    method: str, days: int, ratios: FloatArray, minimum_effect: float, alpha: float, block: int | None
) -> SharpeDifference:
    """Two series that are the same but for leverage: nothing is better, and no test statistic exists."""
    first, second = float(ratios[0]), float(ratios[1])
    return SharpeDifference(method, days, first, second, 0.0, 0.0, 0.0, minimum_effect, 1.0, 1.0, 0.0, alpha, block)


def _memmel_standard_error(pair: FloatArray) -> float:
    """√(V/t), V = 2 - 2ρ + (SR1² + SR2² - 2 SR1 SR2 ρ²)/2: Memmel (2003)."""
    one, two = (float(ratio) for ratio in sharpe_ratio(pair))
    rho = float(np.asarray(np.corrcoef(pair.T))[0, 1])
    return math.sqrt(max(2 - 2 * rho + 0.5 * (one * one + two * two - 2 * one * two * rho * rho), 0.0) / len(pair))


def _shape(values: FloatArray) -> tuple[float, float, float]:
    """Sharpe ratio, skewness and raw kurtosis (both with n moments)."""
    centred = values - values.mean()
    second = float(np.mean(centred**2))
    skewness, kurtosis = float(np.mean(centred**3)) / second**1.5, float(np.mean(centred**4)) / second**2
    return float(sharpe_ratio(values)), skewness, kurtosis


def _shape_factor(ratio: float, skewness: float, kurtosis: float) -> float:
    """Variance of an estimated Sharpe ratio times the number of periods; positive for every real distribution."""
    factor = 1 - skewness * ratio + 0.25 * (kurtosis - 1) * ratio * ratio
    if not factor > 0:
        raise MalformedData(
            f"skewness {skewness} and raw kurtosis {kurtosis} belong to no distribution; expected raw kurtosis, 3 = normal"
        )
    return factor


def _share_at_least(drawn: FloatArray, found: float) -> float:
    """p-value of `found` among `drawn`, never 0: the sample itself is one of the draws (Ledoit and Wolf 2008, remark 3.2)."""
    return float((1 + np.count_nonzero(drawn >= found)) / (1 + len(drawn)))


def _normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _normal_tail(x: float) -> float:
    return 0.5 * math.erfc(x / math.sqrt(2))


def _normal_quantile(probability: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(probability))
