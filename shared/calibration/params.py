"""Settings of walk-forward campaigns: how long the windows are, what separates them, and what is kept for the last word.

Days are UTC calendar days. The purge between training and test is not a setting: it follows from how far a decision looks back
(`folds.purge_days`).
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.errors import ConfigError


@dataclass(frozen=True, slots=True)
class CampaignParams:
    """How a campaign divides the data and its work."""

    train_days: int = 365
    """days of each training window"""
    test_days: int = 60
    """days of each test window; the next fold begins so much later"""
    label_days: int = 1
    """days that one observation takes: daily returns"""
    embargo_days: int = 2
    """days between training and test on top of the purge, for what is correlated beyond it"""
    confirm_share: float = 0.2
    """last part of the days that chooses nothing: winner and champion meet on it once"""
    min_folds: int = 3
    """fewest folds that a selection may rest on"""
    min_confirm_days: int = 60
    """fewest days of the confirmation"""
    min_active_share: float = 0.1
    """least share of days with a return for a variant to be chosen: the Sharpe ratio of a handful of trades says nothing"""
    variants_per_task: int = 4
    """variants in one task: what a kill can lose, at most, in each worker"""
    max_variants: int = 5000
    """most variants in one campaign; each of them makes promotion harder"""
    search_startup: int = 10
    """random trials of a search before it learns from them"""
    seed: int = 7
    """of the search and of every resampling test"""

    def __post_init__(self) -> None:
        least = {"train_days": 30, "test_days": 5, "label_days": 1, "embargo_days": 0, "min_folds": 1, "min_confirm_days": 5}
        least |= {"variants_per_task": 1, "max_variants": 1, "search_startup": 1, "seed": 0}
        for name, smallest in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
                raise ConfigError(f"campaign.{name} is {value}; expected a whole number, at least {smallest}")
        if not 0 < self.confirm_share < 0.9:
            raise ConfigError(f"campaign.confirm_share is {self.confirm_share}; expected a share in (0, 0.9)")
        if not 0 <= self.min_active_share < 1:
            raise ConfigError(f"campaign.min_active_share is {self.min_active_share}; expected a share in [0, 1)")
