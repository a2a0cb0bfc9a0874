"""How good a classifier is: right or wrong where the truth is known, how restless, and how late it notices a change.

A true change at bar t is noticed at the first bar from t on, before the next true change, at which the new regime is held; its
lag is the number of bars between. The held regime is what the strategy follows (`transition.py`), so its lag includes the
detector's own caution. Rows without a regime count nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from shared.domain.candles import FloatArray, IntArray
from shared.domain.errors import MalformedData
from shared.domain.interval import YEAR_MS, Interval
from shared.domain.regime import REGIMES
from shared.regime.transition import NOTHING_HELD

Held = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Persistence:
    """How long a classifier stays with what it says."""

    bars: int
    """bars with a held regime"""
    switches: int
    switches_per_year: float
    mean_duration_bars: float
    """bars / (switches + 1)"""
    shares: tuple[float, float, float]
    """of the bars, in `REGIMES` order"""


@dataclass(frozen=True, slots=True)
class Agreement:
    """A classifier against the truth."""

    accuracy: float
    """share of bars at which the most probable regime is the true one"""
    held_accuracy: float
    """share of bars at which the held regime is the true one"""
    changes: int
    """true changes of regime"""
    noticed: int
    """of these, before the next one"""
    median_lag_bars: float | None
    """of the noticed ones"""
    mean_lag_bars: float | None


def persistence(held: Held, interval: Interval) -> Persistence:
    """Of the regimes held at n bars (place in `REGIMES`, -1: none). Raises `MalformedData` where none is held."""
    known = held[held != NOTHING_HELD]
    if len(known) == 0:
        raise MalformedData("no bar has a regime; more bars or a longer training window are needed")
    switches = int(np.count_nonzero(np.diff(known)))
    shares = (np.bincount(known, minlength=len(REGIMES)) / len(known)).tolist()
    return Persistence(
        bars=len(known),
        switches=switches,
        switches_per_year=switches / (len(known) * interval.ms / YEAR_MS),
        mean_duration_bars=len(known) / (switches + 1),
        shares=(shares[0], shares[1], shares[2]),
    )


def agreement(probabilities: FloatArray, held: Held, states: IntArray) -> Agreement:
    """Probabilities (n, 3) and held regimes (n,) against the true states (n,). Raises `MalformedData` where none is held."""
    known = held != NOTHING_HELD
    if not known.any():
        raise MalformedData("no bar has a regime; more bars or a longer training window are needed")
    lags = detection_lags(held, states)
    noticed = lags[lags >= 0]
    return Agreement(
        accuracy=float((np.argmax(probabilities[known], axis=1) == states[known]).mean()),
        held_accuracy=float((held[known] == states[known]).mean()),
        changes=len(lags),
        noticed=len(noticed),
        median_lag_bars=float(np.median(noticed)) if len(noticed) else None,
        mean_lag_bars=float(noticed.mean()) if len(noticed) else None,
    )


def detection_lags(held: Held, states: IntArray) -> IntArray:
    """Bars from each true change after the first held bar until it is held (k,), in time order; -1 where it never is."""
    first = int(np.argmax(held != NOTHING_HELD))
    changes = (np.flatnonzero(np.diff(states)) + 1).tolist()
    lags = []
    for start, end in pairwise([*changes, len(states)]):
        if start > first:
            right = np.flatnonzero(held[start:end] == states[start])
            lags.append(int(right[0]) if len(right) else -1)
    return np.asarray(lags, dtype=np.int64)
