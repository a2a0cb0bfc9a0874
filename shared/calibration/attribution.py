"""Which alphas and agents earn their place: what each knows (IC), and what the system loses without it (ablation).

Every score is measured under the base parameters; the pieces are judged by `ablation.py`. Nothing is tuned here, and a piece
that is not shown to help is called just that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shared.backtest.params import BacktestParams
from shared.backtest.system import PreparedAsset, signal_path
from shared.calibration.ablation import LEVEL, Ablation, Alone, Desk, ablations, alone, plugin_vote
from shared.calibration.information import Information, ScoredAsset, correlations, information
from shared.calibration.significance.multiple import holm
from shared.calibration.significance.returns import MINIMUM_ROWS
from shared.calibration.significance.sharpe import Method
from shared.calibration.trials import Try
from shared.domain.candles import FloatArray
from shared.domain.errors import NotEnoughData
from shared.domain.interval import DAY_MS, format_ms
from shared.strategy.agents import AGENT_NAMES
from shared.strategy.alphas import ALPHAS
from shared.strategy.orchestrator import consensus
from shared.strategy.plugins import Plugin
from shared.trading.params import SystemParams

HORIZONS = (1, 4, 12, 24, 72)
MAIN_HORIZON = 24


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
    """of the default system without its breakers, annualised"""
    alone: tuple[Alone, ...]
    problems: tuple[str, ...]
    tries: tuple[Try, ...]
    """every backtest behind it, as it counts for later tests"""

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
        said = {one.name: one for one in self.ablations if one.how != "taken out"}
        out = {one.name: one for one in self.ablations if one.how == "taken out"}
        groups: dict[str, list[str]] = {}
        for name in dict.fromkeys([*said, *out]):
            groups.setdefault(_conclusion(said.get(name), out.get(name)), []).append(name)
        lines += [f"{', '.join(names)}: {conclusion}." for conclusion, names in sorted(groups.items())]
        return tuple(lines)


def _conclusion(said: Ablation | None, out: Ablation | None) -> str:
    """What two ablations of one piece say together."""
    if said is not None and said.p_helps_holm <= LEVEL:
        return "earns its place by what it says"
    if said is not None and said.p_hurts_holm <= LEVEL:
        return "hurts by what it says; take it out or turn its sign, and test that on data that have not been looked at"
    if out is not None and out.p_helps_holm <= LEVEL:
        return "helps by its weight alone (without it the same thresholds trade more); what it says is not shown to help"
    if out is not None and out.p_hurts_holm <= LEVEL:
        return "hurts by its weight; take it out"
    return "not shown to help or to hurt"


def scored(prepared: PreparedAsset, params: SystemParams, plugins: Sequence[Plugin], start_ms: int, end_ms: int) -> ScoredAsset:
    """Every score of one asset: alphas and votes under the base parameters, plug-ins, and the consensus as it trades."""
    frame, strategy = prepared.frame, params.strategy
    said = consensus(frame, prepared.probabilities, strategy)
    scores: dict[str, FloatArray] = dict(said.alphas)
    scores |= {name: np.where(said.active[:, place], said.votes[:, place], 0.0) for place, name in enumerate(AGENT_NAMES)}
    scores |= {plugin.name: plugin_vote(plugin, prepared, strategy) for plugin in plugins}
    scores["consensus"] = signal_path(prepared, strategy, params.risk).score
    close = frame.close_time
    warm = np.arange(len(frame)) >= prepared.curation_bars + params.strategy_lookback_bars
    inside = (close >= start_ms) & (close <= end_ms) & (prepared.held >= 0) & prepared.tradable & warm
    return ScoredAsset(frame, prepared.held, inside, scores)


def check_period(start_ms: int, end_ms: int) -> None:
    """Raise `NotEnoughData` where a period has too few days to compare Sharpe ratios over."""
    days = (end_ms - start_ms) // DAY_MS
    if days < MINIMUM_ROWS:
        raise NotEnoughData(
            f"{days} days from {format_ms(start_ms)} to {format_ms(end_ms)}; comparing Sharpe ratios with and without a piece "
            f"takes at least {MINIMUM_ROWS}: choose a longer period, or leave the comparison out with --no-ablation"
        )


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
    method: Method = "bootstrap",
    on_progress: Callable[[int, int], None] | None = None,
) -> Attribution:
    """Information of every score and ablation of every piece over [start_ms, end_ms]. `method` is that of the Sharpe test.

    Frames that carry ML scores (`with_ml_scores`) let the ML alpha take part. Raises `NotEnoughData` for an empty period or one
    that is too short for its ablations. Plug-ins are believed: `audit.refuse_lookahead` asks whether they may be.
    """
    assets = [scored(one, params, plugins, start_ms, end_ms) for one in prepared]
    if not any(asset.inside.any() for asset in assets):
        raise NotEnoughData(
            f"no bar with a regime between {format_ms(start_ms)} and {format_ms(end_ms)}; choose another period"
        )
    if ablate:
        check_period(start_ms, end_ms)
    kinds = dict.fromkeys(ALPHAS, "alpha") | dict.fromkeys(AGENT_NAMES, "agent")
    kinds |= {plugin.name: "plug-in" for plugin in plugins} | {"consensus": "system"}
    known = tuple(information(name, assets, HORIZONS, MAIN_HORIZON) for name in kinds)
    tested = {one.name: found.p for one in known if (found := one.by_horizon[MAIN_HORIZON]) is not None}
    corrected = holm(list(tested.values())) if tested else np.empty(0)
    problems: list[str] = []
    desk = Desk(prepared, params, account, start_ms, end_ms)
    judged: tuple[Ablation, ...] = ()
    sharpe = None
    if ablate:
        judged, sharpe = ablations(desk, rng, method, problems, on_progress)
    alone_ones = tuple(alone(desk, plugin) for plugin in plugins)
    return Attribution(
        start_ms=start_ms,
        end_ms=end_ms,
        assets=tuple(one.market.asset.symbol for one in prepared),
        information=known,
        kinds=kinds,
        p_holm=dict(zip(tested, corrected.tolist(), strict=True)),
        correlations=correlations(list(kinds), assets),
        ablations=judged,
        sharpe=sharpe,
        alone=alone_ones,
        problems=tuple(problems),
        tries=tuple(desk.tries),
    )
