"""Regimes and recommendations from the lake: what the live session would see at the newest closed bar, without an account.

The window comes from the lake instead of the venue; models, analysis and decision are those of the session. A decision is made
for a flat book of a given capital, as of its bar's close, and stored without orders: the same bar again changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from shared.data.curation import curate
from shared.data.store import FUNDING, OPEN_INTEREST, load_series, require_candles
from shared.domain.asset import Asset
from shared.domain.candles import FloatArray
from shared.domain.decision import Decision
from shared.domain.errors import DataNotFound, NotEnoughData
from shared.domain.interval import Interval, format_ms
from shared.domain.money import SymbolRules
from shared.domain.records import Lease, RegimeState
from shared.ports import Bucket, Ledger
from shared.regime.classify import RegimePath, classify
from shared.regime.drift import count_stress
from shared.regime.model import RegimeModel
from shared.regime.schedule import Refit, last_instant, refit_instants
from shared.regime.store import load_model
from shared.regime.transition import TransitionState, advance
from shared.risk.kelly import kelly_cap
from shared.strategy.ml_model import Trained
from shared.strategy.rl_policy import RlPolicy
from shared.trading.analysis import AssetMemory, analyse, remembered
from shared.trading.deciding import BookView, decide
from shared.trading.models import model_at
from shared.trading.params import SystemParams
from shared.trading.signal_book import signal_book
from shared.trading.window import MarketWindow, Series

OnRefit = Callable[[Refit], None]


def recommendation_rules(symbol: str) -> SymbolRules:
    """A grid so fine that it changes nothing, for recommendations: the lake does not know the venue's own."""
    fine = Decimal("1e-8")
    return SymbolRules(symbol, tick=fine, step=fine, min_quantity=fine, max_quantity=Decimal("1e12"), min_notional=Decimal(0))


def lake_window(
    bucket: Bucket, asset: Asset, interval: Interval, params: SystemParams, history_bars: int = 0, until_ms: int | None = None
) -> MarketWindow:
    """The newest bars of the lake (of those that it knew at `until_ms`): what a live session keeps, and `history_bars` more.

    Raises `DataNotFound` where nothing is stored, `NotEnoughData` for a series without bars.
    """
    empty = MarketWindow.empty(asset, interval, params.window_bars(interval) + history_bars)
    candles = require_candles(bucket, asset, interval)
    funding, open_interest = load_series(bucket, asset, FUNDING), load_series(bucket, asset, OPEN_INTEREST)
    if until_ms is not None:
        candles = candles[: int(np.searchsorted(candles.close_time, until_ms, side="right"))]
        funding, open_interest = _until(funding, until_ms), _until(open_interest, until_ms)
    window = empty.extended(candles, funding, open_interest)
    if window.close_ms is None:
        before = "" if until_ms is None else f" that closed by {format_ms(until_ms)}"
        raise NotEnoughData(
            f"the lake holds no {interval} bars of {asset}{before}; fetch some with: ost backfill --interval {interval}"
        )
    return window


def _until(series: Series, until_ms: int) -> Series:
    kept = slice(int(np.searchsorted(series[0], until_ms, side="right")))
    return series[0][kept], series[1][kept]


@dataclass(frozen=True, eq=False, slots=True)
class RegimeHistory:
    """The regimes of one asset over the newest bars of its window, oldest first."""

    window: MarketWindow
    path: RegimePath
    """over the newest `n` bars"""
    states: tuple[RegimeState, ...]
    """one per bar that has a model: probabilities, held regime, stress bars"""
    before: AssetMemory
    """the memory just before the newest bar"""
    refits: tuple[Refit, ...]
    """what each refit instant gave, oldest first"""

    @property
    def model(self) -> RegimeModel | None:
        """The model in force at the newest bar."""
        return self.refits[-1].model if self.refits else None

    @property
    def probabilities(self) -> FloatArray:
        """(n, 3)"""
        return self.path.probabilities


def due_instants(window: MarketWindow, history_bars: int, params: SystemParams) -> tuple[int, ...]:
    """Refit instants whose models classify the newest `history_bars` bars of a window that is not empty."""
    close = window.candles.close_time[-max(history_bars, 1) :]
    return refit_instants(last_instant(int(close[0]), params.regime), int(close[-1]) + 1, params.regime)


def regime_history(
    bucket: Bucket,
    window: MarketWindow,
    last: RegimeState | None,
    history_bars: int,
    params: SystemParams,
    on_refit: OnRefit = lambda _: None,
) -> RegimeHistory:
    """Classify the newest `history_bars` bars, fitting and storing the models that are missing.

    `last` is the newest state that the ledger holds: the transition detector goes on from it where it lies in the window, else
    it starts at the first of the bars.
    """
    bars = max(history_bars, 1)
    refits = []
    for instant in due_instants(window, bars, params):
        refits.append(model_at(bucket, window, instant, params))
        on_refit(refits[-1])
    models = {result.model.id: result.model for result in refits if result.model is not None}
    frame = curate(window.candles, params.curation)
    whole = classify(frame, list(models.values()), params.regime)
    shown = slice(max(0, len(frame) - bars), None)
    path = RegimePath(whole.probabilities[shown], whole.model_index[shown], whole.models)
    states, before = _replayed(
        path, window.candles.close_time[shown].tolist(), window.asset, _resumable(bucket, window, last, params), params
    )
    return RegimeHistory(window, path, states, before, tuple(refits))


def _resumable(bucket: Bucket, window: MarketWindow, last: RegimeState | None, params: SystemParams) -> RegimeState | None:
    """`last`, unless it was made under other settings of the regime models or for another interval."""
    if last is None:
        return None
    try:
        model = load_model(bucket, window.asset, window.candles.interval, last.model_id)
    except DataNotFound:
        return None
    return last if model.fit_version == params.regime.fit_version else None


def _replayed(
    path: RegimePath, closes: list[int], asset: Asset, last: RegimeState | None, params: SystemParams
) -> tuple[tuple[RegimeState, ...], AssetMemory]:
    """The state at every classified bar (from `last` on, where it is one of them), and the memory before the newest bar."""
    states: list[RegimeState] = []
    memory, first = AssetMemory(None, TransitionState(), 0, None), 0
    if last is not None and last.bar_close_ms in closes:
        # The ledger's word stands: a bar is counted once. Its filter is not taken over, for the path's has a longer burn-in.
        memory, first = replace(remembered(last), tracker=None), closes.index(last.bar_close_ms) + 1
        states.append(last)
    before = memory
    for row in range(first, len(closes)):
        before = memory
        probabilities, model_id = path.at(row), path.model_id(row)
        if probabilities is None or model_id is None:
            continue
        transition, _ = advance(memory.transition, probabilities, closes[row], params.regime)
        stress_bars = count_stress(memory.stress_bars, probabilities, params.regime)
        ema = transition.ema or (0.0, 0.0, 0.0)
        state = RegimeState(
            asset, closes[row], probabilities, transition.regime, model_id, ema, transition.observations, stress_bars
        )
        memory = AssetMemory(None, transition, stress_bars, state)
        states.append(state)
    return tuple(states), before


def recommend_for(
    history: RegimeHistory,
    capital: Decimal,
    code_version: str,
    params: SystemParams,
    ml: Sequence[Trained] | None = None,
    rl: RlPolicy | None = None,
) -> tuple[Decision, AssetMemory]:
    """The decision of a flat book of `capital` at the newest bar, without orders, and the memory after it.

    Raises `NotEnoughData` where the window is too short or no model could be fitted.
    """
    window = history.window
    close_ms = int(window.candles.close_time[-1])
    if history.model is None and history.refits:
        raise NotEnoughData(f"there is no regime model: {history.refits[-1].reason}")
    analysis = analyse(window, close_ms, history.model, history.before, params, ml, rl)
    view = BookView(
        book=signal_book(analysis.interval),
        equity=capital,
        held=Decimal(0),
        protected=False,
        others_gross=0.0,
        kelly_cap=kelly_cap(np.empty(0), params.risk),
        halts=(),
        rules=recommendation_rules(window.asset.symbol),
        # As of the bar's close: a recommendation does not depend on when it was asked for.
        now_ms=close_ms,
        code_version=code_version,
    )
    decision, _ = decide(analysis, view, params)
    return replace(decision, order_ids=()), analysis.memory


def store_recommendation(ledger: Ledger, decision: Decision, memory: AssetMemory, lease: Lease) -> bool:
    """Store a recommendation and the regime that it saw; whether it was new. Raises `LeaseLost`."""
    new = ledger.commit_decision(decision, (), lease).is_new
    if new and memory.state is not None:
        ledger.record_regimes(decision.book, [memory.state])
    return new
