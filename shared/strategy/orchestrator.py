"""The orchestrator: from a curated frame and regime probabilities to one score for each bar.

    weight_i = active_i · share_i · conviction_i · P(target regimes of i),  normalised over the agents
    score    = Σ vote_i · weight_i                           in [-1, 1]; 0 where nobody is active

Every value depends only on bars up to its own and on a bounded window of them. Rows whose probabilities are unknown (NaN) have
no active agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from shared.domain.candles import BoolArray, FloatArray
from shared.domain.decision import Vote
from shared.domain.errors import MalformedData
from shared.domain.frame import Frame
from shared.domain.regime import REGIMES
from shared.strategy.agents import agents_of
from shared.strategy.alphas import ALPHAS, compute_alphas
from shared.strategy.combiner import combine
from shared.strategy.params import StrategyParams


@dataclass(frozen=True, eq=False, slots=True)
class Consensus:
    """What the alphas and agents say at each of the `n` bars of `frame`."""

    frame: Frame
    params: StrategyParams
    score: FloatArray
    """(n,) in [-1, 1]: negative is short"""
    alphas: Mapping[str, FloatArray]
    """name -> (n,), in the order of the registry"""
    votes: FloatArray
    """(n, agents) in [-1, 1], in the order of `agents_of(frame)`"""
    active: BoolArray
    """(n, agents): who takes part"""
    ready: BoolArray
    """(n, agents): whose rule has an opinion"""
    weights: FloatArray
    """(n, agents): shares of the consensus; they sum to 1 where anybody is active"""

    def alphas_at(self, row: int) -> dict[str, float]:
        """Every alpha at `row` (negative rows count from the end)."""
        return {name: float(scores[row]) for name, scores in self.alphas.items()}

    def votes_at(self, row: int) -> tuple[Vote, ...]:
        """Every agent's vote at `row`, with its reason."""
        window = self._until(row)
        votes = []
        for column, agent in enumerate(agents_of(self.frame)):
            score, active = float(self.votes[row, column]), bool(self.active[row, column])
            reason = agent.reason(window, active, score, self.params, ready=bool(self.ready[row, column]))
            votes.append(Vote(agent.name, score, active, float(self.weights[row, column]), reason))
        return tuple(votes)

    def reasons_at(self, row: int) -> dict[str, str]:
        """What each alpha saw at `row`, for a person."""
        window = self._until(row)
        return {name: ALPHAS[name].describe(window, score, self.params) for name, score in self.alphas_at(row).items()}

    def _until(self, row: int) -> Frame:
        """The bars that `row` depends on: a reason costs the same on a year of bars as on a window."""
        last = range(len(self.frame))[row]
        if last == len(self.frame) - 1 and last <= self.params.lookback_bars:
            return self.frame  # what live asks for: the columns that were derived for the votes are there
        return self.frame.rows(slice(max(0, last + 1 - self.params.lookback_bars), last + 1))


def consensus(frame: Frame, probabilities: FloatArray, params: StrategyParams) -> Consensus:
    """Votes of all agents and their weighted mean over the frame.

    `probabilities` (n, 3) are the filtered probabilities of calm, balanced and stress. Raises `MalformedData` where their
    shape does not fit the frame.
    """
    if probabilities.shape != (len(frame), len(REGIMES)):
        raise MalformedData(
            f"probabilities have the shape {probabilities.shape}; expected ({len(frame)}, {len(REGIMES)}), a row for each bar"
        )
    alphas = compute_alphas(frame, params)
    agents = agents_of(frame)
    shape = (len(agents), len(frame))
    votes, active, raw = np.zeros(shape), np.zeros(shape, dtype=np.bool_), np.zeros(shape)
    ready = np.zeros(shape, dtype=np.bool_)
    for row, agent in enumerate(agents):
        reading = agent.read(frame, params)
        votes[row] = agent.generate_signal(reading, alphas, params)
        ready[row] = reading.ready
        likely = agent.regime_probability(probabilities, params)
        active[row] = agent.should_trade(ready[row], likely, params)
        raw[row] = np.where(active[row], agent.settings(params).share * reading.conviction * likely, 0.0)
    score = combine(zip(votes, raw, strict=True), len(frame))
    total = raw.sum(axis=0)
    weights = np.divide(raw, total, out=np.zeros(shape), where=total > 0)
    return Consensus(frame, params, score, alphas, votes.T, active.T, ready.T, weights.T)
