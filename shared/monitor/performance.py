"""Has performance drifted from the champion's baseline, beyond chance? One look at a rolling window of daily returns.

A 30-day Sharpe ratio has a standard error of about 3.5 annualised, so a relative change alone says nothing (quant.md,
"Recalibration trigger"). A metric fires where its relative change exceeds the minimum effect AND its z exceeds the threshold,
in the bad direction (Sharpe: below the baseline; volatility: either). Invariant: every look says why it did or did not fire,
and what cannot be judged (too few days, no movement, no baseline) is a reason, never an exception.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from shared.domain.candles import FloatArray, IntArray
from shared.domain.errors import MalformedData
from shared.domain.interval import DAY_MS, format_ms
from shared.monitor.params import MonitorParams
from shared.monitor.statistics import YEAR_ROOT, clustering, log_variance_error, moments, sharpe_difference_error

_NORMAL_KURTOSIS = 3.0


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is expected of a champion: daily returns out of sample, as moments."""

    sharpe_daily: float
    volatility_daily: float
    days: int
    skewness: float = 0.0
    kurtosis: float = _NORMAL_KURTOSIS
    clustering: float | None = None
    """`statistics.clustering` of the returns: how much the volatility of a window varies by itself; `None`: not known"""

    @classmethod
    def of(cls, returns: FloatArray, window_days: int) -> Baseline | None:
        """The baseline of daily returns (n,); `None` where they do not move or are fewer than three."""
        if len(returns) < 3 or not np.all(np.isfinite(returns)):
            return None
        found = moments(returns)
        if not math.isfinite(float(found.deviation)):
            return None
        return cls(
            float(found.sharpe),
            float(found.deviation),
            len(returns),
            float(found.skewness),
            float(found.kurtosis),
            float(clustering(returns, window_days)),
        )

    @classmethod
    def from_metrics(cls, metrics: Mapping[str, Any]) -> Baseline | None:
        """The baseline in a champion's metrics (`as_dict`); `None` where Sharpe, volatility or days are missing."""
        known: dict[str, Any] = {name: metrics[name] for name in _FIELDS if _is_number(metrics.get(name))}
        if not {"sharpe_daily", "volatility_daily", "days"} <= known.keys():
            return None
        return cls(**{**known, "days": int(known["days"])})

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as a champion's metrics keep them."""
        return asdict(self)


_FIELDS = tuple(field.name for field in fields(Baseline))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


@dataclass(frozen=True, slots=True)
class Finding:
    """One metric against its baseline. Per day; `None` where it could not be computed."""

    metric: str
    """`sharpe` or `volatility`"""
    current: float | None
    baseline: float | None
    relative_change: float | None
    """(current - baseline) / max(|baseline|, floor)"""
    minimum_effect: float
    z: float | None
    threshold: float
    standard_error: float | None
    """of the Sharpe difference, or of the log variance ratio"""
    fired: bool
    reason: str


@dataclass(frozen=True, slots=True)
class PerformanceCheck:
    """One look, with every number and the reason for what it says."""

    at_ms: int
    days: int
    """returns in the window"""
    findings: tuple[Finding, ...]
    trigger: str | None
    """`sharpe` or `volatility` where a recalibration is due, else `None`"""
    reason: str

    @property
    def fired(self) -> bool:
        """Whether a recalibration is due."""
        return self.trigger is not None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {**asdict(self), "findings": [asdict(finding) for finding in self.findings], "fired": self.fired}


def check_performance(
    returns: FloatArray, baseline: Baseline | None, params: MonitorParams, at_ms: int, last_event_ms: int | None = None
) -> PerformanceCheck:
    """Compare daily `returns` (n,), the newest last, with `baseline`. Only the last `window_days` count; NaN is a day without.

    `last_event_ms` is the instant of the asset's newest recalibration event: nothing fires within the cool-down after it.
    """
    window = np.asarray(returns, dtype=np.float64)[-params.window_days :]
    window = window[np.isfinite(window)]
    obstacle = _obstacle(window, baseline, params)
    if obstacle is not None or baseline is None:
        return PerformanceCheck(at_ms, len(window), (), None, obstacle or "")
    findings = (_sharpe(window, baseline, params), _volatility(window, baseline, params))
    fired = [finding for finding in findings if finding.fired]
    if not fired:
        return PerformanceCheck(at_ms, len(window), findings, None, "; ".join(finding.reason for finding in findings))
    reason = "; ".join(finding.reason for finding in fired)
    if last_event_ms is not None and at_ms < last_event_ms + params.cool_down_days * DAY_MS:
        until = format_ms(last_event_ms + params.cool_down_days * DAY_MS)
        return PerformanceCheck(at_ms, len(window), findings, None, f"cooling down until {until}: {reason}")
    return PerformanceCheck(at_ms, len(window), findings, fired[0].metric, reason)


def rolling_returns(time_ms: IntArray, equity: FloatArray, at_ms: int, days: int) -> FloatArray:
    """Returns (days,) of the `days` days of 24 hours that end at `at_ms`, from an equity curve (m,), oldest first.

    NaN for a day without a point in it, or before which there is none. Raises `MalformedData` for a curve that is no curve.
    """
    if len(time_ms) != len(equity) or np.any(np.diff(time_ms) <= 0) or not np.all(np.isfinite(equity)):
        raise MalformedData("an equity curve needs one finite value for each of its increasing instants")
    edges = at_ms - DAY_MS * np.arange(days, -1, -1, dtype=np.int64)
    places = np.searchsorted(time_ms, edges, side="right") - 1
    known = places >= 0
    values = np.where(known, equity[np.maximum(places, 0)], np.nan) if len(equity) else np.full(days + 1, np.nan)
    moved = (places[1:] > places[:-1]) & known[:-1] & (values[:-1] > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(moved, values[1:] / values[:-1] - 1.0, np.nan))


def _obstacle(window: FloatArray, baseline: Baseline | None, params: MonitorParams) -> str | None:
    """Why nothing can be said, or `None`."""
    if baseline is None:
        return "no baseline: the asset has no champion with a measured Sharpe ratio and volatility"
    if len(window) < params.minimum_days:
        return f"not enough data: {len(window)} daily returns in the window, needed {params.minimum_days}"
    if baseline.days < params.minimum_baseline_days:
        return f"not enough data: the baseline has {baseline.days} days, needed {params.minimum_baseline_days}"
    if not (
        math.isfinite(baseline.sharpe_daily) and math.isfinite(baseline.volatility_daily) and baseline.volatility_daily > 0
    ):
        return f"no baseline: its volatility is {baseline.volatility_daily} and its Sharpe ratio {baseline.sharpe_daily}"
    if not np.isfinite(moments(window).deviation):
        return f"not enough data: the account did not move in {len(window)} days"
    return None


def _sharpe(window: FloatArray, baseline: Baseline, params: MonitorParams) -> Finding:
    before, current = baseline.sharpe_daily, float(moments(window).sharpe)
    sharpe, skewness, kurtosis = (np.asarray(value) for value in (before, baseline.skewness, baseline.kurtosis))
    error = float(sharpe_difference_error(sharpe, skewness, kurtosis, len(window), baseline.days))
    change = (current - before) / max(abs(before), params.sharpe_floor / YEAR_ROOT)
    z = (current - before) / error if error > 0 else 0.0
    effect, threshold = params.minimum_effect, params.sharpe_z
    fired = change < -effect and z < -threshold
    shown = f"Sharpe {current * YEAR_ROOT:+.2f} against {before * YEAR_ROOT:+.2f}"
    why = f"{shown} {_why(change, z, effect, threshold, fired=fired, bad=change < 0)}"
    return Finding("sharpe", current, before, change, effect, z, threshold, error, fired, why)


def _volatility(window: FloatArray, baseline: Baseline, params: MonitorParams) -> Finding:
    before, current = baseline.volatility_daily, float(moments(window).deviation)
    change = (current - before) / max(before, params.volatility_floor / YEAR_ROOT)
    shown = f"volatility {current * YEAR_ROOT:.1%} against {before * YEAR_ROOT:.1%}"
    effect, threshold = params.minimum_effect, params.volatility_z
    if baseline.clustering is None:
        why = f"{shown}: not judged, the baseline does not say how much the volatility of a window varies by itself"
        return Finding("volatility", current, before, change, effect, None, threshold, None, False, why)
    error = float(log_variance_error(np.asarray(baseline.clustering), len(window), baseline.days))
    z = 2.0 * math.log(current / before) / error
    fired = abs(change) > effect and abs(z) > threshold
    why = f"{shown} {_why(change, z, effect, threshold, fired=fired, bad=True)}"
    return Finding("volatility", current, before, change, effect, z, threshold, error, fired, why)


def _why(change: float, z: float, effect: float, threshold: float, *, fired: bool, bad: bool) -> str:
    """The sentence's end: what the change amounts to."""
    amount = f"({change:+.0%}, z {z:+.1f})"
    if fired:
        return f"{amount}: beyond {effect:.0%} and {threshold:g} standard errors"
    if not bad:
        return f"{amount}: not worse"
    if abs(change) <= effect:
        return f"{amount}: within the minimum effect of {effect:.0%}"
    return f"{amount}: within chance, {threshold:g} standard errors"
