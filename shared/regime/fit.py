"""Learning a regime model: a Gaussian HMM with three states, full covariances, fitted by expectation-maximisation.

Features are standardised on the training window and all priors are set in those units, so that fit(x) and fit(100·x) give the
same states; hmmlearn's defaults are made for data of another size (`quant.md`, "Regimes"). The starts are quantile splits of
the first feature, or the previous model alone: nothing is random, the same window gives the same model. The most likely result
that passes the acceptance rules is kept; where none passes, `FitRejected` says why and the caller keeps the previous model.

hmmlearn fits where numba is absent, a compiled twin where it is there. They agree to about 1e-12, features of a live window and
of a whole history to 1e-13, and what a model stores is rounded far above that: all give the same model under the same id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.domain.candles import FloatArray, IntArray
from shared.domain.errors import FitRejected, NotEnoughData
from shared.domain.interval import Interval
from shared.domain.regime import REGIMES
from shared.regime.features import FEATURES
from shared.regime.filter import filter_standardised
from shared.regime.mixture import Engine, Mixture, Run
from shared.regime.model import STATES, RegimeModel, Vector
from shared.regime.params import RegimeParams
from shared.regime.stored import nested_tuples
from shared.speed import numba_installed

# Cuts between calm | balanced | stress as quantiles of the first feature; `restarts` takes the first ones.
CUTS = ((0.33, 0.67), (0.5, 0.85), (0.2, 0.6), (0.4, 0.9), (0.6, 0.95), (0.15, 0.5), (0.25, 0.75), (0.1, 0.9))
_START_STAY = 0.95
_TRANSITION_FLOOR = 1e-6
"""Smallest transition probability: a filter must never be unable to leave a state."""
_WARM_UP_ITERATIONS = 8
_FINALISTS = 2


PARAMETER_DECIMALS = 8
"""Of probabilities and of means and covariances in standardised units: far below what data can tell."""
LIKELIHOOD_DECIMALS = 4
_UNIT_DIGITS = 11
"""Of a feature's mean and scale, relative to the scale."""


@dataclass(frozen=True, eq=False)
class TrainingWindow:
    """Complete feature rows and their units."""

    rows: FloatArray
    """(n, d) raw"""
    mean: FloatArray
    """(d,)"""
    scale: FloatArray
    """(d,) standard deviation"""
    z: FloatArray
    """(n, d) standardised and clipped"""


def training_window(features: FloatArray, subject: str, params: RegimeParams) -> TrainingWindow:
    """The complete rows of raw features (n, d). Raises `NotEnoughData` below `params.min_train_bars` of them."""
    rows = features[np.isfinite(features.sum(axis=1))]  # a sum is finite where all of its terms are
    if len(rows) < params.min_train_bars:
        raise NotEnoughData(
            f"{subject}: {len(rows)} complete feature rows, a regime fit takes at least {params.min_train_bars}; "
            "load more history"
        )
    mean = rows.mean(axis=0)
    scale = np.sqrt(((rows - mean) ** 2).mean(axis=0))
    # A feature that does not vary tells nothing; any scale does, and zero would divide.
    scale = np.where(scale > 1e-9 * np.maximum(np.abs(mean), 1.0), scale, 1.0)
    digits = (_UNIT_DIGITS - np.floor(np.log10(scale))).astype(np.int64).tolist()
    mean, scale = (np.array([round(*pair) for pair in zip(values.tolist(), digits, strict=True)]) for values in (mean, scale))
    return TrainingWindow(rows, mean, scale, np.clip((rows - mean) / scale, -params.feature_clip, params.feature_clip))


def fit_regime_model(
    features: FloatArray,
    *,
    asset: str,
    interval: Interval,
    valid_from_ms: int,
    train_start_ms: int,
    params: RegimeParams,
    feature_names: tuple[str, ...] = FEATURES,
    previous: RegimeModel | None = None,
    engine: Engine | None = None,
) -> RegimeModel:
    """Fit raw features (n, d), oldest first; rows with NaN are dropped.

    With `previous` the fit goes on from that model, and looks from all starting points only where that leads to nothing
    acceptable; `schedule.refit` says when to look again without it. `engine` is expectation-maximisation (default: the
    fastest that is installed). Raises `NotEnoughData` below `params.min_train_bars` complete rows, `FitRejected` where every
    result has a state that holds too few bars or does not persist.
    """
    window = training_window(features, f"{asset} {interval}", params)
    run = default_engine() if engine is None else engine
    reference = previous if previous is not None and previous.feature_names == feature_names else None

    def model_of(candidate: Run) -> RegimeModel:
        parts, order = candidate.mixture, np.argsort(candidate.mixture.means[:, 0], kind="stable")
        covariances = parts.covariances[order]
        means = np.round(parts.means[order], PARAMETER_DECIMALS)
        return RegimeModel(
            asset=asset,
            interval=interval,
            feature_names=feature_names,
            mean=nested_tuples(window.mean),
            scale=nested_tuples(window.scale),
            clip=params.feature_clip,
            start=_distribution(parts.start[order]),
            transition=tuple(_distribution(row) for row in parts.transition[np.ix_(order, order)]),
            means=nested_tuples(means),
            covariances=nested_tuples(np.round((covariances + covariances.transpose(0, 2, 1)) / 2, PARAMETER_DECIMALS)),
            valid_from_ms=valid_from_ms,
            train_start_ms=train_start_ms,
            train_bars=len(window.rows),
            log_likelihood=round(candidate.log_likelihood, LIKELIHOOD_DECIMALS),
            converged=candidate.converged,
            params=params.fit_settings,
            previous_id=reference.id if reference else None,
            match=_match(means * window.scale + window.mean, reference),
        )

    problems: list[str] = []
    for look in (_continued, _searched):
        for candidate in look(window, reference, params, run):
            model = model_of(candidate)
            problem = acceptance_problem(model, window.z, params)
            if problem is None:
                return model
            problems.append(problem)
    said = "; ".join(problems) or "in every run a state ran out of bars"
    raise FitRejected(f"{asset} {interval}: no fit is acceptable ({said}); the previous model stays")


def default_engine() -> Engine:
    """The compiled engine where numba is installed, else hmmlearn."""
    if numba_installed():
        from shared.regime import em

        return em.run
    from shared.regime import em_hmmlearn

    return em_hmmlearn.run


def acceptance_problem(model: RegimeModel, z: FloatArray, params: RegimeParams) -> str | None:
    """Why a model may not be used, or `None`: every state holds enough of the standardised training rows and persists."""
    states = np.argmax(filter_standardised(model, z), axis=1)
    shares = np.bincount(states, minlength=STATES) / len(states)
    weakest = int(np.argmin(shares))
    if shares[weakest] < params.min_state_share:
        return f"{REGIMES[weakest]} holds {shares[weakest]:.1%} of the bars, at least {params.min_state_share:.0%} expected"
    stays = np.diag(model.transition_array)
    loosest = int(np.argmin(stays))
    if stays[loosest] < params.min_self_transition:
        return f"{REGIMES[loosest]} stays with probability {stays[loosest]:.2f}, at least {params.min_self_transition} expected"
    return None


def _continued(window: TrainingWindow, previous: RegimeModel | None, params: RegimeParams, engine: Engine) -> Sequence[Run]:
    """The run that starts from the previous model, if there is one."""
    if previous is None:
        return ()
    run = engine(window.z, _previous_start(previous, window), params, params.max_iterations)
    return () if run is None else (run,)


def _searched(window: TrainingWindow, _: RegimeModel | None, params: RegimeParams, engine: Engine) -> Sequence[Run]:
    """Most likely first: short runs from every cut, full runs from the best (Biernacki et al. 2003)."""
    edges = np.quantile(window.z[:, 0], CUTS[: params.restarts])
    starts = [_split_start(window.z, pair) for pair in edges]
    runs = [engine(window.z, start, params, _WARM_UP_ITERATIONS) for start in starts]
    short = sorted((run for run in runs if run is not None), key=_likelihood, reverse=True)
    # Starts that lead to the same optimum are one start.
    distinct: list[Run] = []
    for run in short:
        levels = np.sort(run.mixture.means[:, 0])
        if all(np.abs(levels - np.sort(kept.mixture.means[:, 0])).max() > 0.05 for kept in distinct):
            distinct.append(run)
    full = [engine(window.z, run.mixture, params, params.max_iterations) for run in distinct[:_FINALISTS]]
    return sorted((run for run in full if run is not None), key=_likelihood, reverse=True)


def _likelihood(run: Run) -> float:
    return run.log_likelihood


def _previous_start(previous: RegimeModel, window: TrainingWindow) -> Mixture:
    """The previous model's parameters in the units of this window."""
    old_scale, ratio = np.asarray(previous.scale), np.asarray(previous.scale) / window.scale
    means = (np.asarray(previous.means) * old_scale + np.asarray(previous.mean) - window.mean) / window.scale
    covariances = np.asarray(previous.covariances) * np.outer(ratio, ratio)
    return Mixture(np.full(STATES, 1 / STATES), previous.transition_array, means, covariances)


def _split_start(z: FloatArray, edges: FloatArray) -> Mixture:
    """States = ranges of the first feature between two values (2,); each keeps part of the common spread."""
    labels: IntArray = np.searchsorted(edges, z[:, 0])
    means, covariances = np.empty((STATES, z.shape[1])), np.empty((STATES, z.shape[1], z.shape[1]))
    for state in range(STATES):
        members = z[labels == state]
        means[state] = members.mean(axis=0) if len(members) else z.mean(axis=0)
        spread = members if len(members) > z.shape[1] else z
        centred = spread - spread.mean(axis=0)
        covariances[state] = centred.T @ centred / (len(spread) - 1) + 0.1 * np.eye(z.shape[1])
    transition = np.full((STATES, STATES), (1 - _START_STAY) / (STATES - 1))
    np.fill_diagonal(transition, _START_STAY)
    return Mixture(np.full(STATES, 1 / STATES), transition, means, covariances)


def _distribution(values: FloatArray) -> Vector:
    """Probabilities, none below the floor, rounded; the largest one takes up what rounding left."""
    floored = [max(value, _TRANSITION_FLOOR) for value in values.tolist()]
    total = sum(floored)
    rounded = [round(value / total, PARAMETER_DECIMALS) for value in floored]
    largest = rounded.index(max(rounded))
    rounded[largest] = round(1 - sum(rounded[:largest]) - sum(rounded[largest + 1 :]), PARAMETER_DECIMALS)
    return tuple(rounded)


def _match(means: FloatArray, previous: RegimeModel | None) -> tuple[int, ...] | None:
    """For each state (raw-unit means (3, d)) the nearest state of the previous model, in that model's units."""
    if previous is None:
        return None
    z = (means - np.asarray(previous.mean)) / np.asarray(previous.scale)
    distance = np.linalg.norm(z[:, None, :] - np.asarray(previous.means)[None, :, :], axis=2)
    return tuple(int(state) for state in np.argmin(distance, axis=1))
