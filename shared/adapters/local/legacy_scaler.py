"""Opens the pickled scaler of an old training (`scaler_train.pkl`), offline, once.

A pickle is a program. Here its classes are looked up in a short list only (numpy arrays, scikit-learn's scalers as plain
bags of attributes), so that nothing of it can run; one that names anything else is refused, and is opened in full only where a
person vouches for it (`--i-trust-this-pickle`).
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np

from shared.calibration.rl_legacy import LegacyScaler
from shared.domain.errors import ModelError

TRUST = "--i-trust-this-pickle"

_NUMPY = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
}
_SCALERS = ("StandardScaler", "MinMaxScaler", "RobustScaler")


class _Bag:
    """Stands in for a scaler: keeps its attributes and does nothing."""

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)


class _Restricted(pickle.Unpickler):
    """Finds nothing but numpy arrays and scalers."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _NUMPY:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        if module.startswith("sklearn.preprocessing") and name in _SCALERS:
            return type(name, (_Bag,), {})
        raise ModelError(
            f"the pickle asks for {module}.{name}, which a scaler of numbers does not need; if you know where the file comes "
            f"from, open it in full with {TRUST}: it can then run any code as you"
        )


def read_scaler(content: bytes, *, trusted: bool = False) -> LegacyScaler:
    """The scaler in a pickle. `trusted` opens it in full. Raises `ModelError`."""
    try:
        loaded = pickle.loads(content) if trusted else _Restricted(io.BytesIO(content)).load()  # noqa: S301 # a person vouched
    except ModelError:
        raise
    except Exception as error:  # a broken pickle raises whatever it likes
        raise ModelError(f"the scaler cannot be read ({type(error).__name__}: {error}); expected a pickled scaler") from error
    kind = type(loaded).__name__
    if kind not in _SCALERS:
        raise ModelError(f"the pickle holds a {kind}; expected one of scikit-learn's {' '.join(_SCALERS)}")
    state = vars(loaded)
    try:
        means, scales = _affine(kind, state)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the {kind} has no {error}: it was never fitted") from error
    names = tuple(str(name) for name in state.get("feature_names_in_", ()))
    return LegacyScaler(names, tuple(means.tolist()), tuple(scales.tolist()))


def _affine(kind: str, state: Mapping[str, Any]) -> tuple[Any, Any]:
    """Each of scikit-learn's scalers as (x - mean) / scale."""
    if kind == "MinMaxScaler":  # x · scale_ + min_
        scale = np.asarray(state["scale_"], dtype=np.float64)
        return -np.asarray(state["min_"], dtype=np.float64) / scale, 1.0 / scale
    centre = state["mean_" if kind == "StandardScaler" else "center_"]
    scale = np.asarray(state["scale_"], dtype=np.float64)
    return np.zeros_like(scale) if centre is None else np.asarray(centre, dtype=np.float64), scale
