"""Settings of the RL agent's training (`ost agent train`): what the agent sees, how its actions count, SAC's own numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from shared.domain.errors import ConfigError

DEFAULT_FEATURES = (
    *("log_return", "rsi", "adx", "plus_di", "minus_di", "realised_volatility", "range_volatility", "skewness", "volume_z"),
)
"""Curated columns that mean the same at every price level"""


@dataclass(frozen=True, slots=True)
class RlParams:
    """How a policy is trained."""

    features: tuple[str, ...] = DEFAULT_FEATURES
    """curated columns that the agent sees, normalised; prices would not mean the same next year"""
    window_size: int = 30
    """bars that the agent sees at once"""
    episode_bars: int = 168
    """bars of an episode; live, the agent's own account starts again after so many"""
    action_threshold: float = 0.1
    """|action| below which nothing is done"""
    max_exposure: float = 1.0
    """|notional| / equity of a full position in training"""
    normalise_portfolio: bool = True
    """show equity and profit as parts of the starting capital, not in quote currency"""
    steps: int = 50000
    """environment steps (bars) of a training"""
    learning_rate: float = 0.0003
    """of SAC's networks"""
    batch_size: int = 256
    """transitions in a gradient step"""
    buffer_size: int = 100000
    """transitions that are remembered"""
    learning_starts: int = 1000
    """steps of random actions before the first gradient step"""
    discount: float = 0.99
    """what the next bar's reward is worth"""
    layer_widths: tuple[int, ...] = (64, 64)
    """width of the hidden layers of actor and critics"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple(self.features))
        object.__setattr__(self, "layer_widths", tuple(self.layer_widths))
        if not self.features or len(set(self.features)) != len(self.features):
            raise ConfigError(f"agent.features are {list(self.features)}; expected different columns, at least one")
        for name, low, high in _WHOLE:
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise ConfigError(f"agent.{name} is {value}; expected {low} to {high}")
        for name, high_value in _POSITIVE:
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 < value <= high_value):
                raise ConfigError(f"agent.{name} is {value}; expected more than 0 and at most {high_value:g}")
        if not 0 <= self.action_threshold < 1:
            raise ConfigError(f"agent.action_threshold is {self.action_threshold}; expected 0 or more and less than 1")
        if not self.layer_widths or not all(isinstance(width, int) and 1 <= width <= 4096 for width in self.layer_widths):
            raise ConfigError(f"agent.layer_widths are {list(self.layer_widths)}; expected widths of 1 to 4096")


_WHOLE = (
    ("window_size", 1, 500),
    ("episode_bars", 2, 1900),
    ("steps", 1, 100_000_000),
    ("batch_size", 1, 65_536),
    ("buffer_size", 1, 10_000_000),
    ("learning_starts", 0, 10_000_000),
)
"""Field, least, largest."""
_POSITIVE = (("max_exposure", 20.0), ("learning_rate", 1.0), ("discount", 1.0))
