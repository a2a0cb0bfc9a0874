"""One source: what the kernel compiles gives, to the bit, what the bot gets from the plain function."""

from __future__ import annotations

import math
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.backtest import kernel, kernel_account, kernel_decisions, kernel_orders
from shared.backtest.costs import fee, market_impact_bps, slipped
from shared.backtest.kernel_grid import against_taker, steps_reaching, steps_within
from shared.risk.breakers import crossed_level
from shared.risk.kelly import shrunk_kelly, sizing_cap
from shared.risk.limits import room_left, within, without_new_risk
from shared.strategy.params import PolicyParams
from shared.strategy.policy import target_position

REPOSITORY = Path(__file__).resolve().parents[3]
ANY = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 1.0, -1.0]))
USUAL = st.floats(-3, 3)
SIZES = st.floats(0.0, 1e9)
MIXED = st.one_of(USUAL, ANY)
POLICIES = st.builds(
    PolicyParams,
    *[st.floats(0.01, 0.5), st.floats(0.0, 0.4), st.floats(0.1, 1.0), st.floats(0.05, 2.0), st.floats(0.01, 1.0)],
    *[
        st.floats(0.0, 5.0),
        st.floats(0.0, 0.2),
        st.floats(0.0, 0.5),
        st.floats(0.0, 5.0),
        st.floats(0.0, 0.1),
        st.floats(0.1, 0.9),
    ],
)


def bits(value: float) -> bytes:
    """The exact representation; every NaN is the same."""
    return b"nan" if math.isnan(value) else struct.pack("<d", value)


@settings(deadline=None)  # the first call may compile
@given(MIXED, MIXED, MIXED, MIXED, MIXED, MIXED, POLICIES)
def test_the_policy(
    score: float, held: float, volatility: float, atr: float, multiplier: float, cap: float, policy: PolicyParams
) -> None:
    inputs = (score, held, volatility, 8760.0, atr, multiplier, cap, policy)
    plain, fast = target_position(*inputs), kernel_decisions._target_position(*inputs)
    assert [bits(value) for value in plain] == [bits(value) for value in fast]


@settings(deadline=None)  # the first call may compile
@given(MIXED, MIXED)
def test_the_limits(limit: float, target: float) -> None:
    assert bits(within(limit, target)) == bits(kernel_decisions._within(limit, target))
    assert bits(room_left(limit, target)) == bits(kernel_decisions._room_left(limit, target))
    assert bits(without_new_risk(limit, target)) == bits(kernel_decisions._without_new_risk(limit, target))


@settings(deadline=None)  # the first call may compile
@given(st.integers(0, 10**6), USUAL, st.floats(0, 1), st.floats(0.01, 1), st.floats(0, 5000), st.floats(0, 5))
def test_kelly(count: int, mean: float, variance: float, fraction: float, prior: float, leverage: float) -> None:
    inputs = (count, mean, variance, fraction, prior, leverage)
    plain, fast = shrunk_kelly(*inputs), kernel_decisions._shrunk_kelly(*inputs)
    assert bits(plain) == bits(fast)
    limits = (500, 0.25, leverage)
    assert bits(sizing_cap(count, plain, *limits)) == bits(kernel_decisions._sizing_cap(count, plain, *limits))


@settings(deadline=None)  # the first call may compile
@given(st.floats(0, 1), st.floats(0, 1), st.lists(st.floats(0, 1), max_size=4).map(sorted))
def test_the_breakers(drawdown: float, before: float, levels: list[float]) -> None:
    assert crossed_level(drawdown, before, levels) == kernel._crossed_level(drawdown, before, np.array(levels))


@settings(deadline=None)  # the first call may compile
@given(SIZES, SIZES, st.floats(0, 100), st.floats(0, 1000), st.sampled_from([1, -1]))
def test_the_costs(notional: float, traded: float, impact: float, most: float, sign: int) -> None:
    assert bits(fee(notional, impact)) == bits(kernel_account._fee(notional, impact))
    assert bits(slipped(notional, sign, impact)) == bits(kernel_account._slipped(notional, sign, impact))
    inputs = (notional, traded, impact, most)
    assert bits(market_impact_bps(*inputs)) == bits(kernel_account._impact_bps(*inputs))


@settings(deadline=None)  # the first call may compile
@given(SIZES, st.sampled_from([(1.0, 1000.0), (1.0, 10.0), (5.0, 1.0)]), st.sampled_from([1, -1]))
def test_the_grid(value: float, step: tuple[float, float], sign: int) -> None:
    assert bits(steps_within(value, *step)) == bits(kernel_orders._steps_within(value, *step))
    assert bits(steps_reaching(value, *step)) == bits(kernel_orders._steps_reaching(value, *step))
    assert bits(against_taker(value, sign, *step)) == bits(kernel_account._against_taker(value, sign, *step))


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from engine_inputs import digest_of, random_run
print([digest_of(random_run(seed)) for seed in range(6)])
"""


BAR_BY_BAR = """
import sys
sys.path.insert(0, sys.argv[1])
from engine_inputs import digest_of, random_run
from shared.backtest import kernel
kernel.end_of_flat_bars = lambda market, signals, i, blocked: i
kernel.mark_held_bars = lambda *inputs: (inputs[6], inputs[9], inputs[12], inputs[13])
print([digest_of(random_run(seed)) for seed in range(6)])
"""


def printed(script: str, disabled: str) -> str:
    """What a script prints in a process with or without the compiler."""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": disabled, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-W", "ignore", "-c", script, str(Path(__file__).parent)]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=120).stdout


def test_a_whole_backtest_is_the_same_to_the_bit_without_the_compiler() -> None:
    assert printed(SCRIPT, "1") == printed(SCRIPT, "0")


def test_passing_over_quiet_bars_changes_no_bit() -> None:
    assert printed(BAR_BY_BAR, "1") == printed(SCRIPT, "0")
