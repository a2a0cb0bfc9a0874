"""What a score knows about the next move: rank information coefficients, their errors, decay, hit rate, turnover.

    IC(h) = mean over bars of rank(score at close t) · rank(log return from open t+1 to open t+1+h), both standardised

(Spearman; Grinold and Kahn 2000, ch. 4.) The return begins at the next open, where an order would be filled. Returns of h bars
overlap, and scores persist, so the error is Newey and West's (1987) with 2h lags at least. Assets move together: their rank
products are averaged bar by bar before the error is taken, which does not count one day of the market three times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shared.domain.candles import BoolArray, FloatArray, IntArray
from shared.domain.frame import Frame
from shared.domain.regime import REGIMES

_FEWEST = 100
"""bars below which no coefficient is given"""


@dataclass(frozen=True, eq=False, slots=True)
class ScoredAsset:
    """Scores of one asset over its n bars."""

    frame: Frame
    held: np.ndarray[tuple[int], np.dtype[np.int8]]
    """(n,) place in `REGIMES` of the held regime; -1 where there is none"""
    inside: BoolArray
    """(n,) bars that count"""
    scores: Mapping[str, FloatArray]
    """(n,) each; NaN where the score has nothing to say"""


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A rank information coefficient with its error."""

    value: float
    t: float
    """value / Newey-West standard error"""
    p: float
    """two-sided, normal"""
    bars: int


@dataclass(frozen=True, slots=True)
class Information:
    """What one score knows, pooled over the assets."""

    name: str
    by_horizon: Mapping[int, Coefficient | None]
    by_regime: Mapping[str, Coefficient | None]
    """at the main horizon"""
    hit_rate: float | None
    """share of the bars with an opinion whose next `main` bars went its way"""
    coverage: float
    """share of bars with an opinion (not 0)"""
    turnover: float
    """mean |change| of the score per bar"""


def forward_returns(frame: Frame, horizon: int) -> FloatArray:
    """Log return (n,) from the next bar's open over `horizon` bars; NaN at the end and across missing bars."""
    n, result = len(frame), np.full(len(frame), np.nan)
    if n <= horizon + 1:
        return result
    opens, times = frame["open"], frame.open_time
    whole = times[horizon + 1 :] - times[: -horizon - 1] == (horizon + 1) * frame.interval.ms
    moved = np.log(opens[horizon + 1 :] / opens[1:-horizon])
    result[: -horizon - 1] = np.where(whole, moved, np.nan)
    return result


def information(name: str, assets: Sequence[ScoredAsset], horizons: Sequence[int], main: int) -> Information:
    """All numbers of one score. `main` (one of `horizons`) is that of the regimes and of the hit rate."""
    regimes = {regime.value: coefficient(name, assets, main, regime=place) for place, regime in enumerate(REGIMES)}
    hits = looked = opinions = bars = 0
    moved = 0.0
    for asset in assets:
        score = np.nan_to_num(asset.scores[name][asset.inside])
        forward = forward_returns(asset.frame, main)[asset.inside]
        spoken = (np.abs(score) > 1e-12) & np.isfinite(forward) & (forward != 0)
        hits += int((np.sign(score[spoken]) == np.sign(forward[spoken])).sum())
        looked += int(spoken.sum())
        opinions += int((np.abs(score) > 1e-12).sum())
        bars += len(score)
        moved += float(np.abs(np.diff(score)).sum())
    return Information(
        name=name,
        by_horizon={horizon: coefficient(name, assets, horizon) for horizon in horizons},
        by_regime=regimes,
        hit_rate=hits / looked if looked else None,
        coverage=opinions / bars if bars else 0.0,
        turnover=moved / bars if bars else 0.0,
    )


def coefficient(name: str, assets: Sequence[ScoredAsset], horizon: int, *, regime: int | None = None) -> Coefficient | None:
    """The pooled coefficient at a horizon; `None` for a score that never changes or too few bars."""
    times, products = [], []
    for asset in assets:
        score, forward = np.nan_to_num(asset.scores[name]), forward_returns(asset.frame, horizon)
        rows = asset.inside & np.isfinite(forward)
        if regime is not None:
            rows &= asset.held == regime
        if int(rows.sum()) < _FEWEST:
            continue
        u, v = _standard_ranks(score[rows]), _standard_ranks(forward[rows])
        if u is None or v is None:
            continue
        times.append(asset.frame.open_time[rows])
        products.append(u * v)
    if not times:
        return None
    series = _by_instant(np.concatenate(times), np.concatenate(products))
    lags = max(2 * horizon, math.floor(4 * (len(series) / 100) ** (2 / 9)))
    error = newey_west_error(series, min(lags, len(series) // 3))
    value = float(series.mean())
    if not error > 0:
        return None
    t = value / error
    return Coefficient(value, t, math.erfc(abs(t) / math.sqrt(2)), sum(map(len, times)))


def newey_west_error(series: FloatArray, lags: int) -> float:
    """Standard error of the mean of a dependent series (n,): Bartlett weights over `lags` (Newey and West 1987)."""
    n, centred = len(series), series - series.mean()
    total = float(centred @ centred) / n
    for lag in range(1, min(lags, n - 1) + 1):
        total += 2 * (1 - lag / (lags + 1)) * float(centred[lag:] @ centred[:-lag]) / n
    return math.sqrt(max(total, 0.0) / n)


def correlations(names: Sequence[str], assets: Sequence[ScoredAsset]) -> FloatArray:
    """Pearson correlation (k, k) of the scores over all bars of all assets; NaN where a score never changes."""
    columns = [np.concatenate([np.nan_to_num(asset.scores[name][asset.inside]) for asset in assets]) for name in names]
    table = np.column_stack(columns)
    centred = table - table.mean(axis=0)
    scale = np.sqrt((centred**2).sum(axis=0))
    scale[scale < 1e-12] = np.nan
    result: FloatArray = centred.T @ centred / np.outer(scale, scale)
    return result


def _standard_ranks(values: FloatArray) -> FloatArray | None:
    """Mean ranks, standardised to mean 0 and variance 1; `None` where all are equal."""
    distinct, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(distinct) < 2:
        return None
    ranks = (np.cumsum(counts) - 0.5 * (counts + 1))[inverse]
    spread = ranks.std()
    standard: FloatArray = (ranks - ranks.mean()) / spread
    return standard


def _by_instant(times: IntArray, values: FloatArray) -> FloatArray:
    """Mean of the values that belong to one instant, in order of time."""
    instants, inverse, counts = np.unique(times, return_inverse=True, return_counts=True)
    means: FloatArray = np.bincount(inverse, weights=values, minlength=len(instants)) / counts
    return means
