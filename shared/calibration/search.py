"""Which variants to try, found by looking: Optuna's tree-structured Parzen estimator inside the first training window.

The search sees nothing after that window, so that every test window of the campaign is out of sample for all that it found. Its
trials are the campaign's variants: each counts, none is hidden. Same seed and data, same trials.
Bergstra, Bardenet, Bengio, Kegl (2011), "Algorithms for Hyper-Parameter Optimization", section 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shared.calibration.params import CampaignParams
from shared.calibration.variants import with_changes
from shared.domain.errors import OstError, UsageError
from shared.trading.params import SystemParams

if TYPE_CHECKING:
    from optuna import Trial

Point = dict[str, Any]
Objective = Callable[[SystemParams], float | None]
"""Sharpe ratio of parameters in the search window; `None` where they do not trade."""

NOTHING_TRADED = -1.0
"""What a search takes for a variant that never traded: as bad as an annual Sharpe ratio of -19."""
_DIGITS = 3

FACTORS: dict[str, tuple[float, float]] = {
    "strategy.entry_threshold": (0.4, 2.0),
    "strategy.momentum_atr": (0.5, 2.0),
    "strategy.stop_atr": (0.5, 2.5),
    "strategy.rebalance_band": (0.3, 2.0),
    "strategy.breakout_bars": (0.25, 4.0),
    "strategy.liquidity_bars": (0.5, 4.0),
}
"""Numbers that are searched on a logarithmic scale, as a factor on the base."""
SHARES: dict[str, float] = {
    "strategy.trend_hunter.share": 2.0,
    "strategy.mean_reversion.share": 2.0,
    "strategy.breakout_hunter.share": 2.0,
    "strategy.volatility_filter.share": 4.0,
    "strategy.sentiment_scout.share": 2.0,
    "strategy.liquidity_surfer.share": 2.0,
    "strategy.trend_hunter.weights.momentum": 2.0,
}
"""Weights that are searched from 0 to this."""
EXIT_RATIO = (0.2, 0.8)
"""Exit threshold / entry threshold."""
FULL_RATIO = (1.25, 3.0)
"""Full score / entry threshold."""
FULL_LIMIT = 0.8
"""Largest full score: the stress playbook raises it by a fifth, and it cannot exceed 1."""


def search(base: SystemParams, objective: Objective, trials: int, params: CampaignParams) -> list[Point]:
    """The different points that `trials` trials looked at, in their order, as changes against `base`.

    Raises `UsageError` for fewer than one or more than `campaign.max_variants` trials.
    """
    import optuna

    if not 1 <= trials <= params.max_variants:
        raise UsageError(f"--search {trials}; expected 1 to {params.max_variants} trials (campaign.max_variants)")
    known: dict[str, float] = {}
    points: list[Point] = []

    def look(trial: Trial) -> float:
        point = _suggested(base, trial)
        try:
            system = with_changes(base, point)
            _ = system.strategies
        except OstError as error:
            raise optuna.TrialPruned(str(error)) from error  # outside what the strategy allows around this base
        if system.version not in known:
            found = objective(system)
            known[system.version] = NOTHING_TRADED if found is None or not math.isfinite(found) else found
            points.append(point)
        return known[system.version]

    sampler = optuna.samplers.TPESampler(seed=params.seed, n_startup_trials=params.search_startup)
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        optuna.create_study(direction="maximize", sampler=sampler).optimize(look, n_trials=trials)
    finally:
        optuna.logging.set_verbosity(before)
    return points


def _suggested(base: SystemParams, trial: Trial) -> Point:
    """A point in the ranges above, in numbers that a person can read."""
    point: Point = {}
    for name, (low, high) in FACTORS.items():
        value = _value(base, name)
        scaled = value * trial.suggest_float(name, low, high, log=True)
        point[name] = max(1, round(scaled)) if isinstance(value, int) else _readable(scaled)
    for name, highest in SHARES.items():
        point[name] = round(trial.suggest_float(name, 0.0, highest), 2)
    entry = point["strategy.entry_threshold"]
    point["strategy.exit_threshold"] = _readable(entry * trial.suggest_float("exit_ratio", *EXIT_RATIO))
    point["strategy.full_score"] = min(FULL_LIMIT, _readable(entry * trial.suggest_float("full_ratio", *FULL_RATIO)))
    return point


def _value(base: SystemParams, name: str) -> Any:
    value: Any = base
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _readable(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
