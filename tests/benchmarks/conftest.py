"""Benchmarks compare with a named peer in the same run, print ratios, and fail where a ratio has fallen by half.

`make bench` measures; `make test` runs each once, unmeasured. A bound is some 0.55 to 0.65 of the documented ratio:
never a time, because the machine's speed is not ours; above a half, so that work that takes twice as long fails.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture


@pytest.fixture
def median_s(benchmark: BenchmarkFixture) -> Callable[[], float]:
    """Median of the measured rounds in seconds; NaN where benchmarks are disabled and each ran only once, unmeasured."""
    return lambda: benchmark.stats.stats.median if benchmark.stats else float("nan")


@pytest.fixture
def at_least(benchmark: BenchmarkFixture) -> Callable[[float, float], None]:
    """`at_least(peer_s, times)`: fails where our best round is less than `times` as fast as the peer's best one.

    Best against best: what else the machine does only ever adds time.
    """

    def check(peer_s: float, times: float) -> None:
        if benchmark.stats:
            ratio = peer_s / benchmark.stats.stats.min
            assert ratio >= times, f"{ratio:.1f} times as fast as the peer in this run; at least {times:g} expected"

    return check
