"""Settings of risk control: sizing, limits and breakers. Fractions are of equity unless a field says otherwise."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields, replace

from shared.domain.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RiskParams:
    """How much may be risked, and when trading pauses."""

    calm_multiplier: float = 1.2
    """size multiplier when the market is surely calm"""
    balanced_multiplier: float = 1.0
    """size multiplier when the market is surely balanced"""
    stress_multiplier: float = 0.5
    """size multiplier when the market is surely under stress"""
    minimum_multiplier: float = 0.25
    """lower bound of the size multiplier"""
    maximum_multiplier: float = 1.5
    """upper bound of the size multiplier"""
    stress_ramp: float = 0.1
    """half width of the ramp around P(stress) = 0.5 on which the size moves to the stress multiplier"""
    calm_ramp_start: float = 0.6
    """P(calm) from which the calm bonus ramps in"""
    kelly_fraction: float = 0.25
    """share of the Kelly fraction that is used"""
    kelly_prior_bars: float = 1000.0
    """bars that the prior belief of a zero mean is worth: the sample mean is shrunk by n / (n + prior)"""
    kelly_minimum_bars: int = 500
    """bars with a position before Kelly limits the size at all"""
    kelly_floor: float = 0.25
    """smallest cap that Kelly sets: a strategy that is being observed keeps a small position"""
    max_leverage: float = 2.0
    """largest |notional| / equity that Kelly may allow in one asset"""
    max_asset_exposure: float = 1.0
    """largest |notional| / equity in one asset"""
    max_total_exposure: float = 2.0
    """largest sum of |notional| / equity over all assets"""
    pause_drawdowns: tuple[float, ...] = (0.05, 0.10, 0.15)
    """drawdowns from the peak of marked equity that pause trading, rising"""
    pause_hours: tuple[float, ...] = (1.0, 4.0, 24.0)
    """how long each of them pauses"""
    max_drawdown: float = 0.20
    """drawdown that latches the book: positions are closed and only a person resumes"""
    max_daily_loss: float = 0.05
    """loss since the start of the UTC day, marked, that ends new risk until the next day; 1: never"""
    var_limit: float = 0.10
    """largest loss of one day in a hundred (99 % VaR of the newest bars) that one position may cost"""
    var_bars: int = 500
    """newest bar returns from which that VaR is taken"""
    stress_shock: float = 0.30
    """sudden move of every price at once, against the book, that its net position is measured by"""
    stress_loss_limit: float = 0.50
    """largest loss that this shock may cost"""
    max_order_notional: float = 1_000_000.0
    """largest order that may open or increase a position, quote currency"""
    price_collar: float = 0.05
    """largest distance of an order from the last price, as a fraction of it"""
    max_orders_minute: int = 60
    """orders that may open or increase positions within a minute, all symbols together"""
    max_orders_day: int = 5000
    """orders that may open or increase positions within 24 hours"""

    def __post_init__(self) -> None:
        for name in ("pause_drawdowns", "pause_hours"):
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, tuple):
                self._require(0 <= value < float("inf"), field.name, "a finite number, 0 or more")
        self._require(
            self.calm_multiplier >= self.balanced_multiplier >= self.stress_multiplier,
            "calm_multiplier",
            "at least balanced_multiplier, and that at least stress_multiplier",
        )
        self._require(self.minimum_multiplier <= self.maximum_multiplier, "minimum_multiplier", "at most maximum_multiplier")
        self._require(0 < self.stress_ramp <= 0.5, "stress_ramp", "in (0, 0.5]")
        self._require(0 <= self.calm_ramp_start < 1, "calm_ramp_start", "in [0, 1)")
        self._require(0 < self.kelly_fraction <= 1, "kelly_fraction", "in (0, 1]")
        self._require(self.max_asset_exposure <= self.max_total_exposure, "max_asset_exposure", "at most max_total_exposure")
        for name in ("max_daily_loss", "var_limit", "stress_shock", "stress_loss_limit", "price_collar"):
            self._require(getattr(self, name) > 0, name, "above 0")
        self._require(self.max_daily_loss <= 1, "max_daily_loss", "at most 1")
        self._require(self.var_bars >= 101, "var_bars", "at least 101: one return in a hundred has to be among them")
        for name in ("max_orders_minute", "max_orders_day"):
            self._require(getattr(self, name) >= 1, name, "at least 1")
        self._require(len(self.pause_drawdowns) == len(self.pause_hours), "pause_hours", "as long as pause_drawdowns")
        rising = (0.0, *self.pause_drawdowns, self.max_drawdown)
        self._require(
            all(a < b for a, b in itertools.pairwise(rising)) and self.max_drawdown < 1,
            "pause_drawdowns",
            f"rising and below max_drawdown {self.max_drawdown}, which is below 1",
        )

    @property
    def max_net_exposure(self) -> float:
        """Largest |sum of signed notional| / equity that the shock allows."""
        return self.stress_loss_limit / self.stress_shock

    def without_breakers(self) -> RiskParams:
        """The same limits without what stops trading: for comparisons that trade as their textbooks do."""
        return replace(self, pause_drawdowns=(), pause_hours=(), max_drawdown=0.999, max_daily_loss=1.0)

    def _require(self, holds: bool, name: str, expected: str) -> None:
        if not holds:
            raise ConfigError(f"risk.{name} is {getattr(self, name)}; expected {expected}")
