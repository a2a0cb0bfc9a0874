"""Settings of the performance monitor: when drift from the champion's baseline is a reason to tune again.

Sharpe ratios and volatilities are annual here and only here (365 days a year): people set these numbers, the code computes per
day. The thresholds come from the simulation in `docs/recalibration.md`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from shared.domain.errors import ConfigError


@dataclass(frozen=True, slots=True)
class MonitorParams:
    """A trigger fires beyond the minimum effect and beyond the z threshold, in the bad direction, outside the cool-down."""

    window_days: int = 30
    """days of the rolling window that is compared with the baseline"""
    minimum_days: int = 25
    """fewest days of the window that must have a return"""
    minimum_baseline_days: int = 90
    """fewest days that a baseline must have been measured on"""
    minimum_effect: float = 0.15
    """smallest relative change that counts, of the Sharpe ratio and of the volatility"""
    sharpe_z: float = 3.0
    """standard errors that the Sharpe ratio must lie below its baseline"""
    volatility_z: float = 3.5
    """standard errors that the log variance must lie above or below its baseline"""
    sharpe_floor: float = 0.5
    """smallest |baseline Sharpe ratio|, annual, that relative change is measured against"""
    volatility_floor: float = 0.01
    """smallest baseline volatility, annual, that relative change is measured against"""
    cool_down_days: int = 30
    """days after a recalibration event of an asset in which no further one is opened"""
    history_days: int = 1460
    """days before a recalibration event that its campaign looks at"""

    def __post_init__(self) -> None:
        least_days = {
            "window_days": 10,
            "minimum_days": 10,
            "minimum_baseline_days": 30,
            "cool_down_days": 0,
            "history_days": 1,
        }
        for name, least in least_days.items():
            if getattr(self, name) < least:
                raise ConfigError(f"monitor.{name} is {getattr(self, name)}; expected at least {least}")
        if self.minimum_days > self.window_days:
            raise ConfigError(
                f"monitor.minimum_days is {self.minimum_days}; expected at most monitor.window_days, {self.window_days}"
            )
        for name in ("minimum_effect", "sharpe_z", "volatility_z", "sharpe_floor", "volatility_floor"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"monitor.{name} is {value}; expected a finite number above 0")
