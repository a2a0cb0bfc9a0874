"""Learning a jump model: coordinate descent between centres (means of the assigned bars) and states (dynamic programming).

Each half-step lowers the objective, so the descent ends (Nystrup, Lindström, Madsen 2020, algorithm 1; Bemporad et al. 2018).
Their random k-means++ starts are replaced by the quantile cuts of the HMM's fit and the previous model's centres: the same
window gives the same model. The lowest objective that passes the acceptance rules of the HMM is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.domain.candles import FloatArray, IntArray
from shared.domain.errors import FitRejected
from shared.domain.interval import Interval
from shared.domain.regime import REGIMES
from shared.regime.features import JUMP_FEATURES, feature_columns
from shared.regime.fit import CUTS, LIKELIHOOD_DECIMALS, PARAMETER_DECIMALS, training_window
from shared.regime.jump import JumpModel, jump_losses
from shared.regime.model import STATES
from shared.regime.params import RegimeParams
from shared.regime.stored import nested_tuples
from shared.speed import LOOP_ROWS, fast

_SMALLEST_TEMPERATURE = 1e-3


@dataclass(frozen=True, eq=False)
class Descent:
    """Where one starting point led."""

    centres: FloatArray
    """(3, d), in no particular order"""
    states: IntArray
    """(n,)"""
    objective: float
    converged: bool


def fit_jump_model(
    features: FloatArray,
    *,
    asset: str,
    interval: Interval,
    valid_from_ms: int,
    train_start_ms: int,
    params: RegimeParams,
    feature_names: tuple[str, ...] = JUMP_FEATURES,
    previous: JumpModel | None = None,
) -> JumpModel:
    """Fit rows of `regime_features` (n, 3), oldest first; rows with NaN are dropped. `previous` is one more starting point.

    Raises `NotEnoughData` below `params.min_train_bars` complete rows, `FitRejected` where every result has a state that holds
    too few bars or does not persist.
    """
    window = training_window(feature_columns(features, feature_names), f"{asset} {interval}", params)
    z = window.z
    reference = previous if previous is not None and previous.feature_names == feature_names else None
    starts = [_cut_centres(z, cuts) for cuts in CUTS[: params.restarts]]
    if reference is not None:
        raw = np.asarray(reference.centres) * np.asarray(reference.scale) + np.asarray(reference.mean)
        starts.append((raw - window.mean) / window.scale)
    descents = sorted((descend(z, start, params.jump_penalty, params.max_iterations) for start in starts), key=_objective)
    problems: list[str] = []
    for descent in descents:
        order = np.argsort(descent.centres[:, 0], kind="stable")
        problem = _problem(np.argsort(order)[descent.states], params)
        if problem is None:
            return JumpModel(
                asset=asset,
                interval=interval,
                feature_names=feature_names,
                mean=nested_tuples(window.mean),
                scale=nested_tuples(window.scale),
                clip=params.feature_clip,
                centres=nested_tuples(np.round(descent.centres[order], PARAMETER_DECIMALS)),
                penalty=params.jump_penalty,
                temperature=_temperature(z, descent),
                valid_from_ms=valid_from_ms,
                train_start_ms=train_start_ms,
                train_bars=len(z),
                objective=round(descent.objective, LIKELIHOOD_DECIMALS),
                converged=descent.converged,
                params=params.jump_settings,
                previous_id=reference.id if reference else None,
            )
        if problem not in problems:
            problems.append(problem)
    raise FitRejected(f"{asset} {interval}: no jump model is acceptable ({'; '.join(problems)}); the previous model stays")


def descend(z: FloatArray, centres: FloatArray, penalty: float, max_iterations: int) -> Descent:
    """Coordinate descent from `centres` (3, d) over standardised rows (n, d); a state without bars keeps its centre."""
    states, objective, converged = np.full(len(z), -1, dtype=np.int64), np.inf, False
    for _ in range(max_iterations):
        path, objective = best_path(jump_losses(z, centres), penalty)
        converged = bool(np.array_equal(path, states))
        if converged:
            break
        states = path
        sums = np.stack([np.bincount(states, weights=column, minlength=STATES) for column in z.T], axis=1)
        counts = np.bincount(states, minlength=STATES)[:, None]
        centres = np.where(counts > 0, sums / np.maximum(counts, 1), centres)
    return Descent(centres, states, float(objective), converged)


def best_path(losses: FloatArray, penalty: float) -> tuple[IntArray, float]:
    """The states (n,) that minimise Σ losses + penalty · jumps over losses (n, 3), and the minimum."""
    n = len(losses)
    if n == 0:
        return np.empty(0, dtype=np.int64), 0.0
    states, origins = np.empty(n, dtype=np.int64), np.empty((n, STATES), dtype=np.int8)
    value = fast(_viterbi, LOOP_ROWS)(losses, penalty, origins, states)
    return states, float(value)


def _viterbi(losses: Any, penalty: float, origins: Any, states: Any) -> float:
    """Forward values with the state that each came from, then the way back; returns the minimum."""
    n = len(losses)
    v0, v1, v2 = losses[0, 0], losses[0, 1], losses[0, 2]
    for row in range(1, n):
        best = 0
        lowest = v0
        if v1 < lowest:
            best, lowest = 1, v1
        if v2 < lowest:
            best, lowest = 2, v2
        jumped = lowest + penalty
        origins[row, 0] = best if jumped < v0 else 0
        origins[row, 1] = best if jumped < v1 else 1
        origins[row, 2] = best if jumped < v2 else 2
        v0 = losses[row, 0] + min(v0, jumped)
        v1 = losses[row, 1] + min(v1, jumped)
        v2 = losses[row, 2] + min(v2, jumped)
    lowest = min(v0, v1, v2)
    state = 0 if v0 == lowest else 1 if v1 == lowest else 2
    for row in range(n - 1, -1, -1):
        states[row] = state
        state = origins[row, state]
    return float(lowest)


def _cut_centres(z: FloatArray, cuts: tuple[float, float]) -> FloatArray:
    """Means of three ranges of the first feature."""
    labels = np.searchsorted(np.quantile(z[:, 0], cuts), z[:, 0])
    ranges = (z[labels == state] for state in range(STATES))
    return np.stack([rows.mean(axis=0) if len(rows) else z.mean(axis=0) for rows in ranges])


def _temperature(z: FloatArray, descent: Descent) -> float:
    distances = (z - descent.centres[descent.states]) ** 2
    return max(round(float(distances.mean()), PARAMETER_DECIMALS), _SMALLEST_TEMPERATURE)


def _objective(descent: Descent) -> float:
    return descent.objective


def _problem(states: IntArray, params: RegimeParams) -> str | None:
    """Why states in `REGIMES` order (n,) may not be used, or `None`."""
    counts = np.bincount(states, minlength=STATES)
    shares = counts / len(states)
    weakest = int(np.argmin(shares))
    if shares[weakest] < params.min_state_share:
        return f"{REGIMES[weakest]} holds {shares[weakest]:.1%} of the bars, at least {params.min_state_share:.0%} expected"
    left = np.bincount(states[:-1][states[1:] != states[:-1]], minlength=STATES)
    stays = 1 - left / counts
    loosest = int(np.argmin(stays))
    if stays[loosest] < params.min_self_transition:
        return f"{REGIMES[loosest]} stays with probability {stays[loosest]:.2f}, at least {params.min_self_transition} expected"
    return None
