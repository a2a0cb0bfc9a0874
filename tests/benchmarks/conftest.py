"""Benchmarks compare with a named peer in the same run and print ratios. `make bench` measures; `make test` runs each once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture


@pytest.fixture
def median_s(benchmark: BenchmarkFixture) -> Callable[[], float]:
    """Median of the measured rounds in seconds; NaN where benchmarks are disabled and each ran only once, unmeasured."""
    return lambda: benchmark.stats.stats.median if benchmark.stats else float("nan")
