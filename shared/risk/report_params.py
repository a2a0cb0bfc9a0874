"""Settings of the risk report: how the future is simulated and how the present book is shaken."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from shared.domain.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RiskReportParams:
    """Numbers of `ost risk` and of the fan in a backtest's report. They decide nothing."""

    paths: int = 5000
    """simulated futures"""
    horizon_days: int = 365
    """length of each of them"""
    mean_block_days: float = 10.0
    """mean length of the blocks of past days that a future is put together from"""
    drawdowns: tuple[float, ...] = (0.05, 0.10, 0.20, 0.30, 0.50)
    """drawdowns whose probability is reported"""
    shocks: tuple[float, ...] = (-0.30, -0.20, -0.10, 0.10, 0.20, 0.30)
    """sudden moves of every price at once"""
    volatility_factor: float = 2.0
    """multiple of the volatility in the scenario of a nervous market"""
    funding_spike: float = 0.003
    """funding rate per stamp, paid by whoever is on the crowded side, in the scenario of a funding spike"""
    funding_stamps: int = 9
    """stamps that the spike lasts (3 a day)"""
    beta_days: int = 180
    """newest daily returns from which volatility, correlation and beta to the reference asset are measured"""

    def __post_init__(self) -> None:
        for name in ("drawdowns", "shocks"):
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        for field in fields(self):
            value = getattr(self, field.name)
            known = all(math.isfinite(part) for part in (value if isinstance(value, tuple) else (value,)))
            self._require(known, field.name, "finite numbers")
        self._require(100 <= self.paths <= 100_000, "paths", "100 to 100000")
        self._require(1 <= self.horizon_days <= 3650, "horizon_days", "1 to 3650")
        self._require(1 <= self.mean_block_days <= 365, "mean_block_days", "1 to 365")
        self._require(all(0 < value < 1 for value in self.drawdowns), "drawdowns", "fractions in (0, 1)")
        self._require(all(-1 < value <= 10 and value != 0 for value in self.shocks), "shocks", "moves above -1 that are not 0")
        self._require(1 <= self.volatility_factor <= 20, "volatility_factor", "1 to 20")
        self._require(0 <= self.funding_spike <= 0.1, "funding_spike", "a rate in [0, 0.1]")
        self._require(1 <= self.funding_stamps <= 1000, "funding_stamps", "1 to 1000")
        self._require(20 <= self.beta_days <= 3650, "beta_days", "20 to 3650")

    def _require(self, holds: bool, name: str, expected: str) -> None:
        if not holds:
            raise ConfigError(f"risk_report.{name} is {getattr(self, name)}; expected {expected}")
