"""What a campaign tries where nobody says what to try: about fifty variants around a system, on three questions.

How sure the agents must be (thresholds), who of them speaks (shares and regimes), and how slowly positions move (windows,
stops, bands). Few and different: every variant raises the bar that the best of them must pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from shared.calibration.variants import with_changes
from shared.domain.errors import ConfigError
from shared.strategy.params import AgentParams, StrategyParams
from shared.trading.params import SystemParams

Point = dict[str, Any]

_CONVICTIONS = ((0.5, 0.5), (0.75, 0.75), (1.25, 1.25), (1.6, 1.6))
"""Factors on entry and exit threshold."""
_SOLOISTS = ("trend_hunter", "mean_reversion", "breakout_hunter", "liquidity_surfer")
_SPEEDS: tuple[tuple[str, float], ...] = (
    ("breakout_bars", 0.5),
    ("breakout_bars", 2.0),
    ("momentum_atr", 0.5),
    ("momentum_atr", 1.75),
    ("stop_atr", 0.6),
    ("stop_atr", 1.75),
    ("rebalance_band", 0.5),
    ("rebalance_band", 2.0),
    ("full_score", 0.8),
    ("full_score", 1.5),
    ("liquidity_bars", 2.0),
    ("volatility_long_bars", 2.0),
)
"""Fields that are changed alone, by a factor."""


def default_points(base: SystemParams) -> list[Point]:
    """Changes against `base`, each different; those that an unusual base takes out of range are left out."""
    strategy = base.strategy
    convictions = [_scaled(strategy, entry_threshold=entry, exit_threshold=leave) for entry, leave in _CONVICTIONS]
    casts = [*(_solo(strategy, name) for name in _SOLOISTS), *_mixes(strategy), *_regimes(), *_weights_by_regime()]
    speeds = [_scaled(strategy, **{name: factor}) for name, factor in _SPEEDS]
    bold, shy = convictions[1], convictions[3]
    mixed = [{**cast, **conviction} for cast in casts[:6] for conviction in (bold, shy)]
    return _different(base, [*convictions, *casts, *speeds, *mixed])


def _scaled(strategy: StrategyParams, **factors: float) -> Point:
    point: Point = {}
    for name, factor in factors.items():
        value = getattr(strategy, name)
        point[f"strategy.{name}"] = max(1, round(value * factor)) if isinstance(value, int) else round(value * factor, 6)
    # The thresholds of the base stay in order: the score that takes the whole budget lies above the entry.
    entry = point.get("strategy.entry_threshold", strategy.entry_threshold)
    full = point.get("strategy.full_score", strategy.full_score)
    return {**point, "strategy.full_score": min(1.0, round(entry * 1.25, 6))} if full <= 1.2 * entry else point


def _solo(strategy: StrategyParams, name: str) -> Point:
    """One agent that takes sides, with the brake and the crowd's opponent as they are."""
    voice = getattr(strategy, name)
    own = {f"strategy.{other}.share": 0.0 for other in _SOLOISTS if other != name}
    return own if isinstance(voice, AgentParams) and voice.share > 0 else {**own, f"strategy.{name}.share": 1.0}


def _mixes(strategy: StrategyParams) -> list[Point]:
    brake = strategy.volatility_filter.share
    return [
        {"strategy.mean_reversion.share": 0.0},
        {"strategy.trend_hunter.share": 0.0},
        {"strategy.trend_hunter.share": 2.0, "strategy.mean_reversion.share": 0.5},
        {"strategy.trend_hunter.share": 0.5, "strategy.mean_reversion.share": 2.0},
        {"strategy.sentiment_scout.share": 0.0},
        {"strategy.sentiment_scout.share": 2.0},
        {"strategy.volatility_filter.share": 0.0},
        {"strategy.volatility_filter.share": round(brake * 2.0, 6) or 2.0},
        {"strategy.trend_hunter.weights.momentum": 2.0},
        {"strategy.trend_hunter.weights.volatility": 1.0},
        {"strategy.mean_reversion.weights.momentum": 0.5},
    ]


def _regimes() -> list[Point]:
    """The same agents in other regimes."""
    return [
        {"strategy.trend_hunter.target_regimes": ["calm"]},
        {"strategy.trend_hunter.target_regimes": ["calm", "balanced", "stress"]},
        {"strategy.mean_reversion.target_regimes": ["balanced"]},
        {"strategy.breakout_hunter.target_regimes": ["calm", "balanced"]},
        {"risk.stress_multiplier": 0.25},
    ]


def _weights_by_regime() -> list[Point]:
    """Agents that weigh more in the regime that suits them, and less elsewhere: calm, balanced, stress."""
    return [
        {"strategy.trend_hunter.regime_shares": [1.5, 1.0, 0.5]},
        {"strategy.mean_reversion.regime_shares": [0.5, 1.5, 1.0]},
        {"strategy.trend_hunter.regime_shares": [1.5, 1.0, 0.5], "strategy.mean_reversion.regime_shares": [0.5, 1.5, 1.0]},
        {"strategy.breakout_hunter.regime_shares": [0.5, 1.0, 1.5]},
        {"strategy.volatility_filter.regime_shares": [0.5, 1.0, 2.0]},
    ]


def _different(base: SystemParams, points: Iterable[Point]) -> list[Point]:
    """Points that the rooms accept, the first of each version."""
    kept: dict[str, Point] = {}
    for point in points:
        try:
            system = with_changes(base, point)
            _ = system.strategies
        except ConfigError:
            continue
        kept.setdefault(system.version, point)
    return list(kept.values())
