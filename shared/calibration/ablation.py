"""What the system loses without an alpha or an agent: one backtest for each piece, compared with the whole on the same days.

A piece is *taken out* (the weight of an alpha, or the share of an agent, is 0 in every regime) or *muted* (it says 0 but keeps
its weight). Taking out also ends the dilution of the others, so that the same thresholds are crossed more often; muting
isolates what the piece says. The ML alpha, whose weight is 0 by default, is *added* instead. Sharpe ratios are compared by
Ledoit and Wolf (2008), one-sided in both directions; all p-values are corrected together (Holm 1979). The breakers are off: a
book that latches early is flat ever after, which says when it lost, not what a piece is worth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from shared.backtest.engine import backtest
from shared.backtest.memo import SignalMemo
from shared.backtest.metrics import daily_returns
from shared.backtest.params import BacktestParams
from shared.backtest.signals import SignalPath
from shared.backtest.system import PreparedAsset, playbooks, signal_path
from shared.calibration.significance.multiple import holm
from shared.calibration.significance.returns import YEAR_ROOT
from shared.calibration.significance.sharpe import Method, sharpe_difference
from shared.calibration.trials import Try, tried
from shared.domain.candles import FloatArray
from shared.domain.errors import MalformedData, NotEnoughData
from shared.domain.regime import REGIMES
from shared.strategy.agents import AGENT_NAMES
from shared.strategy.alphas import ALPHAS
from shared.strategy.alphas.ml_confidence import SCORE_COLUMN
from shared.strategy.orchestrator import consensus
from shared.strategy.params import StrategyParams
from shared.strategy.plugins import Plugin, plugin_score
from shared.trading.params import SystemParams

LEVEL = 0.05
ADDED_WEIGHT = 0.5
"""weight of the ML alpha, in every agent that reads an alpha, where it is added"""
_NOTHING = 0.01
"""difference of annual Sharpe ratios that is none"""
_NO_LATCH = 0.999
"""drawdown that latches an ablation's book: none that a book comes back from"""


@dataclass(frozen=True, slots=True)
class Ablation:
    """The system with and without one piece. Sharpe ratios are annualised here, for people."""

    name: str
    kind: str
    """`alpha` or `agent`"""
    how: str
    """`taken out`, `muted` or `added`"""
    sharpe_with: float
    sharpe_without: float
    difference: float
    p_helps: float
    """of: the piece does not help"""
    p_hurts: float
    """of: the piece does not hurt"""
    p_helps_holm: float
    p_hurts_holm: float
    return_with: float
    return_without: float
    exposure_with: float
    """mean |notional| / equity"""
    exposure_without: float
    fees_with: float
    """fees / initial capital"""
    fees_without: float
    days: int

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.p_helps_holm <= LEVEL:
            return "helps"
        if self.p_hurts_holm <= LEVEL:
            return "hurts"
        if abs(self.difference) < _NOTHING:
            return "makes no difference"
        return "not shown to help" if self.difference < 0 else "helps in this sample, not beyond chance"


@dataclass(frozen=True, slots=True)
class Alone:
    """A plug-in traded by itself: its score in place of the consensus, through the same position policy and costs."""

    name: str
    sharpe: float | None
    """annualised"""
    total_return: float
    exposure: float
    """mean |notional| / equity"""
    fees: float
    """of the initial capital"""


def without(strategy: StrategyParams, kind: str, name: str) -> StrategyParams:
    """The strategy without one alpha (weight 0 in every agent) or one agent (share 0)."""
    if kind == "agent":
        return replace(strategy, **{name: replace(getattr(strategy, name), share=0.0)})
    return _reweighted(strategy, lambda weights: {name: 0.0})


def with_ml(strategy: StrategyParams, weight: float = ADDED_WEIGHT) -> StrategyParams:
    """The strategy with the ML alpha in every agent that reads an alpha."""
    return _reweighted(strategy, lambda weights: {"ml_confidence": weight} if any(weights[name] for name in ALPHAS) else {})


def _reweighted(strategy: StrategyParams, change: Callable[[Mapping[str, float]], Mapping[str, float]]) -> StrategyParams:
    agents: dict[str, Any] = {}
    for name in AGENT_NAMES:
        agent = getattr(strategy, name)
        changes = change({alpha: float(getattr(agent.weights, alpha)) for alpha in ALPHAS})
        agents[name] = replace(agent, weights=replace(agent.weights, **changes))
    return replace(strategy, **agents)


def plugin_vote(plugin: Plugin, prepared: PreparedAsset, strategy: StrategyParams) -> FloatArray:
    """Score (n,) of a plug-in; an agent's is 0 where its regimes are unlikely, as with our own agents."""
    score = plugin_score(plugin, prepared.frame)
    if plugin.kind != "agent":
        return score
    likely = sum(prepared.probabilities[:, place] for place, regime in enumerate(REGIMES) if regime in plugin.target_regimes)
    return np.where(likely >= strategy.minimum_regime_probability, score, 0.0)


@dataclass(frozen=True, eq=False, slots=True)
class _Piece:
    """One change of the system."""

    name: str
    kind: str
    how: str
    signals: tuple[SignalPath, ...]
    """of each asset"""
    strategy: StrategyParams
    """that they come from"""

    @property
    def change(self) -> str:
        """What no parameter says."""
        return f"{self.name} {self.how}" if self.how == "muted" else ""


@dataclass(frozen=True, eq=False, slots=True)
class _Run:
    returns: FloatArray
    """(d,) per day"""
    total: float
    exposure: float
    fees: float


def _pieces(desk: Desk, base: Sequence[SignalPath]) -> Iterator[_Piece]:
    """Every alpha that has a weight and every agent taken out and muted; the ML alpha added where it has none."""
    prepared, strategy = desk.prepared, desk.params.strategy
    weighted = [name for name in ALPHAS if without(strategy, "alpha", name) != strategy]
    if "ml_confidence" not in weighted and any(SCORE_COLUMN in one.frame.columns for one in prepared):
        changed = with_ml(strategy)
        yield _Piece("ml_confidence", "alpha", "added", desk.signals(changed), changed)
    quiet = [muted_scores(one, strategy, path.score) for one, path in zip(prepared, base, strict=True)]
    for kind, names in (("alpha", weighted), ("agent", list(AGENT_NAMES))):
        for name in names:
            changed = without(strategy, kind, name)
            yield _Piece(name, kind, "taken out", desk.signals(changed), changed)
            paths = tuple(replace(path, score=scores[name]) for path, scores in zip(base, quiet, strict=True))
            if any(not np.array_equal(one.score, other.score, equal_nan=True) for one, other in zip(paths, base, strict=True)):
                yield _Piece(name, kind, "muted", paths, strategy)


def muted_scores(prepared: PreparedAsset, strategy: StrategyParams, score: FloatArray) -> dict[str, FloatArray]:
    """The consensus (n,) with one alpha or agent saying 0 at an unchanged weight, by name.

    The consensus is linear in what each piece says, so its part is subtracted: for an agent vote · weight, for an alpha
    score · weight in the agent's combiner · weight of the agent, summed over the agents.
    """
    result = {name: score.copy() for name in (*ALPHAS, *AGENT_NAMES)}
    for place, merged in enumerate(playbooks(strategy)):
        rows = prepared.held == place
        if not rows.any():
            continue
        said = consensus(prepared.frame, prepared.probabilities, merged)
        for column, agent in enumerate(AGENT_NAMES):
            result[agent][rows] -= (said.votes[:, column] * said.weights[:, column])[rows]
            weights = getattr(merged, agent).weights
            scale = sum(abs(getattr(weights, part.name)) for part in fields(weights))
            for name, values in said.alphas.items():
                if (weight := getattr(weights, name)) != 0:
                    result[name][rows] -= (values * (weight / scale) * said.weights[:, column])[rows]
    return result


@dataclass(frozen=True, eq=False)
class Desk:
    """The assets, period and account of one report."""

    prepared: Sequence[PreparedAsset]
    params: SystemParams
    account: BacktestParams
    start_ms: int
    end_ms: int
    memo: SignalMemo = field(default_factory=SignalMemo)
    tries: list[Try] = field(default_factory=list)
    """every backtest that was run, as it counts for later tests"""

    def signals(self, strategy: StrategyParams) -> tuple[SignalPath, ...]:
        """What a strategy wants of each asset."""
        return tuple(signal_path(one, strategy, self.params.risk, self.memo) for one in self.prepared)

    def run(self, signals: Sequence[SignalPath], label: str, strategy: StrategyParams, change: str = "") -> _Run:
        """One backtest without breakers, of signals that come from `strategy`, or from a `change` that no parameter says."""
        risk = replace(self.params.risk, pause_drawdowns=(), pause_hours=(), max_drawdown=_NO_LATCH)
        markets = [one.market for one in self.prepared]
        done = backtest(markets, signals, self.account, risk, start_ms=self.start_ms, end_ms=self.end_ms, label=label)
        system = replace(self.params, strategy=strategy, risk=risk)
        self.tries.append(tried(done, markets, system, self.prepared[0].mode, change))
        exposure = float(np.mean(done.exposure / done.equity))
        total = float(done.equity[-1] / done.initial - 1)
        return _Run(daily_returns(done)[1], total, exposure, float(done.fills.fee.sum() / done.initial))


def alone(desk: Desk, plugin: Plugin) -> Alone:
    """A plug-in traded by itself on the desk's assets, on the bars on which the system would decide."""
    strategy = desk.params.strategy
    base = desk.signals(strategy)
    own = [
        replace(path, score=np.where(np.isfinite(path.score), plugin_vote(plugin, one, strategy), np.nan))
        for path, one in zip(base, desk.prepared, strict=True)
    ]
    run = desk.run(own, plugin.name, strategy, f"{plugin.name} alone")
    return Alone(plugin.name, _sharpe(run.returns), run.total, run.exposure, run.fees)


def _sharpe(returns: FloatArray) -> float | None:
    deviation = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    return float(returns.mean() / deviation * YEAR_ROOT) if deviation > 0 else None


def ablations(
    desk: Desk,
    rng: np.random.Generator,
    method: Method,
    problems: list[str],
    on_progress: Callable[[int, int], None] | None,
) -> tuple[tuple[Ablation, ...], float | None]:
    """Every piece judged, and the Sharpe ratio (annualised) of the whole system.

    What cannot be compared is added to `problems`. `on_progress(done, expected)` is told of each backtest.
    """
    signals = desk.signals(desk.params.strategy)
    base = desk.run(signals, "system", desk.params.strategy)
    total = 2 * len(AGENT_NAMES) + 2 * len(ALPHAS)
    rows: list[Ablation] = []
    for done, piece in enumerate(_pieces(desk, signals), start=1):
        other = desk.run(piece.signals, f"{piece.name} {piece.how}", piece.strategy, piece.change)
        try:
            rows.append(_ablation(piece, *((other, base) if piece.how == "added" else (base, other)), rng, method))
        except (MalformedData, NotEnoughData) as error:
            problems.append(f"{piece.name} {piece.how}: {error}")
        if on_progress is not None:
            on_progress(done, total)
    corrected = holm([row.p_helps for row in rows] + [row.p_hurts for row in rows]).tolist() if rows else []
    count = len(rows)
    judged = [
        replace(row, p_helps_holm=corrected[place], p_hurts_holm=corrected[count + place]) for place, row in enumerate(rows)
    ]
    return tuple(judged), _sharpe(base.returns)


def _ablation(piece: _Piece, having: _Run, lacking: _Run, rng: np.random.Generator, method: Method) -> Ablation:
    """Both one-sided tests of one piece."""
    forth = sharpe_difference(having.returns, lacking.returns, rng, method=method)
    back = sharpe_difference(lacking.returns, having.returns, rng, method=method, block=forth.block)
    return Ablation(
        name=piece.name,
        kind=piece.kind,
        how=piece.how,
        sharpe_with=float(forth.first * YEAR_ROOT),
        sharpe_without=float(forth.second * YEAR_ROOT),
        difference=float(forth.annual),
        p_helps=forth.p_one_sided,
        p_hurts=back.p_one_sided,
        p_helps_holm=1.0,
        p_hurts_holm=1.0,
        return_with=having.total,
        return_without=lacking.total,
        exposure_with=having.exposure,
        exposure_without=lacking.exposure,
        fees_with=having.fees,
        fees_without=lacking.fees,
        days=forth.days,
    )
