"""Which alphas and agents earn their place: what each knows (IC), and what the system loses without it (ablation).

An ablation is one backtest with the weight of an alpha, or the share of an agent, set to 0 in every regime; the ML alpha, whose
weight is 0 by default, is added instead. The Sharpe ratios are compared on the same days (Ledoit and Wolf 2008), one-sided in
both directions, and the p-values of all pieces are corrected together (Holm 1979). Nothing is tuned here, and a piece that
is not shown to help is called just that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shared.backtest.memo import SignalMemo
from shared.backtest.metrics import daily_returns
from shared.backtest.params import BacktestParams
from shared.backtest.system import PreparedAsset, backtest_system, signal_path
from shared.calibration.information import Information, ScoredAsset, correlations, information
from shared.calibration.significance.multiple import holm
from shared.calibration.significance.sharpe import sharpe_difference
from shared.domain.candles import FloatArray
from shared.domain.errors import MalformedData, NotEnoughData
from shared.domain.interval import format_ms
from shared.strategy.agents import AGENT_NAMES
from shared.strategy.alphas import ALPHAS
from shared.strategy.orchestrator import consensus
from shared.strategy.params import StrategyParams
from shared.strategy.plugins import Plugin, plugin_score
from shared.trading.params import SystemParams

HORIZONS = (1, 4, 12, 24, 72)
MAIN_HORIZON = 24
LEVEL = 0.05
ADDED_WEIGHT = 0.5
"""weight of the ML alpha, in every agent that reads an alpha, where it is added"""


@dataclass(frozen=True, slots=True)
class Ablation:
    """The system with and without one piece. Sharpe ratios are annualised here, for people."""

    name: str
    kind: str
    """`alpha` or `agent`"""
    added: bool
    """whether the piece was added to the system instead of taken out"""
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
    days: int

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.p_helps_holm <= LEVEL:
            return "earns its place"
        if self.p_hurts_holm <= LEVEL:
            return "hurts: take it out"
        return "not shown to help" if self.difference <= 0 else "helps in this sample, not beyond chance"


@dataclass(frozen=True, eq=False, slots=True)
class Attribution:
    """The whole report."""

    start_ms: int
    end_ms: int
    assets: tuple[str, ...]
    information: tuple[Information, ...]
    kinds: Mapping[str, str]
    """`alpha`, `agent`, `plug-in` or `system` by score name"""
    p_holm: Mapping[str, float]
    """p of the main horizon's coefficient by score, corrected over all scores"""
    correlations: FloatArray
    """(k, k) in the order of `information`"""
    ablations: tuple[Ablation, ...]
    sharpe: float | None
    """of the default system, annualised"""
    problems: tuple[str, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """The conclusion, in words."""
        signs = {one.name: found.value for one in self.information if (found := one.by_horizon[MAIN_HORIZON]) is not None}
        known = [name for name, p in self.p_holm.items() if p <= LEVEL]
        right, wrong = ([name for name in known if signs[name] * side > 0] for side in (1, -1))
        what = f"the next {MAIN_HORIZON} bars beyond chance (Holm, {LEVEL:.0%})"
        lines = [f"{len(right)} of {len(self.p_holm)} scores know {what}{': ' + ', '.join(right) if right else ''}."]
        if wrong:
            lines.append(f"{', '.join(wrong)}: wrong about {what}; the market went the other way.")
        for verdict in ("earns its place", "hurts: take it out"):
            names = [one.name for one in self.ablations if one.verdict == verdict]
            if names:
                lines.append(f"{', '.join(names)}: {verdict}.")
        others = [one.name for one in self.ablations if one.p_helps_holm > LEVEL]
        if others:
            lines.append(f"Not shown to help: {', '.join(others)}.")
        return tuple(lines)


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


def scored(prepared: PreparedAsset, params: SystemParams, plugins: Sequence[Plugin], start_ms: int, end_ms: int) -> ScoredAsset:
    """Every score of one asset: alphas and votes under the base parameters, plug-ins, and the consensus as it trades."""
    frame, strategy = prepared.frame, params.strategy
    said = consensus(frame, prepared.probabilities, strategy)
    scores: dict[str, FloatArray] = dict(said.alphas)
    scores |= {name: np.where(said.active[:, place], said.votes[:, place], 0.0) for place, name in enumerate(AGENT_NAMES)}
    scores |= {plugin.name: plugin_score(plugin, frame) for plugin in plugins}
    scores["consensus"] = signal_path(prepared, strategy, params.risk).score
    close = frame.close_time
    warm = np.arange(len(frame)) >= prepared.curation_bars + params.strategy_lookback_bars
    inside = (close >= start_ms) & (close <= end_ms) & (prepared.held >= 0) & prepared.tradable & warm
    return ScoredAsset(frame, prepared.held, inside, scores)


def attribute(
    prepared: Sequence[PreparedAsset],
    params: SystemParams,
    account: BacktestParams,
    rng: np.random.Generator,
    *,
    start_ms: int,
    end_ms: int,
    plugins: Sequence[Plugin] = (),
    ablate: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
) -> Attribution:
    """Information of every score and ablation of every piece over [start_ms, end_ms].

    Frames that carry ML scores (`with_ml_scores`) let the ML alpha take part. Raises `NotEnoughData` for an empty period.
    """
    assets = [scored(one, params, plugins, start_ms, end_ms) for one in prepared]
    if not any(asset.inside.any() for asset in assets):
        raise NotEnoughData(
            f"no bar with a regime between {format_ms(start_ms)} and {format_ms(end_ms)}; choose another period"
        )
    kinds = dict.fromkeys(ALPHAS, "alpha") | dict.fromkeys(AGENT_NAMES, "agent")
    kinds |= {plugin.name: "plug-in" for plugin in plugins} | {"consensus": "system"}
    known = tuple(information(name, assets, HORIZONS, MAIN_HORIZON) for name in kinds)
    tested = {one.name: found.p for one in known if (found := one.by_horizon[MAIN_HORIZON]) is not None}
    corrected = holm(list(tested.values())) if tested else np.empty(0)
    problems: list[str] = []
    ablations: tuple[Ablation, ...] = ()
    sharpe = None
    if ablate:
        ablations, sharpe = _ablations(prepared, params, account, rng, start_ms, end_ms, problems, on_progress)
    return Attribution(
        start_ms=start_ms,
        end_ms=end_ms,
        assets=tuple(one.market.asset.symbol for one in prepared),
        information=known,
        kinds=kinds,
        p_holm=dict(zip(tested, corrected.tolist(), strict=True)),
        correlations=correlations(list(kinds), assets),
        ablations=ablations,
        sharpe=sharpe,
        problems=tuple(problems),
    )


@dataclass(frozen=True, slots=True)
class _Piece:
    name: str
    kind: str
    added: bool
    strategy: StrategyParams


def _pieces(prepared: Sequence[PreparedAsset], strategy: StrategyParams) -> list[_Piece]:
    from shared.strategy.alphas.ml_confidence import SCORE_COLUMN

    pieces = []
    for name in ALPHAS:
        changed = without(strategy, "alpha", name)
        if changed != strategy:
            pieces.append(_Piece(name, "alpha", added=False, strategy=changed))
        elif name == "ml_confidence" and any(SCORE_COLUMN in one.frame.columns for one in prepared):
            pieces.append(_Piece(name, "alpha", added=True, strategy=with_ml(strategy)))
    pieces += [_Piece(name, "agent", False, without(strategy, "agent", name)) for name in AGENT_NAMES]
    return pieces


def _ablations(
    prepared: Sequence[PreparedAsset],
    params: SystemParams,
    account: BacktestParams,
    rng: np.random.Generator,
    start_ms: int,
    end_ms: int,
    problems: list[str],
    on_progress: Callable[[int, int], None] | None,
) -> tuple[tuple[Ablation, ...], float | None]:
    """One backtest for each piece, compared with the default system on the same days."""
    memo = SignalMemo()

    def returns(strategy: StrategyParams, label: str) -> tuple[FloatArray, float]:
        changed = replace(params, strategy=strategy)
        run = backtest_system(prepared, changed, account, start_ms=start_ms, end_ms=end_ms, memo=memo, label=label)
        return daily_returns(run)[1], float(run.equity[-1] / run.initial - 1)

    base, base_return = returns(params.strategy, "system")
    pieces = _pieces(prepared, params.strategy)
    rows: list[Ablation] = []
    for done, piece in enumerate(pieces, start=1):
        other, other_return = returns(piece.strategy, piece.name)
        having, lacking = (other, base) if piece.added else (base, other)
        gained, lost = (other_return, base_return) if piece.added else (base_return, other_return)
        try:
            forth, back = sharpe_difference(having, lacking, rng), sharpe_difference(lacking, having, rng)
        except (MalformedData, NotEnoughData) as error:
            problems.append(f"{piece.name}: {error}")
            continue
        year = np.sqrt(365.0)
        rows.append(
            Ablation(
                name=piece.name,
                kind=piece.kind,
                added=piece.added,
                sharpe_with=float(forth.first * year),
                sharpe_without=float(forth.second * year),
                difference=float(forth.annual),
                p_helps=forth.p_one_sided,
                p_hurts=back.p_one_sided,
                p_helps_holm=1.0,
                p_hurts_holm=1.0,
                return_with=gained,
                return_without=lost,
                days=forth.days,
            )
        )
        if on_progress is not None:
            on_progress(done, len(pieces))
    helps, hurts = (holm(values) if rows else np.empty(0) for values in ([r.p_helps for r in rows], [r.p_hurts for r in rows]))
    corrected = [
        replace(row, p_helps_holm=float(one), p_hurts_holm=float(other))
        for row, one, other in zip(rows, helps, hurts, strict=True)
    ]
    deviation = float(base.std(ddof=1)) if len(base) > 1 else 0.0
    return tuple(corrected), float(base.mean() / deviation * np.sqrt(365.0)) if deviation > 0 else None
