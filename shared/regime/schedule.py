"""When a model is fitted anew: instants on a calendar grid, never counted from where a series happens to end.

Default: every Monday 00:00 UTC. A model that is valid from an instant was trained on bars that were closed by then, so that
cutting off the future changes no model. A fit goes on from the previous model; at the first instant of every `search_days` it
looks from all starting points instead and forgets the previous one, so that chains that began at different times meet there in
the same model, and can be fitted side by side. `refit` is the whole step for one instant: features → fit → model or reason.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from shared.domain.asset import Asset
from shared.domain.candles import FloatArray
from shared.domain.errors import FitRejected, NotEnoughData
from shared.domain.frame import Frame
from shared.domain.interval import DAY_MS, Interval
from shared.regime.features import regime_features
from shared.regime.fit import fit_regime_model
from shared.regime.jump import JumpModel
from shared.regime.jump_fit import fit_jump_model
from shared.regime.model import RegimeModel
from shared.regime.params import RegimeParams
from shared.speed import in_order

GRID_ANCHOR_MS = 4 * DAY_MS
"""Monday 1970-01-05 00:00 UTC."""

THREADED_BARS = 4096
"""Bars of a training window from which two threads pay: below, a fit spends its time in Python."""

Model = TypeVar("Model", RegimeModel, JumpModel)
OnProgress = Callable[[int, int], None]
"""Instants done, instants in all"""


@dataclass(frozen=True)
class ModelRefit(Generic[Model]):
    """What one instant gave: the model in force from then on, and why it is a new one or not."""

    instant_ms: int
    model: Model | None
    """the new model, or the previous one where the fit failed"""
    fitted: bool
    reason: str
    damaged: str = ""
    """what is wrong with the stored model that should have been in force"""


Refit = ModelRefit[RegimeModel]
JumpRefit = ModelRefit[JumpModel]


class Fit(Protocol[Model]):
    """`fit_regime_model` or `fit_jump_model`."""

    def __call__(
        self,
        features: FloatArray,
        *,
        asset: str,
        interval: Interval,
        valid_from_ms: int,
        train_start_ms: int,
        params: RegimeParams,
        previous: Model | None = None,
    ) -> Model:
        """Raises `NotEnoughData` or `FitRejected`."""


def last_instant(now_ms: int, params: RegimeParams) -> int:
    """The newest refit instant at or before `now_ms`."""
    period = params.refit_days * DAY_MS
    return (now_ms - GRID_ANCHOR_MS) // period * period + GRID_ANCHOR_MS


def refit_instants(start_ms: int, end_ms: int, params: RegimeParams) -> tuple[int, ...]:
    """Every instant of the grid in [start_ms, end_ms)."""
    period = params.refit_days * DAY_MS
    first = last_instant(start_ms + period - 1, params)
    return tuple(range(first, end_ms, period))


def search_due(instant_ms: int, params: RegimeParams) -> bool:
    """Whether an instant is the first one of its `search_days`: the fit then looks from all starting points."""
    period, search = params.refit_days * DAY_MS, params.search_days * DAY_MS
    return (instant_ms - GRID_ANCHOR_MS) // search != (instant_ms - period - GRID_ANCHOR_MS) // search


def refit_due(last_tried_ms: int | None, now_ms: int, params: RegimeParams) -> int | None:
    """The instant to refit at, or `None`. `last_tried_ms` is the newest instant that was tried, successful or not."""
    instant = last_instant(now_ms, params)
    return instant if last_tried_ms is None or last_tried_ms < instant else None


def training_rows(frame: Frame, instant_ms: int, params: RegimeParams) -> slice:
    """Rows of `frame` that a fit at `instant_ms` learns from: the newest `train_bars` that were closed by then."""
    end = int(np.searchsorted(frame.open_time, instant_ms - frame.interval.ms, side="right"))
    return slice(max(0, end - params.train_bars), end)


def refit(frame: Frame, asset: Asset, instant_ms: int, params: RegimeParams, previous: RegimeModel | None = None) -> Refit:
    """Fit at one instant; where there is too little data or nothing acceptable, `previous` stays and the reason says so."""
    return _refit(fit_regime_model, frame, regime_features(frame), asset, instant_ms, params, previous)


def fit_history(
    frame: Frame,
    asset: Asset,
    params: RegimeParams,
    *,
    since_ms: int | None = None,
    previous: RegimeModel | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> tuple[Refit, ...]:
    """`refit` at every instant of the grid that the frame covers (from `since_ms`), each going on from the one before."""
    return _history(fit_regime_model, frame, asset, params, since_ms, previous, on_progress)


def fit_jump_history(
    frame: Frame,
    asset: Asset,
    params: RegimeParams,
    *,
    since_ms: int | None = None,
    previous: JumpModel | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> tuple[JumpRefit, ...]:
    """`fit_history` for the jump model, on the same calendar."""
    return _history(fit_jump_model, frame, asset, params, since_ms, previous, on_progress)


def _history(
    fit: Fit[Model],
    frame: Frame,
    asset: Asset,
    params: RegimeParams,
    since_ms: int | None,
    previous: Model | None,
    on_progress: OnProgress,
) -> tuple[ModelRefit[Model], ...]:
    if len(frame) == 0:
        return ()
    start = int(frame.close_time[0]) if since_ms is None else since_ms
    instants = refit_instants(start, int(frame.close_time[-1]) + 1, params)
    features = regime_features(frame)

    def chain(links: tuple[int, ...], previous: Model | None) -> list[ModelRefit[Model]]:
        made: list[ModelRefit[Model]] = []
        for instant in links:
            made.append(_refit(fit, frame, features, asset, instant, params, previous))
            previous = made[-1].model
        return made

    results: list[ModelRefit[Model]] = []
    chains = _chains(instants, params)
    first = previous
    over = in_order if params.train_bars >= THREADED_BARS else map
    fitted = over(lambda links: chain(links, first if links is chains[0] else None), chains)
    # A chain begins with a search that knows no previous model; only where that finds nothing does the model before count.
    for links, made in zip(chains, fitted, strict=True):
        known = made[0].fitted or previous is None or links is chains[0]
        results += made if known else chain(links, previous)
        previous = results[-1].model
        on_progress(len(results), len(instants))
    return tuple(results)


def _chains(instants: tuple[int, ...], params: RegimeParams) -> list[tuple[int, ...]]:
    """The instants cut before each search: what one chain of refits covers."""
    cuts = [place for place, instant in enumerate(instants) if place == 0 or search_due(instant, params)]
    return [instants[first:last] for first, last in itertools.pairwise([*cuts, len(instants)])]


def _refit(
    fit: Fit[Model],
    frame: Frame,
    features: FloatArray,
    asset: Asset,
    instant_ms: int,
    params: RegimeParams,
    previous: Model | None,
) -> ModelRefit[Model]:
    rows = training_rows(frame, instant_ms, params)
    try:
        model = fit(
            features[rows],
            asset=str(asset),
            interval=frame.interval,
            valid_from_ms=instant_ms,
            train_start_ms=int(frame.open_time[rows.start]) if rows.stop > rows.start else instant_ms,
            params=params,
            previous=None if search_due(instant_ms, params) else previous,
        )
    except (NotEnoughData, FitRejected) as error:
        return ModelRefit(instant_ms, previous, fitted=False, reason=str(error))
    return ModelRefit(instant_ms, model, fitted=True, reason=f"fitted on {model.train_bars} bars, model {model.id}")
