"""How strict promotion is: levels, resamples, block lengths and least amounts of data of the statistical record.

Defaults follow `quant.md`, "The best of many". Sharpe ratios are annual here and only here (365 days a year): people set these
numbers, the code computes per day.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from shared.domain.errors import ConfigError


@dataclass(frozen=True, slots=True)
class SignificanceParams:
    """What a winner must show before it may replace the champion."""

    alpha: float = 0.05
    """level of every test: the largest accepted probability of promoting one that is not better"""
    look_ratio: float = 0.2
    """what each further look at the same days of confirmation is given of the level of the look before; the first one has
    alpha (1 - look_ratio), so that the levels of any number of looks add up to alpha at most"""
    minimum_effect: float = 0.1
    """improvement of the annual Sharpe ratio that a change must exceed to be worth its trouble"""
    deflated_sharpe: float = 0.95
    """least Deflated Sharpe Ratio of the winner, with all trials ever made on the asset"""
    resamples: int = 10_000
    """bootstrap resamples of the Sharpe difference"""
    set_resamples: int = 4_000
    """bootstrap resamples of the whole candidate set (SPA, StepM)"""
    block_days: int | None = 10
    """length of the bootstrap blocks of the Sharpe difference in days; `None`: calibrated (Ledoit and Wolf, algorithm 3.1)"""
    set_block_days: int | None = 5
    """mean length of the bootstrap blocks of the candidate set in days; `None`: the square root of the number of days, which
    rejects too often where there are many candidates (`docs/significance.md`)"""
    pbo_slices: int = 16
    """slices of time of the Probability of Backtest Overfitting, even"""
    minimum_days: int = 365
    """fewest out-of-sample days that choose the winner"""
    minimum_confirm_days: int = 180
    """fewest days that confirm the winner: days that chose nothing"""

    def __post_init__(self) -> None:
        _between("alpha", self.alpha, 0.0, 0.5)
        _between("look_ratio", self.look_ratio, 0.0, 1.0)
        _between("deflated_sharpe", self.deflated_sharpe, 0.5, 1.0)
        if not math.isfinite(self.minimum_effect) or self.minimum_effect < 0:
            raise ConfigError(f"significance.minimum_effect is {self.minimum_effect}; expected an annual Sharpe ratio >= 0")
        for name in ("resamples", "set_resamples"):
            _at_least(name, getattr(self, name), 100)
        for name in ("block_days", "set_block_days"):
            if getattr(self, name) is not None:
                _at_least(name, getattr(self, name), 1)
        if not 2 <= self.pbo_slices <= 20 or self.pbo_slices % 2:
            raise ConfigError(f"significance.pbo_slices is {self.pbo_slices}; expected an even number from 2 to 20")
        _at_least("minimum_days", self.minimum_days, 30)
        _at_least("minimum_confirm_days", self.minimum_confirm_days, 30)

    def look_level(self, earlier_looks: int) -> float:
        """Level of a test on days that were looked at `earlier_looks` times before: alpha (1 - q) q^k, whose sum is alpha.

        Alpha spending in the manner of Lan and DeMets (1983): who tests the same days again spends what is left. By the union
        bound the chance of any false finding stays at alpha, whatever the looks have in common and however many there are.
        """
        return self.alpha * (1 - self.look_ratio) * self.look_ratio**earlier_looks


def _between(name: str, value: float, low: float, high: float) -> None:
    if not low < value < high:
        raise ConfigError(f"significance.{name} is {value}; expected a number between {low} and {high}")


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"significance.{name} is {value}; expected at least {least}")
