"""An analyst who reads his opinions from the seed: he trades often, so that orders and not models take the time.

What he says of a bar depends on seed, symbol and bar alone: a process that was restarted hears the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.domain.asset import Asset
from shared.domain.decision import Vote
from shared.domain.errors import NotEnoughData
from shared.domain.interval import format_ms
from shared.domain.records import RegimeState
from shared.domain.regime import RegimeProbabilities
from shared.trading.analysis import Analysis, is_frozen, remembered
from shared.trading.params import SystemParams
from shared.trading.window import MarketWindow


@dataclass(frozen=True, slots=True)
class Habits:
    """How the analyst behaves."""

    flat: float = 0.25
    """probability that he wants no position"""
    hold_bars: int = 2
    """bars for which he keeps an opinion"""
    always: float | None = None
    """the score that he always gives, instead of drawing"""
    size: float | None = None
    """|position| / equity that he aims at, instead of drawing"""
    flat_at_end: bool = False
    """whether his last opinion is that nothing should be held"""


class ScriptedAnalyst:
    """Analyses by lot, up to the bar that closes at `last_ms`."""

    def __init__(self, seed: int, habits: Habits, params: SystemParams, last_ms: int) -> None:
        self._last_ms = last_ms
        self._seed = seed
        self._habits = habits
        self._params = params
        self._states: dict[Asset, RegimeState] = {}

    def analyse(self, window: MarketWindow, bar_close_ms: int) -> Analysis:
        """An opinion on the bar that closed at `bar_close_ms`. Raises `NotEnoughData` where it is missing."""
        if window.close_ms != bar_close_ms:
            last = format_ms(window.close_ms) if window.close_ms is not None else "nothing"
            raise NotEnoughData(f"no new bar; the newest one closed at {last}")
        if bar_close_ms > self._last_ms:
            raise NotEnoughData("the analyst has no opinion any more")
        candles, asset = window.candles, window.asset
        bar = bar_close_ms // candles.interval.ms
        rng = np.random.default_rng([self._seed, bar // self._habits.hold_bars, *asset.symbol.encode()])
        score = float(rng.uniform(0.4, 1.0) * rng.choice([-1, 1])) if rng.random() >= self._habits.flat else 0.0
        if self._habits.always is not None:
            score = self._habits.always
        if self._habits.flat_at_end and bar_close_ms == self._last_ms:
            score = 0.0
        shares = rng.dirichlet([2.0, 2.0, 1.0])
        probabilities = RegimeProbabilities(*(float(share) for share in shares))
        size = float(rng.uniform(0.15, 0.9)) if self._habits.size is None else self._habits.size
        annual = self._params.strategy.target_volatility / size
        price = float(candles.close[-1])
        self._states[asset] = RegimeState(
            asset, bar_close_ms, probabilities, probabilities.dominant, "m-scripted", (0.3, 0.4, 0.3), 5, 0
        )
        return Analysis(
            asset=asset,
            interval=candles.interval,
            bar_close_ms=bar_close_ms,
            window_start_ms=int(candles.open_time[0]),
            data_hash=f"c-{bar}",
            model_id="m-scripted",
            probabilities=probabilities,
            regime=probabilities.dominant,
            strategy=self._params.strategies[probabilities.dominant],
            features={},
            alphas={},
            votes=(Vote("lot", score, True, 1.0, "by lot"),),
            score=score,
            price=price,
            volatility=annual / float(np.sqrt(candles.interval.bars_per_year)),
            atr_fraction=float(rng.uniform(0.0005, 0.01)),
            frozen=is_frozen(candles),
            notes=(),
            memory=remembered(self._states[asset]),
        )

    def prepare(self) -> None:
        """Nothing is read."""

    def states(self) -> list[RegimeState]:
        """The newest regime of every asset that was analysed."""
        return list(self._states.values())


@dataclass(frozen=True)
class SimulatedParams(SystemParams):
    """The parameters of a simulated session: nothing but the newest bars is read."""

    def window_bars(self, _interval: object) -> int:
        """Bars to keep in memory."""
        return 12
