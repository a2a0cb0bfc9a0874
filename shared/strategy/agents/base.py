"""A trading agent: a combiner over its own entry rule and the alphas, and the regimes in which it trades.

    signal       = Σ(entry·w_entry, alpha_1·w_1, …) / Σ|w|
    should trade = P(target regimes) >= minimum and the data of its rule are there

An agent is a value made of functions; what differs between agents is their rule, not their class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from shared.domain.candles import BoolArray, FloatArray
from shared.domain.frame import Frame
from shared.domain.regime import REGIMES
from shared.strategy.combiner import combine
from shared.strategy.params import AgentParams, AgentWeights, StrategyParams
from shared.strategy.series import bounded


@dataclass(frozen=True, eq=False, slots=True)
class Reading:
    """What an agent's own rule says about each of n bars."""

    entry: FloatArray
    """(n,) in [-1, 1]; NaN where the rule has no data or does not apply"""
    conviction: FloatArray | float = 1.0
    """factor in [0, 1] on the agent's share of the consensus"""

    @property
    def ready(self) -> BoolArray:
        """Rows (n,) at which the rule has an opinion."""
        return np.isfinite(self.entry)


@dataclass(frozen=True, slots=True)
class TradingAgent:
    """One opinion about the market. Its settings are the field of `StrategyParams` that has its name."""

    name: str
    read: Callable[[Frame, StrategyParams], Reading]
    """its own rule"""
    explain: Callable[[Frame, StrategyParams], str]
    """what the rule saw on the last row of a frame, for a person"""
    reads: tuple[str, ...] | None = None
    """fields of `StrategyParams` that `read` depends on, so that a sweep computes it once for each combination of them;
    `None` is every field"""

    def settings(self, params: StrategyParams) -> AgentParams:
        """Weights, target regimes and share of this agent."""
        settings: AgentParams = getattr(params, self.name)
        return settings

    def weights(self, params: StrategyParams) -> AgentWeights:
        """Weights of its combiner."""
        return self.settings(params).weights

    def generate_signal(self, reading: Reading, alphas: Mapping[str, FloatArray], params: StrategyParams) -> FloatArray:
        """Score (n,) in [-1, 1]: negative is short. `alphas` are the registry's, (n,) each."""
        weights = self.weights(params)
        parts = [(bounded(reading.entry), weights.entry)]
        parts += [(scores, float(getattr(weights, name))) for name, scores in alphas.items()]
        return bounded(combine(parts, len(reading.entry)))

    def regime_probability(self, probabilities: FloatArray, params: StrategyParams) -> FloatArray:
        """P(target regimes) (n,) from (n, 3) filtered probabilities; NaN where they are unknown."""
        total = np.zeros(len(probabilities))
        for column, regime in enumerate(REGIMES):
            included = regime in self.settings(params).target_regimes
            # A regime that does not count still has to be known: 0 · NaN is NaN.
            total += probabilities[:, column] * float(included)
        return total

    def should_trade(self, ready: BoolArray, likely: FloatArray, params: StrategyParams) -> BoolArray:
        """Rows (n,) at which the agent takes part: its regimes are `likely` enough and its rule has an opinion (`ready`)."""
        return np.asarray((likely >= params.minimum_regime_probability) & ready, dtype=np.bool_)

    def reason(self, frame: Frame, active: bool, score: float, params: StrategyParams, *, ready: bool | None = None) -> str:
        """Why the agent votes as it does on the last row of `frame`; `ready` as its reading says there, where it is known."""
        if not (bool(self.read(frame, params).ready[-1]) if ready is None else ready):
            return f"takes no part: {self.explain(frame, params)}"
        if not active:
            regimes = " or ".join(self.settings(params).target_regimes)
            return f"takes no part: it trades in {regimes} markets"
        side = "long" if score > 0 else "short" if score < 0 else "flat"
        return f"{side} {score:+.2f}: {self.explain(frame, params)}"
