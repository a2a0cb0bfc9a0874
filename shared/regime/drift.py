"""Is the regime drifting: distance from the recent mean, a two-sided CUSUM on it, and consecutive bars of stress.

    d_t = P_t − mean(P_{t−w} … P_{t−1})
    S⁺_t = max(0, S⁺_{t−1} + d_t − k),  S⁻_t = max(0, S⁻_{t−1} − d_t − k);  an alarm when either exceeds h, which resets it
(Page 1954). Stress counts *closed bars*: P(stress) > 0.6 for 3 of them is a warning, for 6 critical. All states are values
that the ledger can keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from shared.domain.candles import BoolArray, FloatArray
from shared.domain.regime import RegimeProbabilities
from shared.regime.params import RegimeParams


class StressLevel(StrEnum):
    """How long stress has lasted."""

    NONE = "none"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Cusum:
    """Both sums of one probability, in probability × bars."""

    up: float = 0.0
    down: float = 0.0


@dataclass(frozen=True, eq=False)
class DriftPath:
    """Drift over `n` bars; columns in `REGIMES` order."""

    drift: FloatArray
    """(n, 3) probability − trailing mean; NaN until the window is full"""
    alarm_up: BoolArray
    """(n, 3) the probability has drifted up"""
    alarm_down: BoolArray
    """(n, 3) the probability has drifted down"""


def drift_from_mean(probabilities: FloatArray, window: int) -> FloatArray:
    """P_t − mean of the `window` rows before t, shape (n, 3); NaN where one of those rows is missing."""
    drift = np.full(probabilities.shape, np.nan)
    if len(probabilities) > window:
        windows = np.lib.stride_tricks.sliding_window_view(probabilities[:-1], window, axis=0)
        drift[window:] = probabilities[window:] - windows.mean(axis=-1)
    return drift


def cusum_step(state: Cusum, drift: float, params: RegimeParams) -> tuple[Cusum, bool, bool]:
    """One bar further: the new sums and whether up or down alarms now. An alarm resets its sum; NaN changes nothing."""
    if drift != drift:
        return state, False, False
    up = max(0.0, state.up + drift - params.cusum_slack)
    down = max(0.0, state.down - drift - params.cusum_slack)
    up_alarm, down_alarm = up > params.cusum_limit, down > params.cusum_limit
    return Cusum(0.0 if up_alarm else up, 0.0 if down_alarm else down), up_alarm, down_alarm


def drift_path(probabilities: FloatArray, params: RegimeParams) -> DriftPath:
    """Drift and CUSUM alarms of filtered probabilities (n, 3)."""
    drift = drift_from_mean(probabilities, params.drift_window)
    alarms = np.zeros((2, *drift.shape), dtype=np.bool_)
    for column in range(drift.shape[1]):
        state = Cusum()
        for row, value in enumerate(drift[:, column].tolist()):
            state, alarms[0, row, column], alarms[1, row, column] = cusum_step(state, value, params)
    return DriftPath(drift, alarms[0], alarms[1])


def count_stress(stress_bars: int, probabilities: RegimeProbabilities, params: RegimeParams) -> int:
    """Consecutive stress bars after one more closed bar. The caller counts a bar once (`TransitionState.bar_close_ms`)."""
    return stress_bars + 1 if probabilities.stress > params.stress_probability else 0


def stress_level(stress_bars: int, params: RegimeParams) -> StressLevel:
    """What a count of consecutive stress bars means."""
    if stress_bars >= params.stress_critical_bars:
        return StressLevel.CRITICAL
    return StressLevel.WARNING if stress_bars >= params.stress_warning_bars else StressLevel.NONE
