"""Limits cut targets and never forbid an exit."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.records import Halt
from shared.risk.limits import LimitContext, limit_target, without_new_risk
from shared.risk.params import RiskParams

PARAMS = RiskParams(max_asset_exposure=1.0, max_total_exposure=2.0)
FREE = LimitContext("BTCUSDT", 0.0, 0.0, (), 0, 900_000, True)
LATCH = Halt("b", "max drawdown", 0, None)

fractions = st.floats(-3, 3)


def failed(wanted: float, context: LimitContext) -> list[str]:
    return [approval.rule for approval in limit_target(wanted, context, PARAMS)[1] if not approval.passed]


def test_a_target_within_every_limit_passes_and_each_rule_has_spoken() -> None:
    target, approvals = limit_target(0.7, FREE, PARAMS)
    assert target == 0.7
    assert [approval.rule for approval in approvals] == [
        "asset exposure",
        "total exposure",
        "value at risk",
        "stress loss",
        "no halt",
        "fresh",
        "symbol trades",
    ]
    assert all(approval.passed for approval in approvals)


@pytest.mark.parametrize(
    ("wanted", "others", "expected", "rule"),
    [(1.5, 0.0, 1.0, "asset exposure"), (-1.5, 0.0, -1.0, "asset exposure"), (0.7, 1.5, 0.5, "total exposure"),
     (0.7, 2.5, 0.0, "total exposure")],
)  # fmt: skip
def test_exposure_is_capped(wanted: float, others: float, expected: float, rule: str) -> None:
    context = replace(FREE, others_gross=others)
    assert limit_target(wanted, context, PARAMS)[0] == pytest.approx(expected)
    assert failed(wanted, context) == [rule]


@pytest.mark.parametrize(
    ("change", "rule"),
    [({"halts": (LATCH,)}, "no halt"), ({"age_ms": 900_001}, "fresh"), ({"symbol_trading": False}, "symbol trades")],
)
def test_a_closed_gate_lets_only_reductions_through(change: dict[str, object], rule: str) -> None:
    held = replace(FREE, held=0.5, **change)
    assert [limit_target(wanted, held, PARAMS)[0] for wanted in (0.8, 0.5, 0.2, 0.0, -0.4)] == [0.5, 0.5, 0.2, 0.0, 0.0]
    assert failed(0.8, held) == [rule]
    assert limit_target(0.8, replace(FREE, **change), PARAMS)[0] == 0.0


def test_a_halt_of_another_symbol_does_not_matter() -> None:
    assert failed(0.5, replace(FREE, halts=(replace(LATCH, symbol="ETHUSDT"),))) == []
    assert failed(0.5, replace(FREE, halts=(replace(LATCH, symbol="BTCUSDT"),))) == ["no halt"]


def test_a_halt_says_until_when() -> None:
    context = replace(FREE, halts=(LATCH, Halt("b", "drawdown", 0, 1_751_328_000_000)))
    detail = limit_target(0.5, context, PARAMS)[1][4].detail
    assert detail == "max drawdown (until a person resumes); drawdown (until 2025-07-01 00:00)"


@given(
    wanted=fractions,
    held=fractions,
    others=st.floats(0, 3),
    net=fractions,
    cap=st.one_of(st.just(math.inf), st.floats(0, 3)),
    halted=st.booleans(),
    stale=st.booleans(),
    trading=st.booleans(),
)
def test_a_limit_never_turns_a_target_around_nor_enlarges_it(
    wanted: float, held: float, others: float, net: float, cap: float, halted: bool, stale: bool, trading: bool
) -> None:
    halts = (LATCH,) if halted else ()
    context = LimitContext("BTCUSDT", held, others, halts, 900_001 if stale else 0, 900_000, trading, net, cap)
    target = limit_target(wanted, context, PARAMS)[0]
    closed = halted or stale or not trading
    # Only a gate may keep what is held, and then never more than that.
    assert abs(target) <= (max(abs(wanted), abs(held)) if closed else abs(wanted))
    assert target * wanted >= 0 or (closed and target == held)
    if closed:
        assert abs(target) <= abs(held)
        assert target * held >= 0


@pytest.mark.parametrize(
    ("wanted", "net", "expected"),
    [(0.9, 0.0, 0.9), (0.9, 1.0, 2 / 3), (0.9, 2.0, 0.0), (0.9, -1.0, 0.9), (-0.9, -1.0, -2 / 3), (-0.9, 1.0, -0.9)],
)
def test_a_shock_of_all_prices_may_cost_so_much_of_the_equity(wanted: float, net: float, expected: float) -> None:
    # 30 % against the book may cost 50 %: at most 5/3 net
    context = replace(FREE, others_net=net)
    assert limit_target(wanted, context, PARAMS)[0] == pytest.approx(expected)
    assert failed(wanted, context) == ([] if expected == wanted else ["stress loss"])


def test_the_value_at_risk_caps_either_side() -> None:
    context = replace(FREE, var_cap=0.4)
    assert [limit_target(wanted, context, PARAMS)[0] for wanted in (0.9, 0.3, -0.9)] == [0.4, 0.3, -0.4]
    assert failed(0.9, context) == ["value at risk"]


@given(held=fractions, net=fractions, cap=st.floats(0, 3), part=st.floats(0, 1))
def test_a_cap_never_forbids_a_reduction(held: float, net: float, cap: float, part: float) -> None:
    context = replace(FREE, held=held, others_net=net, var_cap=cap)
    target = limit_target(held * part, context, PARAMS)[0]
    assert abs(target) <= abs(held * part)
    assert target * held >= 0


@given(wanted=fractions, held=fractions, halted=st.booleans())
def test_an_exit_is_always_allowed(wanted: float, held: float, halted: bool) -> None:
    context = LimitContext("BTCUSDT", held, 5.0, (LATCH,) if halted else (), 10**9, 900_000, False)
    assert limit_target(0.0, context, PARAMS)[0] == 0.0
    assert without_new_risk(0.0, held) == 0.0
