"""Is the best of many candidates better than the benchmark, given that the best was looked for? And which of them are?

SPA: Hansen (2005), studentised. d_k = candidate k - benchmark, T = max(0, max_k √t d̄_k / ω_k); its null distribution by the
stationary bootstrap of Politis and Romano (1994), recentred by 0-or-d̄_k as in section 3.2: lower, consistent, upper.
StepM: Romano and Wolf (2005), stepping down through the same resamples, with the consistent recentring (Hsu, Hsu, Kuan 2010).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from shared.calibration.significance.resampling import advance, below, default_block, mix, new_seed, spread, stream, unit
from shared.calibration.significance.returns import check_same_days, checked_panel, finite_returns
from shared.calibration.significance.sharpe import checked_block
from shared.compiled import compiled
from shared.domain.candles import BoolArray, FloatArray

_ROUNDING = 1e-10
"""long-run standard deviation of a difference, in those of the series themselves, that is rounding and no difference"""


@dataclass(frozen=True, slots=True)
class SuperiorAbility:
    """Result of the SPA test over m candidates."""

    statistic: float
    """T: 0 where no candidate has a higher mean than the benchmark"""
    best: int
    """candidate with the largest studentised mean"""
    p_lower: float
    p_consistent: float
    """the one to decide by"""
    p_upper: float
    """of White's (2000) reality check, studentised"""
    block: int
    resamples: int


@dataclass(frozen=True, slots=True)
class Stepwise:
    """Result of the stepwise test over m candidates."""

    superior: tuple[int, ...]
    """candidates that beat the benchmark; the chance that any of them does not is at most alpha"""
    p_values: FloatArray
    """adjusted p-value of each candidate, (m,)"""
    alpha: float


@dataclass(frozen=True, slots=True)
class CandidateBootstrap:
    """Means of the differences d (t, m), their long-run standard deviations, and means of their resamples."""

    days: int
    mean: FloatArray
    """(m,)"""
    deviation: FloatArray
    """ω (m,); 1 where the test is not studentised"""
    resampled: FloatArray
    """(resamples, m)"""
    threshold: FloatArray
    """means below this (m,) are too bad to matter: -√(ω² / t · 2 log log t)"""
    block: int


def superior_predictive_ability(
    candidates: ArrayLike,
    benchmark: ArrayLike,
    rng: np.random.Generator,
    *,
    resamples: int = 4_000,
    block: int | None = None,
    studentize: bool = True,
) -> SuperiorAbility:
    """SPA test of `candidates` (t, m) against `benchmark` (t,): both larger-is-better, e.g. daily returns.

    `block`: mean block length in days (default: √t). Raises `MalformedData` and `NotEnoughData` as `checked_panel` does.
    """
    drawn = bootstrap_candidates(candidates, benchmark, rng, resamples=resamples, block=block, studentize=studentize)
    return superior_ability(drawn)


def stepwise(
    candidates: ArrayLike,
    benchmark: ArrayLike,
    rng: np.random.Generator,
    *,
    alpha: float = 0.05,
    resamples: int = 4_000,
    block: int | None = None,
    studentize: bool = True,
) -> Stepwise:
    """Which of `candidates` (t, m) beat `benchmark` (t,), with familywise error `alpha`. Arguments as for the SPA test."""
    drawn = bootstrap_candidates(candidates, benchmark, rng, resamples=resamples, block=block, studentize=studentize)
    return stepped(drawn, alpha)


def bootstrap_candidates(
    candidates: ArrayLike,
    benchmark: ArrayLike,
    rng: np.random.Generator,
    *,
    resamples: int = 4_000,
    block: int | None = None,
    studentize: bool = True,
) -> CandidateBootstrap:
    """The resamples that SPA and StepM share."""
    panel, base = checked_panel(candidates, "the candidate set"), finite_returns(benchmark, "the benchmark")
    check_same_days(panel, base, "the candidate set and the benchmark")
    difference = panel - base[:, None]
    block = checked_block(block if block is not None else default_block(len(base)), len(base))
    deviation = np.sqrt(long_run_variance(difference, block))
    # A candidate that moves with the benchmark but for rounding has no variance to judge its mean by: it is no evidence.
    same = deviation <= _ROUNDING * (panel.std(axis=0) + base.std())
    difference[:, same], deviation[same] = 0.0, 1.0
    resampled = _resampled_means(difference, block, resamples, rng)
    return describe(difference, deviation, resampled, block, studentize=studentize)


def describe(
    difference: FloatArray, deviation: FloatArray, resampled: FloatArray, block: int, *, studentize: bool
) -> CandidateBootstrap:
    """Put together what the tests read; `resampled` are the means of the resampled `difference`, however drawn."""
    days = len(difference)
    threshold = -deviation * math.sqrt(2 * math.log(math.log(days)) / days)
    weights = deviation if studentize else np.ones_like(deviation)
    return CandidateBootstrap(days, difference.mean(axis=0), weights, resampled, threshold, block)


def superior_ability(drawn: CandidateBootstrap) -> SuperiorAbility:
    """SPA statistic and p-values from finished resamples."""
    studentised = math.sqrt(drawn.days) * drawn.mean / drawn.deviation
    statistic = max(0.0, float(studentised.max()))
    centres = (np.maximum(drawn.mean, 0.0), _consistent_centre(drawn), drawn.mean)
    lower, consistent, upper = (_p_value(_maxima(drawn, centre).max(axis=1), statistic) for centre in centres)
    return SuperiorAbility(statistic, int(studentised.argmax()), lower, consistent, upper, drawn.block, len(drawn.resampled))


def stepped(drawn: CandidateBootstrap, alpha: float) -> Stepwise:
    """StepM from finished resamples: adjusted p-values by stepping down from the best (Romano and Wolf 2005, section 4)."""
    studentised = math.sqrt(drawn.days) * drawn.mean / drawn.deviation
    order = np.argsort(-studentised, kind="stable")
    maxima = _maxima(drawn, _consistent_centre(drawn))[:, order]
    # the largest among a candidate and everything ranked behind it
    remaining = np.maximum.accumulate(maxima[:, ::-1], axis=1)[:, ::-1]
    steps = [_p_value(remaining[:, at], float(studentised[k])) if drawn.mean[k] > 0 else 1.0 for at, k in enumerate(order)]
    p_values = np.empty(len(order))
    p_values[order] = np.maximum.accumulate(steps)
    return Stepwise(tuple(int(k) for k in np.flatnonzero(p_values <= alpha)), p_values, alpha)


def long_run_variance(difference: FloatArray, block: int) -> FloatArray:
    """ω² of each column of `difference` (t, m): the variance that the stationary bootstrap itself has, shape (m,).

    γ0 + 2 Σ κ(i) γi, κ(i) = (1 - i/t)(1 - q)^i + (i/t)(1 - q)^(t - i), q = 1 / block: Politis and Romano (1994), lemma 1.
    """
    days = len(difference)
    centred = difference - difference.mean(axis=0)
    size = 1 << (2 * days - 1).bit_length()
    spectrum = np.fft.rfft(centred, size, axis=0)
    covariance = np.fft.irfft(spectrum * spectrum.conj(), size, axis=0)[:days] / days
    lag = np.arange(1, days)
    stay = 1.0 - 1.0 / block
    weight = (1 - lag / days) * stay**lag + lag / days * stay ** (days - lag)
    return np.asarray(np.maximum(covariance[0] + 2 * weight @ covariance[1:], 0.0))


def _consistent_centre(drawn: CandidateBootstrap) -> FloatArray:
    return np.where(drawn.mean >= drawn.threshold, drawn.mean, 0.0)


def _maxima(drawn: CandidateBootstrap, centre: FloatArray) -> FloatArray:
    """Studentised resampled means around `centre`, (resamples, m)."""
    return np.asarray((drawn.resampled - centre) * (math.sqrt(drawn.days) / drawn.deviation))


def _p_value(maxima: FloatArray, statistic: float) -> float:
    """Share of resamples that reach `statistic`; the sample counts as one, and nothing above 0 means nothing found."""
    if statistic <= 0:
        return 1.0
    reached: BoolArray = maxima >= statistic
    return float((1 + np.count_nonzero(reached)) / (1 + len(maxima)))


def _resampled_means(difference: FloatArray, block: int, resamples: int, rng: np.random.Generator) -> FloatArray:
    """Column means of stationary bootstrap resamples of `difference` (t, m), shape (resamples, m)."""
    mean = difference.mean(axis=0)
    centred = difference - mean
    total = np.vstack([np.zeros_like(mean), np.cumsum(np.vstack([centred, centred]), axis=0)])
    found = np.empty((resamples, difference.shape[1]))
    seed = new_seed(rng)

    def work(first: int, end: int) -> None:
        _resample(total, len(difference), float(block), seed, first, end, found)

    spread(work, resamples)
    return np.asarray(found + mean)


def _resample_kernel(
    total: FloatArray, days: int, block: float, seed: np.uint64, first: int, end: int, found: FloatArray
) -> None:
    """Write the means of the resamples `first` … `end` - 1; `total` are running sums over two rounds of the circle."""
    bound = np.uint64(days)
    scale = math.log(1.0 - 1.0 / block) if block > 1.0 else 0.0
    columns = total.shape[1]
    for resample in range(first, end):
        state = stream(seed, resample)
        row = found[resample]
        row[:] = 0.0
        left = days
        while left > 0:
            state = advance(state)
            start = below(mix(state), bound)
            length = 1
            if block > 1.0:
                state = advance(state)
                length += int(math.log(unit(mix(state))) / scale)
            length = min(length, left)
            for k in range(columns):
                row[k] += total[start + length, k] - total[start, k]
            left -= length
        for k in range(columns):
            row[k] /= days


_resample = compiled(_resample_kernel)
