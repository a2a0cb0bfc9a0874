"""Settings of the regime room: features, fit, refit calendar, filter, transition and drift.

Defaults follow `quant.md`, "Regimes". Every field is validated on construction; a model keeps an echo of the fields that
shaped it, and `version` names them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from shared.domain.errors import ConfigError
from shared.domain.ids import content_id

_FIT_FIELDS = (
    "train_bars",
    "min_train_bars",
    "refit_days",
    "search_days",
    "restarts",
    "max_iterations",
    "tolerance",
    "min_covariance",
    "feature_clip",
    "min_state_share",
    "min_self_transition",
)
_JUMP_FIELDS = (
    "train_bars",
    "min_train_bars",
    "refit_days",
    "search_days",
    "restarts",
    "max_iterations",
    "feature_clip",
    "min_state_share",
    "min_self_transition",
    "jump_penalty",
)


@dataclass(frozen=True, slots=True)
class RegimeParams:
    """How regimes are learnt and followed."""

    train_bars: int = 4320
    """longest training window, bars (180 days of 1h)"""
    min_train_bars: int = 500
    """fewest complete feature rows that a fit accepts"""
    refit_days: int = 7
    """distance of the refit instants in days; the grid is anchored at Monday 1970-01-05 00:00 UTC"""
    search_days: int = 7
    """distance in days at which a fit looks from all starting points; between, it goes on from the previous model"""
    restarts: int = 6
    """fixed starting points of the fit, 1 to 8"""
    max_iterations: int = 100
    """longest run of expectation-maximisation from one starting point"""
    tolerance: float = 0.05
    """log-likelihood gain (nats, whole window) below which a run has converged"""
    min_covariance: float = 1e-3
    """floor of a state's variance in standardised units (1 = variance of the training window)"""
    feature_clip: float = 5.0
    """standardised features are clipped to ± this many standard deviations"""
    min_state_share: float = 0.05
    """smallest share of the training bars that a state may hold"""
    min_self_transition: float = 0.8
    """smallest probability of staying in a state from one bar to the next"""
    jump_penalty: float = 2.0
    """λ of the jump model: cost of a change of state, in squared standard deviations / 2"""
    burn_in_bars: int = 500
    """bars before a model's first bar from which its filter is started"""
    ema_alpha: float = 0.3
    """weight of the newest filtered probabilities in their moving average"""
    enter_threshold: float = 0.6
    """a regime is entered when its averaged probability exceeds this"""
    exit_threshold: float = 0.35
    """and the held one has fallen below this (hysteresis)"""
    min_observations: int = 3
    """closed bars before the first transition"""
    drift_window: int = 100
    """bars of the trailing mean that drift is measured from"""
    cusum_slack: float = 0.1
    """drift per bar that the CUSUM tolerates, in probability"""
    cusum_limit: float = 2.0
    """CUSUM level that counts as a drift, in probability × bars"""
    stress_probability: float = 0.6
    """P(stress) above which a closed bar counts as stress"""
    stress_warning_bars: int = 3
    """consecutive stress bars for a warning"""
    stress_critical_bars: int = 6
    """consecutive stress bars for a critical alert"""

    def __post_init__(self) -> None:
        for name in ("refit_days", "search_days", "max_iterations", "min_observations", "drift_window", "stress_warning_bars"):
            self._require(getattr(self, name) >= 1, name, "at least 1")
        for name in ("tolerance", "min_covariance", "feature_clip", "cusum_limit"):
            self._require(0 < getattr(self, name) < float("inf"), name, "positive")
        self._require(0 <= self.jump_penalty < float("inf"), "jump_penalty", "finite and not negative")
        for name in ("min_state_share", "min_self_transition", "cusum_slack"):
            self._require(0 <= getattr(self, name) < 1, name, "in [0, 1)")
        for name in ("enter_threshold", "exit_threshold", "stress_probability"):
            self._require(0 < getattr(self, name) < 1, name, "in (0, 1)")
        self._require(self.min_train_bars >= 500, "min_train_bars", "at least 500: fewer do not identify three states")
        self._require(self.train_bars >= self.min_train_bars, "train_bars", f"at least min_train_bars {self.min_train_bars}")
        self._require(1 <= self.restarts <= 8, "restarts", "from 1 to 8")
        self._require(self.burn_in_bars >= 0, "burn_in_bars", "at least 0")
        self._require(0 < self.ema_alpha <= 1, "ema_alpha", "in (0, 1]")
        self._require(self.enter_threshold >= 0.5, "enter_threshold", "at least 0.5: two regimes must not qualify at once")
        self._require(self.exit_threshold <= self.enter_threshold, "exit_threshold", "at most enter_threshold")
        self._require(self.min_state_share < 1 / 3, "min_state_share", "below 1/3: there are three states")
        self._require(self.stress_critical_bars > self.stress_warning_bars, "stress_critical_bars", "above stress_warning_bars")

    def _require(self, holds: bool, name: str, expected: str) -> None:
        if not holds:
            raise ConfigError(f"regime.{name} must be {expected}, found {getattr(self, name)}")

    @property
    def fit_settings(self) -> dict[str, float]:
        """The fields that shape a fitted model, by name."""
        return {name: getattr(self, name) for name in _FIT_FIELDS}

    @property
    def jump_settings(self) -> dict[str, float]:
        """The fields that shape a fitted jump model, by name."""
        return {name: getattr(self, name) for name in _JUMP_FIELDS}

    @property
    def fit_version(self) -> str:
        """Content id of `fit_settings`: models of different versions are not mixed."""
        return content_id("rf", self.fit_settings)

    @property
    def version(self) -> str:
        """Content id of all fields."""
        return content_id("r", dataclasses.asdict(self))
