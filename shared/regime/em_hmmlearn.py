"""Expectation-maximisation by hmmlearn: the reference, and the engine where numba is not installed."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from shared.domain.candles import FloatArray
from shared.regime.mixture import Mixture, Run, covariance_prior
from shared.regime.model import STATES
from shared.regime.params import RegimeParams


def run(z: FloatArray, start: Mixture, params: RegimeParams, iterations: int) -> Run | None:
    """At most `iterations` from `start` over standardised rows (n, d); `None` where a state ran out of bars."""
    from hmmlearn.hmm import GaussianHMM  # takes two seconds to import; only a refit pays them

    d = z.shape[1]
    model = GaussianHMM(
        n_components=STATES,
        covariance_type="full",
        min_covar=params.min_covariance,
        covars_prior=covariance_prior(len(z), params) * np.eye(d),
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
        # Products of 3 × 3 matrices: threads only cost.
        with threadpool_limits(1, user_api="blas"), _quiet_hmmlearn(), np.errstate(all="ignore"):
            model.fit(z)
    except ValueError:  # hmmlearn's word for a covariance of an empty state
        return None
    log_likelihood = float(model.monitor_.history[-1])
    if not np.isfinite(log_likelihood):
        return None
    fitted = Mixture(model.startprob_, model.transmat_, model.means_, model.covars_)
    return Run(fitted, log_likelihood, bool(model.monitor_.converged))


@contextlib.contextmanager
def _quiet_hmmlearn() -> Iterator[None]:
    """hmmlearn's bound leaves the covariance prior out, so that it takes the last nats of a run for a failure to converge."""
    log = logging.getLogger("hmmlearn.base")
    disabled, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = disabled
