"""Persistent changes of regime, with the noise of single bars filtered out (reference document 1, flow 3).

    EMA_t = α P_t + (1 − α) EMA_{t−1},  α = 0.3
A regime is entered when its EMA exceeds 0.6 after at least 3 closed bars and the held regime's EMA has fallen below the exit
threshold (hysteresis); when none qualifies, the held regime stays. Pure: state and bar in, state and record out, keyed by bar
close, so that the same bar twice counts once.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from shared.domain.records import RegimeState
from shared.domain.regime import REGIMES, Regime, RegimeProbabilities
from shared.regime.params import RegimeParams


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
    new = tuple(probabilities.of(regime) for regime in REGIMES)
    if state.ema is not None and state.bar_close_ms is not None and bar_close_ms <= state.bar_close_ms:
        return state, _record(state, state.ema, probabilities, detected=False, reason="same_bar")
    a = params.ema_alpha
    old = state.ema or new
    ema = (a * new[0] + (1 - a) * old[0], a * new[1] + (1 - a) * old[1], a * new[2] + (1 - a) * old[2])
    observations = state.observations + 1

    regime, reason = state.regime, f"holding_{state.regime}"
    dominant = max(range(len(REGIMES)), key=lambda i: ema[i])
    if observations < params.min_observations:
        reason = "warming_up"
    elif (
        REGIMES[dominant] is not state.regime
        and ema[dominant] > params.enter_threshold
        and ema[REGIMES.index(state.regime)] < params.exit_threshold
    ):
        regime = REGIMES[dominant]
        reason = f"persistent_transition_to_{regime}"
    advanced = TransitionState(regime, ema, observations, bar_close_ms)
    return advanced, _record(advanced, ema, probabilities, detected=regime is not state.regime, reason=reason)


def _record(
    state: TransitionState, ema: tuple[float, float, float], raw: RegimeProbabilities, *, detected: bool, reason: str
) -> TransitionRecord:
    dominant = max(range(len(REGIMES)), key=lambda i: ema[i])
    return TransitionRecord(detected, state.regime, REGIMES[dominant], ema[dominant], raw.as_dict(), reason)
