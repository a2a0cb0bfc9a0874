"""How often is the best variant of the past below the median of the future? Probability of Backtest Overfitting, by CSCV.

Bailey, Borwein, Lopez de Prado, Zhu (2017), section 2.2: time is cut into S slices; for each of the C(S, S/2) halves, the
variant with the best Sharpe ratio in it gets the relative rank ω = rank / (N + 1) in the other half, and λ = ln(ω / (1 - ω)).
PBO is the share of λ <= 0. About 1/2 says that choosing was noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from shared.calibration.significance.returns import checked_panel
from shared.domain.candles import BoolArray, FloatArray
from shared.domain.errors import NotEnoughData, UsageError

_ROWS_AT_ONCE = 2048  # divisions computed at a time: bounds the memory for many variants


@dataclass(frozen=True, slots=True)
class Overfitting:
    """Result of CSCV over N variants."""

    pbo: float
    """share of divisions in which the best of the one half is at or below the median of the other"""
    median_logit: float
    divisions: int
    variants: int
    slope: float
    """of the out-of-sample on the in-sample Sharpe ratio of the best: negative where choosing harder makes it worse"""
    loss_probability: float
    """share of divisions in which the best of the one half loses money in the other"""


@dataclass(frozen=True, eq=False, slots=True)
class _Divisions:
    """The best of one half in the other half, for each division."""

    logit: FloatArray
    inside: FloatArray
    """Sharpe ratio where it was chosen"""
    outside: FloatArray
    """Sharpe ratio of the same variant in the other half"""
    variants: int


def pbo(returns: ArrayLike, *, slices: int = 16) -> Overfitting:
    """Probability of Backtest Overfitting of the variants in `returns` (t, N).

    Rows that do not fill a slice are left out at the start. A variant that does not move in a half has Sharpe ratio 0 there;
    ties share their rank.

    Raises: `NotEnoughData` for fewer than two variants or two days a slice, `MalformedData` as `checked_panel`.
    """
    found = _divided(returns, slices)
    spread = found.inside - found.inside.mean()
    power = float(spread @ spread)
    return Overfitting(
        float(np.mean(found.logit <= 0)),
        float(np.median(found.logit)),
        len(found.logit),
        found.variants,
        float(spread @ found.outside) / power if power > 0 else 0.0,
        float(np.mean(found.outside < 0)),
    )


def logits(returns: ArrayLike, *, slices: int = 16) -> FloatArray:
    """λ of each division (C(S, S/2),), of which `pbo` is the share at or below 0: for a plot. Errors: as `pbo`."""
    return _divided(returns, slices).logit


def _divided(returns: ArrayLike, slices: int) -> _Divisions:
    panel = checked_panel(returns, "the candidate set")
    days, variants = panel.shape
    if slices < 2 or slices % 2:
        raise UsageError(f"{slices} slices; expected an even number of at least 2")
    if variants < 2:
        raise NotEnoughData("one variant cannot be overfitted by choosing; expected at least two")
    length = days // slices
    if length < 2:
        raise NotEnoughData(f"{days} days give {slices} slices fewer than two days each; expected at least {2 * slices} days")
    scaled = panel[days - slices * length :] / panel.std(axis=0)
    cut = scaled.reshape(slices, length, variants)
    first, second = cut.sum(axis=1), (cut * cut).sum(axis=1)
    chosen = _halves(slices)
    half = slices // 2 * length
    parts = [_judge(first, second, chosen[at : at + _ROWS_AT_ONCE], half) for at in range(0, len(chosen), _ROWS_AT_ONCE)]
    rank, inside, outside = (np.concatenate(column) for column in zip(*parts, strict=True))
    relative = rank / (variants + 1)
    return _Divisions(np.log(relative / (1 - relative)), inside, outside, variants)


def _halves(slices: int) -> BoolArray:
    """Every choice of half of the slices, (C(S, S/2), S)."""
    members = np.array(list(combinations(range(slices), slices // 2)))
    chosen = np.zeros((len(members), slices), dtype=bool)
    np.put_along_axis(chosen, members, True, axis=1)
    return chosen


def _judge(first: FloatArray, second: FloatArray, chosen: BoolArray, half: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Rank outside, and Sharpe ratios inside and outside, of the best inside, for each row of `chosen`."""
    weights = chosen.astype(np.float64)
    inside = _sharpe(weights @ first, weights @ second, half)
    outside = _sharpe((1 - weights) @ first, (1 - weights) @ second, half)
    row = np.arange(len(chosen))
    best = inside.argmax(axis=1)
    found = outside[row, best]
    below = np.count_nonzero(outside < found[:, None], axis=1)
    tied = np.count_nonzero(outside == found[:, None], axis=1)
    return below + (tied + 1) / 2, inside[row, best], found


def _sharpe(total: FloatArray, squares: FloatArray, length: int) -> FloatArray:
    mean = total / length
    variance = squares / length - mean * mean
    moved = variance > 1e-12
    return np.where(moved, mean / np.sqrt(np.where(moved, variance, 1.0)), 0.0)
