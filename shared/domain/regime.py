"""Market regimes: three states, always in the order calm < balanced < stress (by volatility)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from shared.domain.errors import MalformedData


class Regime(StrEnum):
    """The nature of the market, by its volatility."""

    CALM = "calm"
    BALANCED = "balanced"
    STRESS = "stress"


REGIMES = (Regime.CALM, Regime.BALANCED, Regime.STRESS)
"""Column order of every (n, 3) array of regime probabilities."""


@dataclass(frozen=True, slots=True)
class RegimeProbabilities:
    """Filtered probabilities of the three regimes at one bar; they sum to 1."""

    calm: float
    balanced: float
    stress: float

    def __post_init__(self) -> None:
        values = (self.calm, self.balanced, self.stress)
        if not all(math.isfinite(p) and -1e-12 <= p <= 1 + 1e-9 for p in values) or abs(sum(values) - 1) > 1e-6:
            raise MalformedData(f"regime probabilities must lie in [0, 1] and sum to 1, found {values}")

    def of(self, regime: Regime) -> float:
        """P(regime)."""
        return (self.calm, self.balanced, self.stress)[REGIMES.index(regime)]

    @property
    def dominant(self) -> Regime:
        """The most probable regime."""
        return max(REGIMES, key=self.of)

    def as_dict(self) -> dict[str, float]:
        """`{"calm": …, "balanced": …, "stress": …}`"""
        return {"calm": self.calm, "balanced": self.balanced, "stress": self.stress}
