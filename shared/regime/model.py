"""A fitted regime model: what `fit` found, as a frozen value that JSON stores to the last bit.

A Gaussian hidden Markov model with three states in the order calm < balanced < stress over standardised features
z = clip((x − mean) / scale). Its id is derived from its content, so that a decision names exactly the numbers it used.
Invariant: an instance is valid (shapes, finite, distributions sum to 1, covariances positive definite) or does not exist.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any, Self

import numpy as np

from shared.domain.candles import FloatArray
from shared.domain.errors import ModelError, OstError
from shared.domain.ids import canonical_json, content_id
from shared.domain.interval import Interval
from shared.domain.regime import REGIMES

SCHEMA = 1
STATES = len(REGIMES)

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
        for name, shape in _shapes(d).items():
            _check_array(name, getattr(self, name), shape)
        for name in ("start", "transition"):
            values = np.asarray(getattr(self, name))
            if (values < 0).any() or np.abs(values.sum(axis=-1) - 1).max() > 1e-9:
                raise ModelError(f"regime model: {name} is not a distribution: {values.tolist()}; fit the model again")
        if min(self.scale) <= 0 or not self.clip > 0:
            raise ModelError(f"regime model: scale and clip must be positive, found {self.scale} and {self.clip}")
        covariances = np.asarray(self.covariances)
        if not np.allclose(covariances, covariances.transpose(0, 2, 1)) or np.linalg.eigvalsh(covariances).min() <= 0:
            raise ModelError("regime model: a covariance is not symmetric positive definite; fit the model again")
        if not np.isfinite(self.log_likelihood):
            raise ModelError(f"regime model: log_likelihood must be finite, found {self.log_likelihood}")

    @cached_property
    def id(self) -> str:
        """Content id: equal models have equal ids."""
        return content_id("m", self._as_dict())

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
        """(3, d, d) inverse Cholesky factors: the density exponent of state k is −½‖whitening[k] (z − means[k])‖²."""
        return np.linalg.inv(np.linalg.cholesky(np.asarray(self.covariances)))

    @cached_property
    def log_norm(self) -> FloatArray:
        """(3,) logarithm of the density's constant per state."""
        log_roots = np.log(np.diagonal(self.whitening, axis1=1, axis2=2)).sum(axis=1)
        return np.asarray(log_roots - 0.5 * len(self.feature_names) * np.log(2 * np.pi))

    @cached_property
    def stationary(self) -> FloatArray:
        """(3,) stationary distribution of the transition matrix: what is known before any bar was seen."""
        system = np.vstack([self.transition_array.T - np.eye(STATES), np.ones(STATES)])
        solution, *_ = np.linalg.lstsq(system, np.array([0.0] * STATES + [1.0]), rcond=None)
        positive = np.maximum(solution, 0.0)
        return np.asarray(positive / positive.sum())

    def standardise(self, features: FloatArray) -> FloatArray:
        """Raw features (n, d) in standard deviations of the training window, clipped. NaN stays NaN.

        Raises `ModelError` where the number of columns is wrong.
        """
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise ModelError(f"features must have shape (n, {len(self.mean)}) for {self.feature_names}, found {features.shape}")
        standardised = (features - np.asarray(self.mean)) / np.asarray(self.scale)
        return np.asarray(np.clip(standardised, -self.clip, self.clip))

    def _as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "interval": self.interval.value, "params": dict(self.params)}

    def to_json(self) -> str:
        """Canonical JSON with `schema` and `id`; `from_json` gives back the identical bits."""
        return canonical_json({"schema": SCHEMA, "id": self.id, **self._as_dict()})

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The model stored by `to_json`. Raises `ModelError` for anything else, naming what is wrong."""
        try:
            stored = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, UnicodeDecodeError) as error:
            raise ModelError(f"regime model: not JSON ({error}); fit the model again") from error
        if not isinstance(stored, dict) or stored.get("schema") != SCHEMA:
            found = stored.get("schema") if isinstance(stored, dict) else type(stored).__name__
            raise ModelError(f"regime model: schema {SCHEMA} expected, found {found}; fit the model again")
        model = cls._from_fields({name: value for name, value in stored.items() if name not in ("schema", "id")})
        if model.id != stored.get("id"):
            raise ModelError(f"regime model: content gives id {model.id}, the file says {stored.get('id')}: it was altered")
        return model

    @classmethod
    def _from_fields(cls, stored: dict[str, Any]) -> Self:
        names = {entry.name for entry in fields(cls)}
        if set(stored) != names:
            missing, unknown = sorted(names - set(stored)), sorted(set(stored) - names)
            raise ModelError(f"regime model: missing fields {missing}, unknown fields {unknown}; fit the model again")
        try:
            values = {name: _frozen(value) for name, value in stored.items()}
            values["interval"] = Interval.parse(stored["interval"])
            return cls(**values)
        except ModelError:
            raise
        except (OstError, TypeError, ValueError) as error:
            raise ModelError(f"regime model: {error}; fit the model again") from error


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


def _check_array(name: str, value: Any, shape: tuple[int, ...]) -> None:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ModelError(f"regime model: {name} must hold numbers of shape {shape}; fit the model again") from error
    if array.shape != shape or not np.isfinite(array).all():
        raise ModelError(f"regime model: {name} must be finite and of shape {shape}, found {array.tolist()}")


def _frozen(value: Any) -> Any:
    return tuple(_frozen(entry) for entry in value) if isinstance(value, list) else value


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number that a model may hold")


def nested_tuples(array: FloatArray) -> Any:
    """A float64 array as nested tuples of Python floats, the form in which `RegimeModel` keeps arrays."""
    return _frozen(array.tolist())
