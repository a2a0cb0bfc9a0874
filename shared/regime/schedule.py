"""When a model is fitted anew: instants on a calendar grid, never counted from where a series happens to end.

Default: every Monday 00:00 UTC. A model that is valid from an instant was trained on bars that were closed by then, so that
cutting off the future changes no model. `refit` is the whole step for one instant: features → fit → model or reason.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.domain.asset import Asset
from shared.domain.errors import FitRejected, NotEnoughData
from shared.domain.frame import Frame
from shared.domain.interval import DAY_MS
from shared.regime.features import regime_features
from shared.regime.fit import fit_regime_model
from shared.regime.model import RegimeModel
from shared.regime.params import RegimeParams

GRID_ANCHOR_MS = 4 * DAY_MS
"""Monday 1970-01-05 00:00 UTC."""


@dataclass(frozen=True, slots=True)
class Refit:
    """What one instant gave: the model in force from then on, and why it is a new one or not."""

    instant_ms: int
    model: RegimeModel | None
    """the new model, or the previous one where the fit failed"""
    fitted: bool
    reason: str


def last_instant(now_ms: int, params: RegimeParams) -> int:
    """The newest refit instant at or before `now_ms`."""
    period = params.refit_days * DAY_MS
    return (now_ms - GRID_ANCHOR_MS) // period * period + GRID_ANCHOR_MS


def refit_instants(start_ms: int, end_ms: int, params: RegimeParams) -> tuple[int, ...]:
    """Every instant of the grid in [start_ms, end_ms)."""
    period = params.refit_days * DAY_MS
    first = last_instant(start_ms + period - 1, params)
    return tuple(range(first, end_ms, period))


def refit_due(last_tried_ms: int | None, now_ms: int, params: RegimeParams) -> int | None:
    """The instant to refit at, or `None`. `last_tried_ms` is the newest instant that was tried, successful or not."""
    instant = last_instant(now_ms, params)
    return instant if last_tried_ms is None or last_tried_ms < instant else None


def training_rows(frame: Frame, instant_ms: int, params: RegimeParams) -> slice:
    """Rows of `frame` that a fit at `instant_ms` learns from: the newest `train_bars` that were closed by then."""
    end = int(np.searchsorted(frame.close_time, instant_ms, side="right"))
    return slice(max(0, end - params.train_bars), end)


def refit(frame: Frame, asset: Asset, instant_ms: int, params: RegimeParams, previous: RegimeModel | None = None) -> Refit:
    """Fit at one instant; where there is too little data or nothing acceptable, `previous` stays and the reason says so."""
    rows = training_rows(frame, instant_ms, params)
    features = regime_features(frame.rows(rows))
    try:
        model = fit_regime_model(
            features,
            asset=str(asset),
            interval=frame.interval,
            valid_from_ms=instant_ms,
            train_start_ms=int(frame.open_time[rows.start]) if len(features) else instant_ms,
            params=params,
            previous=previous,
        )
    except (NotEnoughData, FitRejected) as error:
        return Refit(instant_ms, previous, fitted=False, reason=str(error))
    return Refit(instant_ms, model, fitted=True, reason=f"fitted on {model.train_bars} bars, model {model.id}")


def fit_history(
    frame: Frame, asset: Asset, params: RegimeParams, *, since_ms: int | None = None, previous: RegimeModel | None = None
) -> tuple[Refit, ...]:
    """`refit` at every instant of the grid that the frame covers (from `since_ms`), each warm-started from the one before."""
    if len(frame) == 0:
        return ()
    start = int(frame.close_time[0]) if since_ms is None else since_ms
    results: list[Refit] = []
    for instant in refit_instants(start, int(frame.close_time[-1]) + 1, params):
        results.append(refit(frame, asset, instant, params, previous))
        previous = results[-1].model
    return tuple(results)
