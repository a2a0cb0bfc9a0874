"""Settings of the ML alpha's training; they are chosen before anybody looks at what comes of them."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.errors import ConfigError


@dataclass(frozen=True, slots=True)
class MlParams:
    """How the ML alpha is trained and how long a model may speak."""

    horizon_bars: int = 24
    """bars over which the return whose sign is predicted is measured"""
    train_bars: int = 8760
    """longest training window, bars (a year of 1h)"""
    min_train_samples: int = 1000
    """fewest labelled bars that a training accepts"""
    retrain_days: int = 28
    """distance of the training instants in days; the grid is anchored at Monday 1970-01-05 00:00 UTC"""
    expiry_days: int = 56
    """age in days at which a model falls silent"""
    dead_band: float = 0.25
    """labels whose return is smaller, in standard deviations of the horizon, say nothing and are left out"""
    regularisation: float = 0.1
    """C of the logistic regression: smaller is more cautious"""
    full_edge: float = 0.25
    """2·P(up) - 1 that counts as full confidence"""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("horizon_bars", 1, 500),
            ("train_bars", 200, 200_000),
            ("min_train_samples", 100, 200_000),
            ("retrain_days", 1, 365),
            ("expiry_days", 1, 730),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise ConfigError(f"ml.{name} is {value}; expected {low} to {high}")
        for name, high_value in (("dead_band", 3.0), ("regularisation", 1000.0), ("full_edge", 1.0)):
            value = getattr(self, name)
            if not 0 <= value <= high_value or (name != "dead_band" and value == 0):
                raise ConfigError(f"ml.{name} is {value}; expected more than 0 and at most {high_value:g}")
        if self.expiry_days < self.retrain_days:
            raise ConfigError(
                f"ml.expiry_days {self.expiry_days} is shorter than ml.retrain_days {self.retrain_days}: "
                "every model would fall silent before the next one"
            )


DEFAULT_ML = MlParams()
