"""The system itself as a backtest sees it: what `trading/analysis.analyse` says of each bar, computed over the whole history.

An asset is prepared once (curated frame, regime of every bar); strategies are then read off it, as many as wanted. Row i of a
signal is what the live session would decide from at the close of bar i: the consensus under the playbook of the held regime,
the volatility, the regime's size. Invariant: a row depends on no later bar (prefix invariance, across refits), and equals the
live analysis of the trailing window to 1e-9.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from shared.backtest.market import AssetMarket
from shared.backtest.memo import SignalMemo
from shared.backtest.result import BacktestResult, Int8Array
from shared.backtest.signals import SignalPath, TargetPath, closed_at_the_end
from shared.data.anomalies import frozen_rows
from shared.data.curation import curate
from shared.domain.asset import Asset
from shared.domain.candles import BoolArray, FloatArray
from shared.domain.frame import Frame
from shared.domain.regime import REGIMES
from shared.regime.classify import Classifier, RegimePath, classify
from shared.regime.playbooks import apply_playbook
from shared.regime.schedule import fit_history, fit_jump_history
from shared.regime.transition import NOTHING_HELD, held_regimes
from shared.risk.params import RiskParams
from shared.strategy.params import StrategyParams
from shared.trading.analysis import FROZEN_BARS
from shared.trading.params import SystemParams

if TYPE_CHECKING:
    from shared.backtest.params import BacktestParams


class RegimeMode(StrEnum):
    """Who says in which regime the market is."""

    HMM = "hmm"
    JUMP = "jump"
    OFF = "off"
    """nobody: balanced on every bar, an ablation"""


@dataclass(frozen=True, eq=False)
class PreparedAsset:
    """One asset over its n bars, ready for any strategy."""

    market: AssetMarket
    frame: Frame
    mode: RegimeMode
    path: RegimePath | None
    """which model spoke for which bar; `None` where the regime is switched off"""
    probabilities: FloatArray
    """(n, 3) in `REGIMES` order; NaN before the first model"""
    held: Int8Array
    """(n,) place in `REGIMES` of the regime that is held; -1 on bars without a decision"""
    tradable: BoolArray
    """(n,) false while the market is frozen"""
    curation_bars: int
    """rows before this one still change with more history"""

    @cached_property
    def occurring(self) -> frozenset[int]:
        """Places in `REGIMES` of the regimes that are held somewhere."""
        return frozenset(np.unique(self.held[self.held >= 0]).tolist())


def prepare(
    market: AssetMarket,
    params: SystemParams,
    *,
    mode: RegimeMode = RegimeMode.HMM,
    models: Sequence[Classifier] | None = None,
    held_from_ms: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> PreparedAsset:
    """Curate an asset and find the regime of each of its bars.

    `models` are in force from their own instants on; without them they are fitted on the refit grid. The transition detector
    starts at the first classified bar that closes at or after `held_from_ms`, as that of a session that starts then.
    `on_progress(done, total)` is told of each refit.
    """
    frame = curate(market.candles, params.curation, market.funding, market.open_interest)
    path = None
    if mode is RegimeMode.OFF:
        probabilities = np.tile(np.array([0.0, 1.0, 0.0]), (len(frame), 1))
    else:
        known = fitted_models(frame, market.asset, params, mode, on_progress) if models is None else models
        path = classify(frame, known, params.regime)
        probabilities = path.probabilities
    classified = np.flatnonzero(np.isfinite(probabilities[:, 0]))
    first = int(classified[0]) if len(classified) else len(frame)
    if held_from_ms is not None:
        first = max(first, int(np.searchsorted(frame.close_time, held_from_ms)))
    return PreparedAsset(
        market=market,
        frame=frame,
        mode=mode,
        path=path,
        probabilities=probabilities,
        held=held_regimes(probabilities, params.regime, first),
        tradable=_tradable(market),
        curation_bars=params.curation.lookback_bars,
    )


def fitted_models(
    frame: Frame,
    asset: Asset,
    params: SystemParams,
    mode: RegimeMode = RegimeMode.HMM,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Classifier, ...]:
    """Models of every refit instant that the frame covers, each warm-started from the one before; refused fits are skipped."""
    if mode is RegimeMode.OFF:
        return ()
    tell = on_progress or (lambda done, total: None)
    if mode is RegimeMode.JUMP:
        jumps = fit_jump_history(frame, asset, params.regime, on_progress=tell)
        return tuple(result.model for result in jumps if result.fitted and result.model is not None)
    fits = fit_history(frame, asset, params.regime, on_progress=tell)
    return tuple(result.model for result in fits if result.fitted and result.model is not None)


def _tradable(market: AssetMarket) -> BoolArray:
    """Rows (n,) at which `analysis.is_frozen` is false: not all of the last bars are flat and without volume."""
    frozen = frozen_rows(market.candles)
    run = frozen.copy()
    for back in range(1, FROZEN_BARS):
        run[back:] &= frozen[:-back]
        run[:back] = False
    return np.asarray(~run, dtype=np.bool_)


@lru_cache(maxsize=256)
def playbooks(strategy: StrategyParams) -> tuple[StrategyParams, ...]:
    """The strategy of each regime in the order of `REGIMES`: the base merged with its playbook."""
    return tuple(apply_playbook(strategy, regime) for regime in REGIMES)


def signal_path(
    prepared: PreparedAsset, strategy: StrategyParams, risk: RiskParams, memo: SignalMemo | None = None
) -> SignalPath:
    """What the live session would decide from at each bar. Bars without a regime or without enough history have no score."""
    merged, memory = playbooks(strategy), memo or SignalMemo()
    first = prepared.curation_bars + max(params.lookback_bars for params in merged)
    return SignalPath(
        score=memory.score(prepared, merged, first),
        volatility=prepared.frame["realised_volatility"],
        atr_fraction=memory.atr_fraction(prepared),
        size_multiplier=memory.multipliers(prepared, risk),
        policy_index=memory.policy_index(prepared),
        policies=tuple(params.policy for params in merged),
        tradable=prepared.tradable,
        exposure_cap=memory.exposure_caps(prepared, risk),
    )


@dataclass(frozen=True, slots=True)
class RegimeOnlyParams:
    """Long or flat by the held regime alone: |notional| / equity in each of them."""

    calm: float = 1.0
    """exposure while calm is held"""
    balanced: float = 0.5
    """exposure while balanced is held"""
    stress: float = 0.0
    """exposure while stress is held"""


def regime_only(prepared: PreparedAsset, params: RegimeOnlyParams | None = None, *, start_ms: int | None = None) -> TargetPath:
    """The comparison strategy that knows nothing but the regime: it trades where the held regime changes.

    The first of those bars is the first one that closes at or after `start_ms`. Between them NaN: what is held stays, and
    nothing is paid to keep its size exact.
    """
    chosen = params or RegimeOnlyParams()
    held = prepared.held.copy()
    if start_ms is not None:
        held[: int(np.searchsorted(prepared.frame.close_time, start_ms))] = NOTHING_HELD
    changes = np.diff(held, prepend=np.int8(NOTHING_HELD)) != 0
    exposures = np.array([chosen.calm, chosen.balanced, chosen.stress, np.nan])
    return TargetPath(np.where(changes, exposures[held], np.nan), np.zeros(len(held)))


def backtest_system(
    prepared: Sequence[PreparedAsset],
    params: SystemParams,
    account: BacktestParams,
    *,
    start_ms: int,
    end_ms: int,
    memo: SignalMemo | None = None,
    label: str = "system",
    strategies: Mapping[Asset, StrategyParams] | None = None,
) -> BacktestResult:
    """One account over prepared assets. `strategies` replaces `params.strategy` for the assets that it names.

    An asset whose candles end before `end_ms` is closed at its last bar.
    """
    from shared.backtest.engine import backtest

    own = strategies or {}
    signals = [
        closed_at_the_end(
            signal_path(asset, own.get(asset.market.asset, params.strategy), params.risk, memo), asset.market.candles, end_ms
        )
        for asset in prepared
    ]
    markets = [asset.market for asset in prepared]
    return backtest(markets, signals, account, params.risk, start_ms=start_ms, end_ms=end_ms, label=label)
