"""A fitted regime model: what `fit` found, as a frozen value that JSON stores to the last bit.

A Gaussian hidden Markov model with three states in the order calm < balanced < stress over standardised features
z = clip((x − mean) / scale). Its id is derived from its content, so that a decision names exactly the numbers it used.
Invariant: an instance is valid (shapes, finite, distributions sum to 1, covariances positive definite) or does not exist.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np

from shared.domain.candles import FloatArray
from shared.domain.errors import ModelError
from shared.domain.ids import content_id
from shared.domain.interval import Interval
from shared.domain.regime import REGIMES
from shared.regime import stored
from shared.regime.stored import check_array

STATES = len(REGIMES)
NOUN = "regime model"
_NOT_POSITIVE_DEFINITE = f"{NOUN}: a covariance is not symmetric positive definite; fit the model again"

Vector = tuple[float, ...]
Matrix = tuple[Vector, ...]


@dataclass(frozen=True)
class RegimeModel:
    """Three ordered states over `d` features. Probability arrays follow `REGIMES`."""

    asset: str
    """`venue:symbol`"""
    interval: Interval
    feature_names: tuple[str, ...]
    mean: Vector
    """(d,) mean of the training window, raw units"""
    scale: Vector
    """(d,) standard deviation of the training window, raw units"""
    clip: float
    """standardised features are clipped to ± clip"""
    start: Vector
    """(3,) distribution of the first training bar"""
    transition: Matrix
    """(3, 3) rows sum to 1"""
    means: Matrix
    """(3, d) standardised units"""
    covariances: tuple[Matrix, ...]
    """(3, d, d) standardised units"""
    valid_from_ms: int
    """first instant at which the model may be used; its training bars were closed by then"""
    train_start_ms: int
    """open time of the first training bar"""
    train_bars: int
    log_likelihood: float
    """of the training window, standardised units"""
    converged: bool
    params: Mapping[str, float] = field(default_factory=dict)
    """echo of `RegimeParams.fit_settings`"""
    previous_id: str | None = None
    """model that the fit was warm-started from"""
    match: tuple[int, ...] | None = None
    """for each state the nearest state of the previous model; (0, 1, 2) means that labels kept their meaning"""

    def __post_init__(self) -> None:
        d = len(self.feature_names)
        arrays = {name: check_array(NOUN, name, getattr(self, name), shape) for name, shape in _shapes(d).items()}
        for name, rows in (("start", (self.start,)), ("transition", self.transition)):
            if any(min(row) < 0 or abs(sum(row) - 1) > 1e-9 for row in rows):
                raise ModelError(f"regime model: {name} is not a distribution: {arrays[name].tolist()}; fit the model again")
        if min(self.scale) <= 0 or not self.clip > 0:
            raise ModelError(f"regime model: scale and clip must be positive, found {self.scale} and {self.clip}")
        covariances = arrays["covariances"]
        # The densities exist where the covariances are positive definite, and a filter finds them here.
        if np.abs(covariances - covariances.transpose(0, 2, 1)).max() > 1e-8 or not np.isfinite(self.log_norm).all():
            raise ModelError(_NOT_POSITIVE_DEFINITE)
        if not math.isfinite(self.log_likelihood):
            raise ModelError(f"regime model: log_likelihood must be finite, found {self.log_likelihood}")

    @cached_property
    def id(self) -> str:
        """Content id: equal models have equal ids."""
        return content_id("m", stored.as_plain(self))

    @cached_property
    def fit_version(self) -> str:
        """Content id of the settings that it was fitted under (`RegimeParams.fit_version`)."""
        return fit_version(self.params)

    @cached_property
    def transition_array(self) -> FloatArray:
        """(3, 3) transition matrix."""
        return np.asarray(self.transition, dtype=np.float64)

    @cached_property
    def whitening(self) -> FloatArray:
        """(3, d, d) inverse Cholesky factors: the density exponent of state k is −½‖whitening[k] (z − means[k])‖².

        Lower triangular: what stands above the diagonal is the rounding of a pivoted inverse, and not read.
        """
        try:
            return np.asarray(np.linalg.inv(np.linalg.cholesky(np.asarray(self.covariances))))
        except np.linalg.LinAlgError as error:
            raise ModelError(_NOT_POSITIVE_DEFINITE) from error

    @cached_property
    def log_norm(self) -> FloatArray:
        """(3,) logarithm of the density's constant per state."""
        log_roots = np.log(np.diagonal(self.whitening, axis1=1, axis2=2)).sum(axis=1)
        return np.asarray(log_roots - 0.5 * len(self.feature_names) * np.log(2 * np.pi))

    @cached_property
    def stationary(self) -> FloatArray:
        """(3,) stationary distribution of the transition matrix: what is known before any bar was seen."""
        (_, a01, a02), (a10, _, a12), (a20, a21, _) = self.transition
        # Sums over spanning trees (Markov chain tree theorem): products of positive numbers, nothing cancels.
        trees = np.array(
            [a10 * a20 + a12 * a20 + a21 * a10, a01 * a21 + a02 * a21 + a20 * a01, a02 * a12 + a01 * a12 + a10 * a02]
        )
        total = trees.sum()
        return np.asarray(trees / total if total > 0 else np.full(STATES, 1 / STATES))

    def standardise(self, features: FloatArray) -> FloatArray:
        """Raw features (n, d) in standard deviations of the training window, clipped. NaN stays NaN.

        Raises `ModelError` where the number of columns is wrong.
        """
        return standardised(features, self.feature_names, self.mean, self.scale, self.clip)

    def to_json(self) -> str:
        """Canonical JSON with `schema` and `id`; `from_json` gives back the identical bits."""
        return stored.to_json(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The model stored by `to_json`. Raises `ModelError` for anything else, naming what is wrong."""
        return stored.from_json(cls, text, NOUN)


def standardised(features: FloatArray, names: tuple[str, ...], mean: Vector, scale: Vector, clip: float) -> FloatArray:
    """Raw features (n, d) as clip((x − mean) / scale). Raises `ModelError` where the number of columns is wrong."""
    if features.ndim != 2 or features.shape[1] != len(mean):
        raise ModelError(f"features must have shape (n, {len(mean)}) for {names}, found {features.shape}")
    return np.asarray(np.clip((features - np.asarray(mean)) / np.asarray(scale), -clip, clip))


def fit_version(settings: Mapping[str, float]) -> str:
    """Content id of fit settings."""
    return content_id("rf", dict(settings))


def _shapes(d: int) -> dict[str, tuple[int, ...]]:
    return {
        "mean": (d,),
        "scale": (d,),
        "start": (STATES,),
        "transition": (STATES, STATES),
        "means": (STATES, d),
        "covariances": (STATES, d, d),
    }
