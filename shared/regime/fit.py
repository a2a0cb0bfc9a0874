"""Learning a regime model: a Gaussian HMM with three states, full covariances, fitted by expectation-maximisation.

Features are standardised on the training window and all priors are set in those units, so that fit(x) and fit(100·x) give the
same states; hmmlearn's defaults are made for data of another size (`quant.md`, "Regimes"). The starts are quantile splits of
the first feature, or the previous model alone: nothing is random, the same window gives the same model. The most likely result
that passes the acceptance rules is kept; where none passes, `FitRejected` says why and the caller keeps the previous model.

hmmlearn fits where numba is absent, a compiled twin where it is there. They agree to about 1e-12, features of a live window and
of a whole history to 1e-13, and what a model stores is rounded far above that: all give the same model under the same id.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.domain.candles import FloatArray
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
    known = np.isfinite(features)
    rows = features if known.all() else features[known.all(axis=1)]
    if len(rows) < params.min_train_bars:
        raise NotEnoughData(
            f"{subject}: {len(rows)} complete feature rows, a regime fit takes at least {params.min_train_bars}; "
            "load more history"
        )
    mean = rows.sum(axis=0) / len(rows)
    scale = np.sqrt(((rows - mean) ** 2).sum(axis=0) / len(rows))
    mean, scale = np.array([_units(*pair) for pair in zip(mean.tolist(), scale.tolist(), strict=True)]).T
    columns = np.ascontiguousarray(rows.T)  # numpy is at its best along long rows
    z = np.clip((columns - mean[:, None]) / scale[:, None], -params.feature_clip, params.feature_clip)
    return TrainingWindow(rows, mean, scale, np.ascontiguousarray(z.T))


def _units(mean: float, scale: float) -> tuple[float, float]:
    """Rounded relative to the scale. A feature that does not vary tells nothing; any scale does, and zero would divide."""
    scale = scale if scale > 1e-9 * max(abs(mean), 1.0) else 1.0
    digits = _UNIT_DIGITS - math.floor(math.log10(scale))
    return round(mean, digits), round(scale, digits)


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
        parts, order = candidate.mixture, candidate.mixture.means[:, 0].argsort(kind="stable")
        covariances = parts.covariances[order]
        covariances = ((covariances + covariances.transpose(0, 2, 1)) / 2).round(PARAMETER_DECIMALS)
        means = parts.means[order].round(PARAMETER_DECIMALS)
        return RegimeModel(
            asset=asset,
            interval=interval,
            feature_names=feature_names,
            mean=nested_tuples(window.mean),
            scale=nested_tuples(window.scale),
            clip=params.feature_clip,
            start=_distribution(parts.start[order]),
            transition=tuple(_distribution(row) for row in parts.transition[order][:, order]),
            means=nested_tuples(means),
            covariances=nested_tuples(covariances),
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
    stays = [row[state] for state, row in enumerate(model.transition)]
    loosest = stays.index(min(stays))
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
    starts = _split_starts(window.z, np.quantile(window.z[:, 0], CUTS[: params.restarts]))
    runs = [engine(window.z, start, params, _WARM_UP_ITERATIONS) for start in starts]
    short = sorted((run for run in runs if run is not None), key=_likelihood, reverse=True)
    # Starts that lead to the same optimum are one start.
    distinct: list[tuple[Run, list[float]]] = []
    for run in short:
        levels = sorted(run.mixture.means[:, 0].tolist())
        if all(max(abs(a - b) for a, b in zip(levels, kept, strict=True)) > 0.05 for _, kept in distinct):
            distinct.append((run, levels))
    full = [engine(window.z, run.mixture, params, params.max_iterations) for run, _ in distinct[:_FINALISTS]]
    return sorted((run for run in full if run is not None), key=_likelihood, reverse=True)


def _likelihood(run: Run) -> float:
    return run.log_likelihood


def _previous_start(previous: RegimeModel, window: TrainingWindow) -> Mixture:
    """The previous model's parameters in the units of this window."""
    old_scale = np.asarray(previous.scale)
    ratio = old_scale / window.scale
    means = (np.asarray(previous.means) * old_scale + np.asarray(previous.mean) - window.mean) / window.scale
    covariances = np.asarray(previous.covariances) * (ratio[:, None] * ratio)
    return Mixture(np.full(STATES, 1 / STATES), previous.transition_array, means, covariances)


def _split_starts(z: FloatArray, edges: FloatArray) -> list[Mixture]:
    """One start per pair of `edges` (k, 2): states = ranges of the first feature; each keeps part of the common spread."""
    (n, d), first = z.shape, z[:, 0]
    above = first > edges[:, :, None]  # (k, 2, n)
    members = np.concatenate([~above[:, :1], above[:, :1] & ~above[:, 1:], above[:, 1:]], axis=1).astype(np.float64)
    # The moments of all states of all starts are one product: counts, sums, sums of squares.
    terms = np.concatenate([np.ones((n, 1)), z, (z[:, :, None] * z[:, None, :]).reshape(n, d * d)], axis=1)
    moments = members @ terms  # (k, 3, 1 + d + d²)
    everything = moments.sum(axis=1, keepdims=True)
    at = np.where(moments[:, :, :1] > 0, moments, everything)
    means = at[:, :, 1 : d + 1] / at[:, :, :1]
    spread = np.where(moments[:, :, :1] > d, moments, everything)
    counts, centre = spread[:, :, :1, None], spread[:, :, 1 : d + 1] / spread[:, :, :1]
    products = spread[:, :, d + 1 :].reshape(*centre.shape, d) - counts * centre[:, :, :, None] * centre[:, :, None, :]
    covariances = products / (counts - 1) + 0.1 * np.eye(d)
    transition = np.full((STATES, STATES), (1 - _START_STAY) / (STATES - 1))
    np.fill_diagonal(transition, _START_STAY)
    even = np.full(STATES, 1 / STATES)
    return [Mixture(even, transition, *parts) for parts in zip(means, covariances, strict=True)]


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
    squares = (z[:, None, :] - np.asarray(previous.means)) ** 2
    return tuple(squares.sum(axis=2).argmin(axis=1).tolist())
