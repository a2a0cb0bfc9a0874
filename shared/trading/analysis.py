"""What one asset shows at the close of a bar: features, regime, alphas, votes, consensus.

The same array functions as in research, called on the trailing window; only the last row is read. What an asset must carry
from bar to bar (the filter's state, the transition detector, the count of stress bars) is a value, `AssetMemory`, that the
ledger keeps as a `RegimeState`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from shared.data.anomalies import frozen_rows
from shared.data.curation import curate
from shared.domain.asset import Asset
from shared.domain.candles import Candles, FloatArray
from shared.domain.decision import Vote
from shared.domain.errors import NotEnoughData
from shared.domain.frame import Frame
from shared.domain.ids import candles_hash
from shared.domain.interval import Interval, format_ms
from shared.domain.records import RegimeState
from shared.domain.regime import Regime, RegimeProbabilities
from shared.regime.classify import RegimeTracker, track
from shared.regime.drift import count_stress
from shared.regime.model import RegimeModel
from shared.regime.transition import TransitionState, advance
from shared.risk.caps import exposure_cap
from shared.strategy.ml_model import Trained, with_newest_ml_score
from shared.strategy.orchestrator import opinion
from shared.strategy.params import StrategyParams
from shared.strategy.rl_policy import RlPolicy, with_newest_rl_score
from shared.trading.params import SystemParams
from shared.trading.window import MarketWindow

FROZEN_BARS = 3
"""Flat bars without volume after which a market is not traded: such bars are not data."""


@dataclass(frozen=True, eq=False)
class _KeepingFrame(Frame):
    """A frame whose derived columns are computed once: votes, alphas and their reasons ask for the same ones."""

    kept: dict[Hashable, FloatArray] = field(default_factory=dict)

    def derived(self, key: Hashable, compute: Callable[[], FloatArray]) -> FloatArray:
        if key not in self.kept:
            self.kept[key] = compute()
        return self.kept[key]


@dataclass(frozen=True, slots=True)
class AssetMemory:
    """What is carried from bar to bar; rebuilt from a `RegimeState` after a restart."""

    tracker: RegimeTracker | None
    transition: TransitionState
    stress_bars: int
    state: RegimeState | None
    """the newest row for the ledger; `None` before the first bar"""


@dataclass(frozen=True, slots=True)
class Analysis:
    """One asset at one bar close."""

    asset: Asset
    interval: Interval
    bar_close_ms: int
    window_start_ms: int
    data_hash: str
    model_id: str
    probabilities: RegimeProbabilities
    regime: Regime
    strategy: StrategyParams
    """the base parameters merged with the playbook of `regime`"""
    features: dict[str, float]
    alphas: dict[str, float]
    votes: tuple[Vote, ...]
    score: float
    price: float
    volatility: float
    """standard deviation of log returns per bar"""
    atr_fraction: float
    """ATR / price"""
    frozen: bool
    notes: tuple[str, ...]
    """what each alpha saw"""
    memory: AssetMemory
    exposure_cap: float = math.inf
    """largest |notional| / equity that the value at risk allows"""
    ml_problem: str = ""
    """why the ML alpha is neutral although it was asked; empty where it speaks or was not asked"""
    rl_problem: str = ""
    """why the RL agent takes no part although a policy was asked; empty where it does or none was asked"""


def remembered(state: RegimeState | None) -> AssetMemory:
    """The memory of an asset as the ledger kept it."""
    if state is None:
        return AssetMemory(None, TransitionState(), 0, None)
    return AssetMemory(RegimeTracker.restored(state), TransitionState.restored(state), state.stress_bars, state)


def analyse(
    window: MarketWindow,
    bar_close_ms: int,
    model: RegimeModel | None,
    memory: AssetMemory,
    params: SystemParams,
    ml: Sequence[Trained] | None = None,
    rl: RlPolicy | None = None,
) -> Analysis:
    """What the asset shows at the bar that closed at `bar_close_ms`; `ml` are the models of the ML alpha and `rl` is the policy
    of the RL agent, `None` asks none.

    Raises `NotEnoughData` where that bar is missing, the window is too short or there is no regime model yet. A bar that
    was analysed before gives the same analysis: the memory is keyed by bar close.
    """
    if window.close_ms != bar_close_ms:
        last = format_ms(window.close_ms) if window.close_ms is not None else "nothing"
        # Without the instant of this bar: a hole of many bars is one problem, not many.
        raise NotEnoughData(f"no new bar; the newest one closed at {last}")
    if model is None:
        raise NotEnoughData("no regime model is in force yet; its first fit needs more bars")
    candles = window.candles[-params.decision_bars :]
    if len(candles) < params.decision_bars:
        raise NotEnoughData(f"{len(candles)} bars in the window, a decision needs {params.decision_bars}")

    frame = curate(candles, params.curation, window.funding, window.open_interest, params.strategy_lookback_bars + 1)
    tracker = _tracked(window, frame, model, memory, params)
    probabilities = RegimeProbabilities(*tracker.alpha)
    memory = _advanced(memory, tracker, probabilities, bar_close_ms, window.asset, params)
    strategy = params.strategies[memory.transition.regime]

    rows, ml_problem = frame.rows(slice(-strategy.lookback_bars - 1, None)), ""
    if ml is not None:
        rows, ml_problem = with_newest_ml_score(rows, ml, params.curation)
    rl_problem = ""
    if rl is not None:
        rows, rl_problem = with_newest_rl_score(rows, rl)
    said = opinion(_KeepingFrame(rows.interval, rows.open_time, rows.columns), tracker.alpha, strategy)
    features = rows.last()
    return Analysis(
        asset=window.asset,
        interval=candles.interval,
        bar_close_ms=bar_close_ms,
        window_start_ms=int(candles.open_time[0]),
        data_hash=candles_hash(candles),
        model_id=model.id,
        probabilities=probabilities,
        regime=memory.transition.regime,
        strategy=strategy,
        features=features,
        alphas=said.alphas,
        votes=said.votes,
        score=said.score,
        price=float(candles.close[-1]),
        volatility=features.get("realised_volatility", np.nan),
        atr_fraction=features.get("atr", np.nan) / float(candles.close[-1]),
        frozen=is_frozen(candles),
        notes=tuple(f"{name}: {text}" for name, text in said.reasons.items()),
        memory=memory,
        exposure_cap=exposure_cap(candles.close, candles.interval, params.risk),
        ml_problem=ml_problem,
        rl_problem=rl_problem,
    )


def _tracked(
    window: MarketWindow, frame: Frame, model: RegimeModel, memory: AssetMemory, params: SystemParams
) -> RegimeTracker:
    """One step of the filter, or its burn-in over the longer window where the model is new."""
    if memory.tracker is None or memory.tracker.model_id != model.id or memory.tracker.bar_close_ms < int(frame.close_time[0]):
        frame = curate(window.candles, params.curation)
    return track(memory.tracker, frame, model, params.regime)


def is_frozen(candles: Candles) -> bool:
    """Whether the last `FROZEN_BARS` bars are flat and without volume: an outage or a delisting, not a quiet market."""
    return len(candles) >= FROZEN_BARS and bool(frozen_rows(candles[-FROZEN_BARS:]).all())


def _advanced(
    memory: AssetMemory,
    tracker: RegimeTracker,
    probabilities: RegimeProbabilities,
    bar_close_ms: int,
    asset: Asset,
    params: SystemParams,
) -> AssetMemory:
    """The memory after this bar; unchanged but for the filter where the bar was already counted."""
    if memory.state is not None and memory.state.bar_close_ms == bar_close_ms:
        return replace(memory, tracker=tracker)
    transition, _ = advance(memory.transition, probabilities, bar_close_ms, params.regime)
    stress_bars = count_stress(memory.stress_bars, probabilities, params.regime)
    state = RegimeState(
        asset=asset,
        bar_close_ms=bar_close_ms,
        probabilities=probabilities,
        regime=transition.regime,
        model_id=tracker.model_id,
        ema=transition.ema or (0.0, 0.0, 0.0),
        observations=transition.observations,
        stress_bars=stress_bars,
    )
    return AssetMemory(tracker, transition, stress_bars, state)
