"""The inputs of the ML alpha: ratios of curated columns that mean the same at every price, in every year, on every asset.

No feature needs a statistic of the series, so there is nothing to leak and nothing to keep but the formulas, whose digest is
the *contract* between a model and the code that feeds it. Values are clipped to ±5, rounded to 1e-4 and stored as float32: the
trainer, the runtime and a live window then see the same number to the bit. A missing rate of funding counts as 0, "unknown".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shared.domain.candles import FloatArray
from shared.domain.frame import Frame
from shared.domain.ids import content_id
from shared.strategy.series import in_atr, ratio

_LARGEST = 5.0
_DECIMALS = 4


def _of_volatility(change: FloatArray, frame: Frame) -> FloatArray:
    """A log return in standard deviations of one bar; NaN in the warm-up."""
    return np.where(np.isnan(frame["realised_volatility"]), np.nan, ratio(change, frame["realised_volatility"]))


def _log_ratio(frame: Frame) -> FloatArray:
    quotient = ratio(frame["range_volatility"], frame["realised_volatility"])
    return np.log(np.clip(quotient, 1e-2, 1e2))


_FEATURES: dict[str, tuple[str, Callable[[Frame], FloatArray]]] = {
    "bar_return": ("log_return / realised_volatility", lambda f: _of_volatility(f["log_return"], f)),
    "fast_gap": ("(close - sma_fast) / atr", lambda f: in_atr(f["close"] - f["sma_fast"], f)),
    "slow_gap": ("(close - sma_slow) / atr / 2", lambda f: in_atr(f["close"] - f["sma_slow"], f) / 2),
    "average_gap": ("(ema_fast - ema_slow) / atr", lambda f: in_atr(f["ema_fast"] - f["ema_slow"], f)),
    "macd": ("macd_histogram / atr * 4", lambda f: in_atr(f["macd_histogram"], f) * 4),
    "band": (
        "(close - bollinger_middle) / (bollinger_upper - bollinger_middle)",
        lambda f: ratio(f["close"] - f["bollinger_middle"], f["bollinger_upper"] - f["bollinger_middle"]),
    ),
    "rsi": ("(rsi - 50) / 20", lambda f: (f["rsi"] - 50) / 20),
    "adx": ("adx / 25 - 1", lambda f: f["adx"] / 25 - 1),
    "direction": (
        "(plus_di - minus_di) / (plus_di + minus_di)",
        lambda f: ratio(f["plus_di"] - f["minus_di"], f["plus_di"] + f["minus_di"]),
    ),
    "range_ratio": ("log(range_volatility / realised_volatility)", _log_ratio),
    "skewness": ("skewness", lambda f: f["skewness"]),
    "volume": ("volume_z", lambda f: f["volume_z"]),
    "funding": ("funding_rate * 1e4, 0 where unknown", lambda f: np.nan_to_num(f["funding_rate"]) * 1e4),
}

ML_FEATURES: tuple[str, ...] = tuple(_FEATURES)
"""Names of the inputs, in the order of a model's columns."""

FEATURE_CONTRACT = content_id(
    "f", [[name, formula] for name, (formula, _) in _FEATURES.items()], {"clip": _LARGEST, "decimals": _DECIMALS}
)
"""Names, order and transformations in one identifier; a model of another contract is not used."""


def ml_features(frame: Frame) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Inputs (n, features) of every bar, float32; rows with a NaN are in the warm-up."""
    columns = [np.clip(compute(frame), -_LARGEST, _LARGEST) for _, compute in _FEATURES.values()]
    # Adding 0 turns -0.0 into 0.0: equal numbers must have equal bits.
    return (np.round(np.column_stack(columns), _DECIMALS) + 0.0).astype(np.float32)
