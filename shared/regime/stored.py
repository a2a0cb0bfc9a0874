"""How a fitted model becomes JSON and back, to the last bit, under an id that is derived from its content.

Both classifiers are frozen dataclasses of numbers, texts and nested tuples; what one file says must be one of them, completely
and unaltered, or is refused with `ModelError`.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, Protocol, TypeVar

import numpy as np

from shared.domain.candles import FloatArray
from shared.domain.errors import ModelError, OstError
from shared.domain.ids import canonical_json
from shared.domain.interval import Interval

SCHEMA = 1


class FittedModel(Protocol):
    """A frozen dataclass with an interval, an echo of its settings, and a content id."""

    @property
    def id(self) -> str:
        """Content id."""


Model = TypeVar("Model", bound=FittedModel)


def as_plain(model: Any) -> dict[str, Any]:
    """The fields of a model in JSON's own types."""
    values = {entry.name: getattr(model, entry.name) for entry in fields(model)}
    return {**values, "interval": model.interval.value, "params": dict(model.params)}


def to_json(model: FittedModel) -> str:
    """Canonical JSON with `schema` and `id`; `from_json` gives back the identical bits."""
    return canonical_json({"schema": SCHEMA, "id": model.id, **as_plain(model)})


def from_json(kind: type[Model], text: str | bytes, noun: str) -> Model:
    """The model stored by `to_json`. Raises `ModelError` for anything else, naming what is wrong with the `noun`."""
    try:
        stored = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, UnicodeDecodeError) as error:
        raise ModelError(f"{noun}: not JSON ({error}); fit the model again") from error
    if not isinstance(stored, dict) or stored.get("schema") != SCHEMA:
        found = stored.get("schema") if isinstance(stored, dict) else type(stored).__name__
        raise ModelError(f"{noun}: schema {SCHEMA} expected, found {found}; fit the model again")
    model = _from_fields(kind, {name: value for name, value in stored.items() if name not in ("schema", "id")}, noun)
    if model.id != stored.get("id"):
        raise ModelError(f"{noun}: content gives id {model.id}, the file says {stored.get('id')}: it was altered")
    return model


def _from_fields(kind: type[Model], stored: dict[str, Any], noun: str) -> Model:
    names = {entry.name for entry in fields(kind)}  # type: ignore[arg-type]
    if set(stored) != names:
        missing, unknown = sorted(names - set(stored)), sorted(set(stored) - names)
        raise ModelError(f"{noun}: missing fields {missing}, unknown fields {unknown}; fit the model again")
    try:
        values = {name: frozen(value) for name, value in stored.items()}
        values["interval"] = Interval.parse(stored["interval"])
        return kind(**values)
    except ModelError:
        raise
    except (OstError, TypeError, ValueError) as error:
        raise ModelError(f"{noun}: {error}; fit the model again") from error


def check_array(noun: str, name: str, value: Any, shape: tuple[int, ...]) -> FloatArray:
    """`value` as an array of finite numbers of that shape. Raises `ModelError` where it is none."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{noun}: {name} must hold numbers of shape {shape}; fit the model again") from error
    if array.shape != shape or not np.isfinite(array).all():
        raise ModelError(f"{noun}: {name} must be finite and of shape {shape}, found {array.tolist()}")
    return array


def frozen(value: Any) -> Any:
    """Nested lists as nested tuples."""
    return tuple(frozen(entry) for entry in value) if isinstance(value, list) else value


def nested_tuples(array: FloatArray) -> Any:
    """A float64 array of one to three dimensions as nested tuples of Python floats, the form in which models keep arrays."""
    if array.ndim == 1:
        return tuple(array.tolist())
    return tuple(nested_tuples(part) for part in array) if array.ndim > 2 else tuple(map(tuple, array.tolist()))


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number that a model may hold")
