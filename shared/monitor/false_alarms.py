"""How often does the trigger fire where nothing has changed, and how soon where something has? By simulation.

Each path has a baseline of its own, estimated like a champion's, and then years of looks at rolling windows of the same law
(`laws.py`); an alarm starts a cool-down. Hourly looks see 24-hour returns that end at the look. The statistics are those of
`statistics.py`; the plain rule is |current - baseline| / |baseline| > 15 %.

A champion's baseline is not just an estimate: it was measured on few days, and these days were passed as a test, so that it is
too good by construction (`Plan.passing_z`); the shape of its returns comes from other days (`Plan.shape_days`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from shared.domain.candles import BoolArray, FloatArray
from shared.domain.errors import ConfigError
from shared.monitor.laws import DAILY_DEVIATION, Law, draw_returns
from shared.monitor.params import MonitorParams
from shared.monitor.performance import Baseline
from shared.monitor.statistics import (
    DAYS_PER_YEAR,
    YEAR_ROOT,
    log_variance_error,
    moments,
    sharpe_difference_error,
    sharpe_error,
)

HOURS = 24


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is simulated."""

    paths: int = 200
    years: float = 10.0
    """of looks on each path"""
    baseline_days: int = 730
    sharpe: float = 1.5
    """annual, of every law"""
    shape_days: int | None = None
    """days before the baseline's that its skewness, kurtosis and clustering are taken from; `None`: the baseline's own"""
    passing_z: float | None = None
    """standard errors that a baseline's Sharpe ratio must lie above 0 to be one; `None`: every path has one"""
    hourly: bool = False
    """look every hour instead of every day"""

    def __post_init__(self) -> None:
        if self.passing_z is not None and not self.sharpe >= 0:
            raise ConfigError(f"a Sharpe ratio of {self.sharpe} hardly ever passes a test; expected at least 0")

    @property
    def looks_per_day(self) -> int:
        """24 or 1."""
        return HOURS if self.hourly else 1

    @property
    def days(self) -> int:
        """Days of looks on each path."""
        return round(self.years * DAYS_PER_YEAR)


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """Of one law: shares of looks that the plain rule fires on, and mean days between false alarms; `None`: there was none."""

    law: str
    plain_sharpe: float
    plain_volatility: float
    plain_either: float
    sharpe_error: float
    """mean standard error of the Sharpe difference, annual"""
    baseline_sharpe: float
    """mean of the baselines, annual; above the true one where they had to pass"""
    sharpe_days: dict[str, float | None]
    """by threshold"""
    volatility_days: dict[str, float | None]
    configured_days: float | None
    """both metrics at the configured thresholds"""

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Detection:
    """Share of paths on which the configured trigger has fired so many days after a change."""

    law: str
    change: str
    shares: dict[str, float]


def false_alarms(
    law: Law, params: MonitorParams, plan: Plan, thresholds: Sequence[float], rng: np.random.Generator
) -> FalseAlarms:
    """What the trigger does on paths of `law` where nothing changes."""
    cool_down = params.cool_down_days * plan.looks_per_day
    alarms = {("sharpe", z): 0 for z in thresholds} | {("volatility", z): 0 for z in thresholds}
    configured, looks, plain, errors, baselines = 0, 0, np.zeros(3), [], []
    for path in _paths(law, params, plan, rng):
        for z in thresholds:
            alarms["sharpe", z] += count_alarms(path.sharpe_fires(params.minimum_effect, z), cool_down)
            alarms["volatility", z] += count_alarms(path.volatility_fires(params.minimum_effect, z), cool_down)
        configured += count_alarms(path.fires(params), cool_down)
        looks += len(path.sharpe_z)
        plain_sharpe, plain_volatility = (
            np.abs(c) > params.minimum_effect for c in (path.plain_sharpe, path.volatility_change)
        )
        plain += plain_sharpe.sum(), plain_volatility.sum(), (plain_sharpe | plain_volatility).sum()
        errors.append(path.sharpe_error)
        baselines.append(path.baseline_sharpe)
    days = plan.paths * plan.days

    def interval(count: int) -> float | None:
        return days / count if count else None

    by_metric = {m: {f"{z:g}": interval(alarms[m, z]) for z in thresholds} for m in ("sharpe", "volatility")}
    return FalseAlarms(
        law=law.value,
        plain_sharpe=float(plain[0] / looks),
        plain_volatility=float(plain[1] / looks),
        plain_either=float(plain[2] / looks),
        sharpe_error=float(np.mean(errors)) * YEAR_ROOT,
        baseline_sharpe=float(np.mean(baselines)) * YEAR_ROOT,
        sharpe_days=by_metric["sharpe"],
        volatility_days=by_metric["volatility"],
        configured_days=interval(configured),
    )


def detection(
    law: Law,
    params: MonitorParams,
    plan: Plan,
    rng: np.random.Generator,
    *,
    sharpe: float | None = None,
    volatility_factor: float = 1.0,
    within_days: Sequence[int] = (15, 30, 60, 90),
) -> Detection:
    """What the trigger does where the annual Sharpe ratio becomes `sharpe`, or the volatility changes by a factor.

    The change comes at one instant; before it, a window of unchanged days. Daily looks; `plan.years` does not matter.
    """
    longest = max(within_days)
    before = params.window_days
    plan = replace(plan, years=(before + longest) / DAYS_PER_YEAR, hourly=False)
    fired = np.zeros(len(within_days))
    for path in _paths(law, params, plan, rng, change=(before, sharpe, volatility_factor)):
        fires = path.fires(params)[before:]
        fired += [bool(fires[:days].any()) for days in within_days]
    name = f"volatility x {volatility_factor:g}" if sharpe is None else f"Sharpe {plan.sharpe:g} -> {sharpe:g}"
    shares = {str(days): float(share) for days, share in zip(within_days, fired / plan.paths, strict=True)}
    return Detection(law.value, name, shares)


@dataclass(frozen=True, eq=False, slots=True)
class _Path:
    """Every look of one path, (looks,) each."""

    sharpe_change: FloatArray
    sharpe_z: FloatArray
    plain_sharpe: FloatArray
    """relative change without a floor under the baseline"""
    volatility_change: FloatArray
    volatility_z: FloatArray
    sharpe_error: float
    baseline_sharpe: float

    def sharpe_fires(self, effect: float, threshold: float) -> BoolArray:
        return np.asarray((self.sharpe_change < -effect) & (self.sharpe_z < -threshold))

    def volatility_fires(self, effect: float, threshold: float) -> BoolArray:
        return np.asarray((np.abs(self.volatility_change) > effect) & (np.abs(self.volatility_z) > threshold))

    def fires(self, params: MonitorParams) -> BoolArray:
        sharpe = self.sharpe_fires(params.minimum_effect, params.sharpe_z)
        return np.asarray(sharpe | self.volatility_fires(params.minimum_effect, params.volatility_z))


def count_alarms(fires: BoolArray, cool_down: int) -> int:
    """Alarms among the looks (n,) where each one silences the `cool_down` looks from itself on."""
    count, free = 0, 0
    for place in np.flatnonzero(fires).tolist():
        if place >= free:
            count, free = count + 1, place + max(cool_down, 1)
    return count


def _paths(
    law: Law,
    params: MonitorParams,
    plan: Plan,
    rng: np.random.Generator,
    change: tuple[int, float | None, float] | None = None,
) -> Iterator[_Path]:
    """All paths of a plan. `change`: after so many days of looks the annual Sharpe ratio or the volatility is another one."""
    steps, lead = plan.looks_per_day, params.window_days
    for _ in range(plan.paths):
        drift = plan.sharpe / YEAR_ROOT
        before, baseline = _before(law, params, plan, rng, drift)
        after = draw_returns(law, rng, plan.days, steps, drift)
        if change is not None:
            start, sharpe, factor = change
            shift = 0.0 if sharpe is None else (sharpe - plan.sharpe) / YEAR_ROOT * DAILY_DEVIATION / steps
            after[start:] = after[start:] * factor + shift
        yield _looks(np.concatenate([before[-lead:], after]), baseline, params)


def _before(law: Law, params: MonitorParams, plan: Plan, rng: np.random.Generator, drift: float) -> tuple[FloatArray, Baseline]:
    """Returns (days, steps) up to the first look, and the baseline of a part of them; drawn again until it passes."""
    shape_days = plan.shape_days or 0
    while True:
        before = draw_returns(law, rng, shape_days + plan.baseline_days + params.window_days, plan.looks_per_day, drift)
        daily = before[: -params.window_days].sum(axis=1)
        measured = Baseline.of(daily[shape_days:], params.window_days)
        assert measured is not None  # noqa: S101 - for the type checker: drawn returns move
        if plan.passing_z is not None:
            ratio, skewness, kurtosis = map(np.asarray, (measured.sharpe_daily, measured.skewness, measured.kurtosis))
            if ratio <= plan.passing_z * sharpe_error(ratio, skewness, kurtosis, measured.days):
                continue
        shape = Baseline.of(daily[:shape_days], params.window_days) or measured
        return before, replace(measured, skewness=shape.skewness, kurtosis=shape.kurtosis, clustering=shape.clustering)


def _looks(returns: FloatArray, baseline: Baseline, params: MonitorParams) -> _Path:
    """Looks at (days, steps) returns, the first one when `window_days` days have passed, with a known clustering."""
    days, steps = returns.shape
    window = params.window_days
    total = np.concatenate([[0.0], np.cumsum(returns)])
    daily = (total[steps:] - total[:-steps])[1:].reshape(days - 1, steps)  # row d, phase h: the 24 hours that end there
    windows = np.lib.stride_tricks.sliding_window_view(daily, window, axis=0)  # (looks / steps, steps, window)
    current = moments(windows.reshape(-1, window))
    sharpe, skewness, kurtosis = map(np.asarray, (baseline.sharpe_daily, baseline.skewness, baseline.kurtosis))
    error = sharpe_difference_error(sharpe, skewness, kurtosis, window, baseline.days)
    moved = current.sharpe - sharpe
    log_ratio = 2.0 * np.log(current.deviation / baseline.volatility_daily)
    floor = max(baseline.volatility_daily, params.volatility_floor / YEAR_ROOT)
    return _Path(
        moved / max(abs(baseline.sharpe_daily), params.sharpe_floor / YEAR_ROOT),
        moved / error,
        moved / abs(baseline.sharpe_daily),
        np.asarray((current.deviation - baseline.volatility_daily) / floor),
        log_ratio / log_variance_error(np.asarray(baseline.clustering), window, baseline.days),
        float(error),
        baseline.sharpe_daily,
    )
