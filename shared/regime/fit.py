"""Learning a regime model: a Gaussian HMM with three states, full covariances, fitted by hmmlearn from fixed starting points.

Features are standardised on the training window and all priors are set in those units, so that fit(x) and fit(100·x) give the
same states; hmmlearn's defaults are made for data of another size (`quant.md`, "Regimes"). The starts are quantile splits of
the first feature, so nothing is random: the same window gives the same model. The most likely result that passes the
acceptance rules is kept; where none passes, `FitRejected` says why and the caller keeps the previous model.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from shared.domain.candles import FloatArray, IntArray
from shared.domain.errors import FitRejected, NotEnoughData
from shared.domain.interval import Interval
from shared.domain.regime import REGIMES
from shared.regime.features import FEATURES
from shared.regime.filter import filter_probabilities
from shared.regime.model import STATES, RegimeModel, nested_tuples
from shared.regime.params import RegimeParams

# Cuts between calm | balanced | stress as quantiles of the first feature; `restarts` takes the first ones.
_CUTS = ((0.33, 0.67), (0.5, 0.85), (0.2, 0.6), (0.4, 0.9), (0.6, 0.95), (0.15, 0.5), (0.25, 0.75), (0.1, 0.9))
_START_STAY = 0.95
_TRANSITION_FLOOR = 1e-6
"""Smallest transition probability: a filter must never be unable to leave a state."""
_WARM_UP_ITERATIONS = 8
_FINALISTS = 2


@dataclass(frozen=True, eq=False)
class _Start:
    """Where expectation-maximisation begins, in standardised units."""

    start: FloatArray
    transition: FloatArray
    means: FloatArray
    covariances: FloatArray


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
) -> RegimeModel:
    """Fit raw features (n, d), oldest first; rows with NaN are dropped. `previous` is one more starting point.

    Raises `NotEnoughData` below `params.min_train_bars` complete rows, `FitRejected` where every result has a state that holds
    too few bars or does not persist.
    """
    rows = features[np.isfinite(features).all(axis=1)]
    if len(rows) < params.min_train_bars:
        raise NotEnoughData(
            f"{asset} {interval}: {len(rows)} complete feature rows, a regime fit takes at least {params.min_train_bars}; "
            "load more history"
        )
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    # A feature that does not vary tells nothing; any scale does, and zero would divide.
    scale = np.where(scale > 1e-9 * np.maximum(np.abs(mean), 1.0), scale, 1.0)
    z = np.clip((rows - mean) / scale, -params.feature_clip, params.feature_clip)
    reference = previous if previous is not None and previous.feature_names == feature_names else None

    problems: list[str] = []
    for candidate in _fitted(z, _starts(z, params, reference, mean, scale), params):
        order = np.argsort(candidate.means_[:, 0], kind="stable")
        model = RegimeModel(
            asset=asset,
            interval=interval,
            feature_names=feature_names,
            mean=nested_tuples(mean),
            scale=nested_tuples(scale),
            clip=params.feature_clip,
            start=nested_tuples(_distribution(candidate.startprob_[order])),
            transition=nested_tuples(_distribution(candidate.transmat_[np.ix_(order, order)])),
            means=nested_tuples(candidate.means_[order]),
            covariances=nested_tuples(candidate.covars_[order]),
            valid_from_ms=valid_from_ms,
            train_start_ms=train_start_ms,
            train_bars=len(rows),
            log_likelihood=float(candidate.monitor_.history[-1]),
            converged=bool(candidate.monitor_.converged),
            params=params.fit_settings,
            previous_id=reference.id if reference else None,
            match=_match(candidate.means_[order] * scale + mean, reference),
        )
        problem = acceptance_problem(model, rows, params)
        if problem is None:
            return model
        problems.append(problem)
    said = "; ".join(problems) or "in every run a state ran out of bars"
    raise FitRejected(f"{asset} {interval}: no fit is acceptable ({said}); the previous model stays")


def acceptance_problem(model: RegimeModel, features: FloatArray, params: RegimeParams) -> str | None:
    """Why a model may not be used, or `None`: every state holds enough of the raw training rows and persists."""
    states = np.argmax(filter_probabilities(model, features), axis=1)
    shares = np.bincount(states, minlength=STATES) / len(states)
    weakest = int(np.argmin(shares))
    if shares[weakest] < params.min_state_share:
        return f"{REGIMES[weakest]} holds {shares[weakest]:.1%} of the bars, at least {params.min_state_share:.0%} expected"
    stays = np.diag(model.transition_array)
    loosest = int(np.argmin(stays))
    if stays[loosest] < params.min_self_transition:
        return f"{REGIMES[loosest]} stays with probability {stays[loosest]:.2f}, at least {params.min_self_transition} expected"
    return None


def _fitted(z: FloatArray, starts: list[_Start], params: RegimeParams) -> list[Any]:
    """hmmlearn models, most likely first: short runs from every start, full runs from the best (Biernacki et al. 2003)."""
    with threadpool_limits(1, user_api="blas"), _quiet_hmmlearn():  # 3 × 3 products: threads only cost
        runs = [_run(z, start, params, _WARM_UP_ITERATIONS) for start in starts]
        short = [run for run in runs if run is not None]
        short.sort(key=_likelihood, reverse=True)
        # Starts that lead to the same optimum are one start.
        distinct: list[Any] = []
        for run in short:
            if all(np.abs(np.sort(run.means_[:, 0]) - np.sort(kept.means_[:, 0])).max() > 0.05 for kept in distinct):
                distinct.append(run)
        full = [
            _run(z, _Start(run.startprob_, run.transmat_, run.means_, run.covars_), params, params.max_iterations)
            for run in distinct[:_FINALISTS]
        ]
    return sorted((run for run in full if run is not None), key=_likelihood, reverse=True)


@contextlib.contextmanager
def _quiet_hmmlearn() -> Iterator[None]:
    """hmmlearn's bound leaves the covariance prior out, so that it takes the last nats of a run for a failure to converge."""
    log = logging.getLogger("hmmlearn.base")
    disabled, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = disabled


def _likelihood(run: Any) -> float:
    return float(run.monitor_.history[-1])


def _run(z: FloatArray, start: _Start, params: RegimeParams, iterations: int) -> Any:
    """One hmmlearn run, or `None` where a state ran out of bars: such a start leads to no model.

    `covars_prior` adds that many pseudo-sums of squares: `min_covariance` of the weight of a third of the bars.
    """
    from hmmlearn.hmm import GaussianHMM  # takes two seconds to import; only a refit pays them

    d = z.shape[1]
    model = GaussianHMM(
        n_components=STATES,
        covariance_type="full",
        min_covar=params.min_covariance,
        covars_prior=params.min_covariance * len(z) / STATES * np.eye(d),
        covars_weight=float(d),
        n_iter=iterations,
        tol=params.tolerance,
        implementation="scaling",
        params="stmc",
        init_params="",
    )
    model.n_features = d
    model.startprob_, model.transmat_ = start.start, start.transition
    model.means_, model.covars_ = start.means, start.covariances
    try:
        with np.errstate(all="ignore"):
            model.fit(z)
    except ValueError:  # hmmlearn's word for a covariance of an empty state
        return None
    return model if np.isfinite(_likelihood(model)) else None


def _starts(
    z: FloatArray, params: RegimeParams, previous: RegimeModel | None, mean: FloatArray, scale: FloatArray
) -> list[_Start]:
    starts = [_split_start(z, cuts) for cuts in _CUTS[: params.restarts]]
    if previous is not None:
        # The previous model's units become those of this window.
        ratio = np.asarray(previous.scale) / scale
        means = (np.asarray(previous.means) * np.asarray(previous.scale) + np.asarray(previous.mean) - mean) / scale
        covariances = np.asarray(previous.covariances) * np.outer(ratio, ratio)
        starts.append(_Start(np.full(STATES, 1 / STATES), previous.transition_array, means, covariances))
    return starts


def _split_start(z: FloatArray, cuts: tuple[float, float]) -> _Start:
    """States = ranges of the first feature between two quantiles; each keeps part of the common spread."""
    labels: IntArray = np.searchsorted(np.quantile(z[:, 0], cuts), z[:, 0])
    means, covariances = np.empty((STATES, z.shape[1])), np.empty((STATES, z.shape[1], z.shape[1]))
    for state in range(STATES):
        members = z[labels == state]
        means[state] = members.mean(axis=0) if len(members) else z.mean(axis=0)
        spread = members.T if len(members) > z.shape[1] else z.T
        covariances[state] = np.cov(spread) + 0.1 * np.eye(z.shape[1])
    transition = np.full((STATES, STATES), (1 - _START_STAY) / (STATES - 1))
    np.fill_diagonal(transition, _START_STAY)
    return _Start(np.full(STATES, 1 / STATES), transition, means, covariances)


def _distribution(values: FloatArray) -> FloatArray:
    floored = np.maximum(values, _TRANSITION_FLOOR)
    return np.asarray(floored / floored.sum(axis=-1, keepdims=True))


def _match(means: FloatArray, previous: RegimeModel | None) -> tuple[int, ...] | None:
    """For each state (raw-unit means (3, d)) the nearest state of the previous model, in that model's units."""
    if previous is None:
        return None
    z = (means - np.asarray(previous.mean)) / np.asarray(previous.scale)
    distance = np.linalg.norm(z[:, None, :] - np.asarray(previous.means)[None, :, :], axis=2)
    return tuple(int(state) for state in np.argmin(distance, axis=1))
