"""The orchestrator: from a curated frame and regime probabilities to one score for each bar.

    weight_i = active_i · share_i · conviction_i · P(target regimes of i),  normalised over the agents
    score    = Σ vote_i · weight_i                           in [-1, 1]; 0 where nobody is active

Every value depends only on bars up to its own and on a bounded window of them. Rows whose probabilities are unknown (NaN) have
no active agent.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

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
    weights: FloatArray
    """(n, agents): shares of the consensus; they sum to 1 where anybody is active"""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What alphas and agents say at one bar."""

    score: float
    """in [-1, 1]: negative is short"""
    alphas: dict[str, float]
    """in the order of the registry"""
    votes: tuple[Vote, ...]
    """of every agent, with its reason"""
    reasons: dict[str, str]
    """what each alpha saw, for a person"""


def opinion(frame: Frame, probabilities: Sequence[float], params: StrategyParams) -> Opinion:
    """`consensus` at the newest bar, whose `probabilities` are known: the same bits, in numbers instead of arrays.

    What live asks for: of one row, the numpy calls of weighing the agents are most of the time.
    """
    alphas = {name: float(scores[-1]) for name, scores in compute_alphas(frame, params).items()}
    said = []
    for agent in agents_of(frame):
        reading, settings = agent.read(frame, params), agent.settings(params)
        entry, conviction = float(reading.entry[-1]), reading.conviction
        weighed = [(_bounded(entry), settings.weights.entry)]
        weighed += [(score, float(getattr(settings.weights, name))) for name, score in alphas.items()]
        likely = _added(p * (regime in settings.target_regimes) for p, regime in zip(probabilities, REGIMES, strict=True))
        ready = math.isfinite(entry)
        active = ready and likely >= params.minimum_regime_probability
        sure = conviction if isinstance(conviction, float) else float(conviction[-1])
        said.append((agent, _bounded(_weighed(weighed)), ready, active, settings.share * sure * likely if active else 0.0))
    total = _added(raw for *_, raw in said)
    votes = tuple(
        Vote(
            agent.name,
            score,
            active,
            raw / total if total > 0 else 0.0,
            agent.reason(frame, active, score, params, ready=ready),
        )
        for agent, score, ready, active, raw in said
    )
    reasons = {name: ALPHAS[name].describe(frame, score, params) for name, score in alphas.items()}
    return Opinion(_weighed((score, raw) for _, score, _, _, raw in said), alphas, votes, reasons)


def _added(values: Iterable[float]) -> float:
    """Their sum, one after the other as numpy adds rows: `sum` compensates its rounding since Python 3.12."""
    return reduce(operator.add, values, 0.0)


def _weighed(parts: Iterable[tuple[float, float]]) -> float:
    """`combine` of numbers."""
    total = scale = 0.0
    for score, weight in parts:
        total += score * weight
        scale += abs(weight)
    return total / scale if scale > 0 else 0.0


def _bounded(value: float) -> float:
    """`series.bounded` of a number."""
    return min(max(value, -1.0), 1.0) if math.isfinite(value) else 0.0


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
    for row, agent in enumerate(agents):
        reading = agent.read(frame, params)
        votes[row] = agent.generate_signal(reading, alphas, params)
        likely = agent.regime_probability(probabilities, params)
        active[row] = agent.should_trade(reading.ready, likely, params)
        raw[row] = np.where(active[row], agent.settings(params).share * reading.conviction * likely, 0.0)
    score = combine(zip(votes, raw, strict=True), len(frame))
    total = raw.sum(axis=0)
    weights = np.divide(raw, total, out=np.zeros(shape), where=total > 0)
    return Consensus(frame, params, score, alphas, votes.T, active.T, weights.T)
