"""What a sweep computes only once: windows, alphas, rules, votes and scores, each kept under exactly what it depends on.

Every alpha and agent declares the parameters that it reads, so that a variant which only moves a threshold costs no feature at
all, and one that moves a look-back costs the features of that look-back. Invariant: a score equals `orchestrator.consensus`
under the playbook of the held regime, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from shared.backtest import consensus_compiled
from shared.backtest.result import Int8Array
from shared.domain.candles import FloatArray
from shared.domain.frame import Frame
from shared.domain.regime import REGIMES
from shared.memory import BoundedMemory
from shared.risk.allocation import size_multipliers
from shared.risk.caps_compiled import exposure_caps
from shared.risk.params import RiskParams
from shared.speed import together
from shared.strategy.agents import agents_of
from shared.strategy.agents.base import Reading, TradingAgent
from shared.strategy.alphas import ALPHAS, Alpha
from shared.strategy.params import StrategyParams

if TYPE_CHECKING:
    from shared.backtest.system import PreparedAsset

DEFAULT_BYTES = 512 << 20
"""Arrays that a memo keeps at most."""

Array = TypeVar("Array", FloatArray, Int8Array)

Playbooks = Sequence[StrategyParams]
"""The strategy of each regime, in the order of `REGIMES`"""


@dataclass(frozen=True, eq=False)
class _RememberingFrame(Frame):
    """A frame whose derived columns are kept."""

    remember: Callable[[Hashable, Callable[[], FloatArray]], FloatArray] = lambda key, compute: compute()

    def derived(self, key: Hashable, compute: Callable[[], FloatArray]) -> FloatArray:
        return self.remember(key, compute)


class SignalMemo:
    """The memory of a sweep over any number of prepared assets."""

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        self._memory = BoundedMemory(max_bytes)

    @property
    def held_bytes(self) -> int:
        """Bytes of the arrays that are kept."""
        return self._memory.held_bytes

    def multipliers(self, prepared: PreparedAsset, risk: RiskParams) -> FloatArray:
        """`size_multipliers` of every bar (n,)."""
        return self._array((prepared, "multiplier", risk), lambda: size_multipliers(prepared.probabilities, risk))

    def exposure_caps(self, prepared: PreparedAsset, risk: RiskParams) -> FloatArray:
        """`risk.caps.exposure_cap` of every bar (n,)."""
        candles = prepared.market.candles
        key = (prepared, "exposure cap", risk.var_bars, risk.var_limit)
        return self._array(key, lambda: exposure_caps(candles.close, candles.interval, risk))

    def atr_fraction(self, prepared: PreparedAsset) -> FloatArray:
        """ATR / close of every bar (n,)."""
        return self._array((prepared, "atr"), lambda: prepared.frame["atr"] / prepared.frame["close"])

    def policy_index(self, prepared: PreparedAsset) -> Int8Array:
        """The playbook of each bar (n,): that of the held regime, the first one where none is held."""
        return self._array((prepared, "policy"), lambda: np.maximum(prepared.held, 0))

    def score(self, prepared: PreparedAsset, playbooks: Playbooks, first: int = 0) -> FloatArray:
        """Consensus (n,) under the playbook of each bar's held regime; NaN where none is held and before row `first`."""
        return _Scoring(self, prepared, _of_held(prepared, playbooks)).score(first)

    def derived(self, prepared: PreparedAsset, key: Hashable, compute: Callable[[], FloatArray]) -> FloatArray:
        """A column made from an asset's frame (`Frame.derived`)."""
        return self._array((prepared, "derived", key), compute)

    def _array(self, key: Hashable, compute: Callable[[], Array]) -> Array:
        return self._memory.get(key, compute, lambda values: values.nbytes)

    def _reading(self, key: Hashable, compute: Callable[[], Reading]) -> Reading:
        return self._memory.get(key, compute, _reading_bytes)


def _reading_bytes(reading: Reading) -> int:
    conviction = reading.conviction
    return reading.entry.nbytes + (conviction.nbytes if isinstance(conviction, np.ndarray) else 0)


def _of_held(prepared: PreparedAsset, playbooks: Playbooks) -> Playbooks:
    """The playbooks of the regimes that occur; one of them stands in for the others, so that nothing is computed for them."""
    return [
        playbooks[place if place in prepared.occurring else min(prepared.occurring, default=0)] for place in range(len(REGIMES))
    ]


class _Scoring:
    """One score: the parts that it needs, looked up or computed."""

    def __init__(self, memo: SignalMemo, prepared: PreparedAsset, playbooks: Playbooks) -> None:
        self._memo = memo
        self._prepared = prepared
        self._playbooks = playbooks
        self._rows = len(prepared.frame)
        frame = prepared.frame
        self._agents = agents_of(frame)
        self._frame = _RememberingFrame(frame.interval, frame.open_time, frame.columns, partial(memo.derived, prepared))

    def score(self, first: int) -> FloatArray:
        keys = [self._vote_key(agent) for agent in self._agents]
        shares = np.array([[agent.settings(params).share for agent in self._agents] for params in self._playbooks])
        included = np.array([[_included(agent, params) for agent in self._agents] for params in self._playbooks])
        minimum = np.array([params.minimum_regime_probability for params in self._playbooks])
        key = (self._prepared, "score", first, tuple(keys), shares.tobytes(), included.tobytes(), minimum.tobytes())
        return self._memo._array(key, lambda: self._scored(first, shares, included, minimum))

    def _scored(self, first: int, shares: FloatArray, included: FloatArray, minimum: FloatArray) -> FloatArray:
        self._compute_missing()
        voted = tuple(together([partial(self._votes, agent) for agent in self._agents], self._rows))
        found = [self._conviction(agent) for agent in self._agents]
        constant = tuple(conviction is None for conviction in found)
        convictions = tuple(votes if conviction is None else conviction for votes, conviction in zip(voted, found, strict=True))
        result = np.empty(self._rows)

        def over(rows: slice) -> None:
            consensus_compiled.scores(
                tuple(votes[rows] for votes in voted),
                tuple(conviction[rows] for conviction in convictions),
                constant,
                shares,
                included,
                minimum,
                self._prepared.probabilities[rows],
                self._prepared.held[rows],
                result[rows],
            )

        middle = self._rows // 2
        together([partial(over, slice(0, middle)), partial(over, slice(middle, None))], self._rows)
        result[:first] = np.nan
        return result

    def _compute_missing(self) -> None:
        """Alphas and rules of every playbook, the independent ones at the same time."""
        tasks: dict[Hashable, Callable[[], Any]] = {}
        for params in self._playbooks:
            for alpha in ALPHAS.values():
                tasks.setdefault(self._alpha_key(alpha, params), partial(self._alpha, alpha, params))
            for agent in self._agents:
                tasks.setdefault(self._rule_key(agent, params), partial(self._rule, agent, params))
        together(list(tasks.values()), self._rows)

    def _votes(self, agent: TradingAgent) -> FloatArray:
        return self._memo._array((self._prepared, *self._vote_key(agent)), lambda: self._voted(agent))

    def _voted(self, agent: TradingAgent) -> FloatArray:
        entry = self._selected([self._rule(agent, params).entry for params in self._playbooks], self._rule_keys(agent))
        used = self._used_alphas(agent)
        alphas = [self._scores(alpha) for alpha in used]
        names = ["entry", *(alpha.name for alpha in used)]
        weights = np.array([[float(getattr(agent.weights(params), name)) for name in names] for params in self._playbooks])
        scales = np.abs(weights).cumsum(axis=1)[:, -1]  # added one after the other, as `combine` does
        result = np.empty(self._rows)
        idle = (entry,) * (len(ALPHAS) - len(used))  # a weight of 0: one form of machine code for every agent
        weights = np.pad(weights, ((0, 0), (0, len(idle))))
        consensus_compiled.votes(entry, (*alphas, *idle), weights, scales, self._prepared.held, result)
        return result

    def _scores(self, alpha: Alpha) -> FloatArray:
        return self._selected([self._alpha(alpha, params) for params in self._playbooks], self._alpha_keys(alpha))

    def _conviction(self, agent: TradingAgent) -> FloatArray | None:
        """Conviction (n,) of an agent; `None` where it is 1 everywhere."""
        found = [self._rule(agent, params).conviction for params in self._playbooks]
        if all(isinstance(conviction, float) and conviction == 1.0 for conviction in found):
            return None
        arrays = [values if isinstance(values, np.ndarray) else np.full(self._rows, values) for values in found]
        return self._selected(arrays, (*self._rule_keys(agent), "conviction"))

    def _used_alphas(self, agent: TradingAgent) -> list[Alpha]:
        return [
            alpha for alpha in ALPHAS.values() if any(getattr(agent.weights(params), alpha.name) for params in self._playbooks)
        ]

    def _vote_key(self, agent: TradingAgent) -> tuple[Hashable, ...]:
        weights = tuple(agent.weights(params) for params in self._playbooks)
        return ("votes", weights, self._rule_keys(agent), tuple(self._alpha_keys(alpha) for alpha in self._used_alphas(agent)))

    def _selected(self, arrays: Sequence[FloatArray], keys: tuple[Hashable, ...]) -> FloatArray:
        """Each row from the array of its held regime."""
        if all(values is arrays[0] for values in arrays):
            return arrays[0]

        def select() -> FloatArray:
            result = np.empty(self._rows)
            calm, balanced, stress = arrays
            consensus_compiled.selected(self._prepared.held, calm, balanced, stress, result)
            return result

        return self._memo._array((self._prepared, "selected", keys), select)

    def _alpha(self, alpha: Alpha, params: StrategyParams) -> FloatArray:
        return self._memo._array(self._alpha_key(alpha, params), lambda: alpha.compute(self._frame, params))

    def _rule(self, agent: TradingAgent, params: StrategyParams) -> Reading:
        return self._memo._reading(self._rule_key(agent, params), lambda: agent.read(self._frame, params))

    def _alpha_key(self, alpha: Alpha, params: StrategyParams) -> tuple[Hashable, ...]:
        return (self._prepared, "alpha", alpha.name, _values(alpha.reads, params))

    def _rule_key(self, agent: TradingAgent, params: StrategyParams) -> tuple[Hashable, ...]:
        return (self._prepared, "rule", agent.name, _values(agent.reads, params))

    def _alpha_keys(self, alpha: Alpha) -> tuple[Hashable, ...]:
        return tuple(self._alpha_key(alpha, params) for params in self._playbooks)

    def _rule_keys(self, agent: TradingAgent) -> tuple[Hashable, ...]:
        return tuple(self._rule_key(agent, params) for params in self._playbooks)


def _values(reads: tuple[str, ...] | None, params: StrategyParams) -> Hashable:
    """What a part depends on: the values of the fields that it reads, or all of them."""
    return params.version if reads is None else tuple(getattr(params, name) for name in reads)


def _included(agent: TradingAgent, params: StrategyParams) -> list[float]:
    """1 for each regime in which the agent trades, 0 for the others."""
    return [float(regime in agent.settings(params).target_regimes) for regime in REGIMES]
