"""Persistent changes of regime, with the noise of single bars filtered out (reference document 1, flow 3).

    EMA_t = α P_t + (1 − α) EMA_{t−1},  α = 0.3
A regime is entered when its EMA exceeds 0.6 after at least 3 closed bars and the held regime's EMA has fallen below the exit
threshold (hysteresis); when none qualifies, the held regime stays. Pure: state and bar in, state and record out, keyed by bar
close, so that the same bar twice counts once. `follow` is the one source of the arithmetic, for a live bar and for a history.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.domain.candles import FloatArray
from shared.domain.records import RegimeState
from shared.domain.regime import REGIMES, Regime, RegimeProbabilities
from shared.regime.params import RegimeParams
from shared.speed import fast

NOTHING_HELD = -1
"""In an array of held regimes: a bar before the first one that was counted."""


@dataclass(frozen=True, slots=True)
class TransitionState:
    """What the detector remembers. Before its first transition it holds balanced, the neutral regime."""

    regime: Regime = Regime.BALANCED
    ema: tuple[float, float, float] | None = None
    """averaged probabilities in `REGIMES` order; `None` before the first bar"""
    observations: int = 0
    bar_close_ms: int | None = None
    """close of the newest bar that was counted"""

    @classmethod
    def restored(cls, state: RegimeState) -> TransitionState:
        """From the ledger."""
        return cls(state.regime, state.ema, state.observations, state.bar_close_ms)


@dataclass(frozen=True, slots=True)
class TransitionRecord:
    """What one bar did; the fields of the reference document."""

    transition_detected: bool
    current_regime: Regime
    dominant_regime: Regime
    """largest averaged probability"""
    ema_probability: float
    """averaged probability of the dominant regime"""
    raw_probabilities: dict[str, float]
    reason: str
    """persistent_transition_to_…, holding_…, warming_up or same_bar"""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def advance(
    state: TransitionState, probabilities: RegimeProbabilities, bar_close_ms: int, params: RegimeParams
) -> tuple[TransitionState, TransitionRecord]:
    """Count one closed bar. A bar that is not newer than the last one counted changes nothing."""
    new = (probabilities.calm, probabilities.balanced, probabilities.stress)
    if state.ema is not None and state.bar_close_ms is not None and bar_close_ms <= state.bar_close_ms:
        return state, _record(state, state.ema, probabilities, detected=False, reason="same_bar")
    calm, balanced, stress = state.ema or new
    before = Followed(REGIMES.index(state.regime), calm, balanced, stress, state.observations)
    after = follow([new], before, _rule(params), [NOTHING_HELD])

    regime, ema = REGIMES[after.regime], (after.calm, after.balanced, after.stress)
    if regime is not state.regime:
        reason = f"persistent_transition_to_{regime}"
    else:
        reason = "warming_up" if after.observations < params.min_observations else f"holding_{regime}"
    advanced = TransitionState(regime, ema, after.observations, bar_close_ms)
    return advanced, _record(advanced, ema, probabilities, detected=regime is not state.regime, reason=reason)


def held_regimes(probabilities: FloatArray, params: RegimeParams, first: int = 0) -> NDArray[np.int8]:
    """The regime that is held at each of n bars, as its place in `REGIMES`: `advance` from a fresh state at row `first` on.

    `probabilities` (n, 3) are known from `first` on; rows before it are `NOTHING_HELD`.
    """
    held = np.full(len(probabilities), NOTHING_HELD, dtype=np.int8)
    if first < len(probabilities):
        rows = np.ascontiguousarray(probabilities[first:])
        calm, balanced, stress = rows[0].tolist()
        fresh = Followed(REGIMES.index(TransitionState().regime), calm, balanced, stress, 0)
        fast(follow, len(rows))(rows, fresh, _rule(params), held[first:])
    return held


class Followed(NamedTuple):
    """The detector's memory as plain numbers: held regime, averaged probabilities, bars counted."""

    regime: int
    calm: float
    balanced: float
    stress: float
    observations: int


class _Rule(NamedTuple):
    ema_alpha: float
    enter_threshold: float
    exit_threshold: float
    min_observations: int


def _rule(params: RegimeParams) -> _Rule:
    return _Rule(params.ema_alpha, params.enter_threshold, params.exit_threshold, params.min_observations)


def follow(rows: Any, before: Followed, rule: _Rule, held: Any) -> Followed:
    """Count the bars of `rows` (n, 3) after `before`; the held regime of each goes into `held` (n,).

    Before the first bar the averages in `before` are that bar's own probabilities. Plain Python for one bar, compiled for many.
    """
    regime, observations = before.regime, before.observations
    e0, e1, e2 = before.calm, before.balanced, before.stress
    a = rule.ema_alpha
    for row in range(len(rows)):
        e0 = a * rows[row][0] + (1 - a) * e0
        e1 = a * rows[row][1] + (1 - a) * e1
        e2 = a * rows[row][2] + (1 - a) * e2
        observations += 1
        dominant = 0 if e0 >= e1 and e0 >= e2 else 1 if e1 >= e2 else 2
        largest = e0 if dominant == 0 else e1 if dominant == 1 else e2
        current = e0 if regime == 0 else e1 if regime == 1 else e2
        if observations >= rule.min_observations and largest > rule.enter_threshold and current < rule.exit_threshold:
            regime = dominant
        held[row] = regime
    return Followed(regime, e0, e1, e2, observations)


def _record(
    state: TransitionState, ema: tuple[float, float, float], raw: RegimeProbabilities, *, detected: bool, reason: str
) -> TransitionRecord:
    dominant = max(range(len(REGIMES)), key=lambda i: ema[i])
    return TransitionRecord(detected, state.regime, REGIMES[dominant], ema[dominant], raw.as_dict(), reason)
