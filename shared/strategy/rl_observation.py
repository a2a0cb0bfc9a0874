"""What the RL policy is shown at the close of a bar: a window of normalised bars and its portfolio.

    market     (window_size, features)   clip((column - mean) / scale, ±10), rounded to 1e-4, float32
    portfolio  (3,)                      equity, unrealised profit, position

The columns are the curated frame's, named in the training's configuration; mean and scale are the training data's. The
portfolio is normalised by static values (the starting capital), or given in quote currency. Unknown funding counts as 0.
Invariants: a row depends on bars up to its own only, and on `window_size` of them; trainer, runtime and a live window see the
same numbers to the bit, which is what the rounding is for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.data.curation import CURATED_COLUMNS
from shared.domain.candles import BoolArray, FloatArray
from shared.domain.errors import ModelError, NotEnoughData
from shared.domain.frame import Frame
from shared.domain.ids import content_id
from shared.strategy.rl_shadow import Shadow

Float32Array = np.ndarray[tuple[int, ...], np.dtype[np.float32]]

PORTFOLIO = ("equity", "unrealised_profit", "position")
"""Entries of the portfolio vector."""

LARGEST = 10.0
"""bound of a normalised value, in scales"""
_DECIMALS = 4
_UNKNOWN_IS_ZERO = ("funding_rate", "open_interest")
"""Columns without a source in some markets"""

RL_CONTRACT = content_id(
    "rl",
    {
        "market": "clip((column - mean) / scale)",
        "clip": LARGEST,
        "decimals": _DECIMALS,
        "zero": list(_UNKNOWN_IS_ZERO),
        "portfolio": list(PORTFOLIO),
        "normalised": ["equity / capital - 1", "profit / capital", "position"],
        "plain": ["equity", "profit", "position"],
        "action": "hold below the threshold, open, increase to |action|, close against",
        "shadow": "flat at whole episodes since 1970; closes; cost_bps of what is traded",
    },
)
"""Formulas of observation, action and shadow in one identifier; a policy of another contract is not used."""


@dataclass(frozen=True, slots=True)
class ObservationSpec:
    """Shapes and constants of one policy's observations."""

    features: tuple[str, ...]
    """columns of the curated frame"""
    window_size: int
    means: tuple[float, ...]
    scales: tuple[float, ...]
    normalise_portfolio: bool
    capital: float
    """starting capital, quote currency: the static value of the normalisation"""

    def __post_init__(self) -> None:
        check_features(self.features)
        if not len(self.means) == len(self.scales) == len(self.features):
            raise ModelError(
                f"RL scaler: {len(self.means)} means and {len(self.scales)} scales; expected {len(self.features)} of each"
            )
        if not (np.isfinite(self.means).all() and np.isfinite(self.scales).all() and min(self.scales) > 0):
            raise ModelError("RL scaler: expected finite means and positive scales; train again with `ost agent train`")
        if self.window_size < 1 or not self.capital > 0:
            raise ModelError(f"RL window of {self.window_size} bars, capital {self.capital:g}; expected both above 0")

    @property
    def market_shape(self) -> tuple[int, int]:
        """Shape of the window of bars."""
        return self.window_size, len(self.features)


def check_features(features: tuple[str, ...]) -> None:
    """Raise `ModelError` where they are no different columns of the curated frame."""
    unknown = [name for name in features if name not in CURATED_COLUMNS]
    if unknown or not features or len(set(features)) != len(features):
        found = ", ".join(unknown or features) or "none"
        raise ModelError(
            f"RL features (agent.features): found {found}; expected different columns of {' '.join(CURATED_COLUMNS)}"
        )


def raw_columns(frame: Frame, features: tuple[str, ...]) -> FloatArray:
    """The named columns (n, k) before normalisation; NaN in the warm-up."""
    columns = [np.nan_to_num(frame[name]) if name in _UNKNOWN_IS_ZERO else frame[name] for name in features]
    return np.column_stack(columns)


def fitted_scaler(raw: FloatArray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each column of the training rows (n, k), unknown rows left out; a constant has scale 1.

    Raises `NotEnoughData` where fewer than two rows are known.
    """
    known = raw[np.isfinite(raw).all(axis=1)]
    if len(known) < 2:
        raise NotEnoughData(f"{len(known)} bars have all features; the scaler needs 2: give more history")
    scales = known.std(axis=0)
    flat = scales <= 1e-12 * np.maximum(np.abs(known.mean(axis=0)), 1.0)
    return tuple(known.mean(axis=0).tolist()), tuple(np.where(flat, 1.0, scales).tolist())


def normalised(frame: Frame, spec: ObservationSpec) -> Float32Array:
    """Every bar as the policy sees it, (n, k) float32; NaN in the warm-up."""
    scaled = (raw_columns(frame, spec.features) - np.array(spec.means)) / np.array(spec.scales)
    # Adding 0 turns -0.0 into 0.0: equal numbers must have equal bits.
    rounded: Float32Array = (np.round(np.clip(scaled, -LARGEST, LARGEST), _DECIMALS) + 0.0).astype(np.float32)
    return rounded


def complete_windows(rows: Float32Array, window_size: int) -> BoolArray:
    """Rows (n,) whose window of `window_size` bars is known."""
    missing = np.cumsum(~np.isfinite(rows).all(axis=1))
    before = np.concatenate([np.zeros(window_size, dtype=missing.dtype), missing])[: len(rows)]
    complete = missing == before
    complete[: window_size - 1] = False
    return np.asarray(complete, dtype=np.bool_)


def portfolio_vector(shadow: Shadow, price: float, spec: ObservationSpec) -> Float32Array:
    """The agent's account (3,) float32 at `price`: equity, unrealised profit, position."""
    equity, profit = shadow.equity(price), shadow.profit(price)
    if spec.normalise_portfolio:
        return np.array([equity - 1.0, profit, shadow.position], dtype=np.float32)
    return np.array([equity * spec.capital, profit * spec.capital, shadow.position], dtype=np.float32)
