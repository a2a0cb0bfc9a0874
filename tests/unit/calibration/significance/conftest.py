"""Return series with known traits for the tests of significance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shared.domain.candles import FloatArray


@pytest.fixture(scope="session")
def funds() -> dict[str, FloatArray]:
    """Two pairs of funds, monthly excess returns in percent: the examples of Ledoit and Wolf (2008), section 6."""
    table = np.loadtxt(Path(__file__).with_name("ledoit_wolf_2008.csv"), delimiter=",", skiprows=3)
    return {"mutual": table[:, :2], "hedge": table[:, 2:]}


@pytest.fixture
def noise() -> Callable[..., FloatArray]:
    """`noise(seed, days, series, correlation=0)`: normal daily returns with mean 0 and standard deviation 0.02."""

    def make(seed: int, days: int, series: int, correlation: float = 0.0) -> FloatArray:
        rng = np.random.default_rng(seed)
        common = rng.standard_normal((days, 1)) * np.sqrt(correlation)
        return 0.02 * (common + np.sqrt(1 - correlation) * rng.standard_normal((days, series)))

    return make
