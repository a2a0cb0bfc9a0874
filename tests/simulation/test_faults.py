"""Faults: where they strike, how often, and that a seed repeats them."""

from __future__ import annotations

import numpy as np

from cloudrun.simulation.chances import random_plan
from cloudrun.simulation.faults import Breakdown, Effect, FaultPlan, Faults, Part, Rates, Rule, Window


def faults_of(plan: FaultPlan, seed: int = 1) -> Faults:
    return Faults(plan, np.random.default_rng(seed))


def test_a_rule_strikes_the_requests_that_were_asked_for():
    faults = faults_of(FaultPlan(rules=(Rule("POST /order", Effect.CUT, skip=1, times=2),)))
    effects = [
        faults.of_request(name, 0.0) for name in ("POST /order", "GET /order", "POST /order", "POST /order", "POST /order")
    ]
    assert effects == [Effect.NONE, Effect.NONE, Effect.CUT, Effect.CUT, Effect.NONE]
    assert faults.struck == 2


def test_a_window_takes_a_part_away_for_its_time_only():
    faults = faults_of(FaultPlan(windows=(Window(Part.VENUE, 10.0, 20.0),)))
    assert [faults.of_request("GET /x", at_s) for at_s in (9.9, 10.0, 19.9, 20.0)] == [
        Effect.NONE,
        Effect.MAINTENANCE,
        Effect.MAINTENANCE,
        Effect.NONE,
    ]


def test_nothing_happens_by_chance_in_the_quiet_time():
    faults = faults_of(FaultPlan(Rates(((Effect.CUT, 1.0),), kill=1.0), until_s=5.0))
    assert faults.of_request("GET /x", 4.9) is Effect.CUT
    assert faults.of_request("GET /x", 5.0) is Effect.NONE
    assert not faults.happens(1.0, 5.0)


def test_rates_are_kept():
    faults = faults_of(FaultPlan(Rates(((Effect.CUT, 0.1), (Effect.SLOW, 0.2))), until_s=1.0))
    effects = [faults.of_request("GET /x", 0.0) for _ in range(5_000)]
    assert abs(effects.count(Effect.CUT) / 5_000 - 0.1) < 0.02
    assert abs(effects.count(Effect.SLOW) / 5_000 - 0.2) < 0.02


def test_the_same_seed_fails_in_the_same_way():
    plan = random_plan(np.random.default_rng(5), 300.0)
    assert plan == random_plan(np.random.default_rng(5), 300.0)
    first, second = faults_of(plan), faults_of(plan)
    assert [first.of_request("GET /x", 1.0) for _ in range(300)] == [second.of_request("GET /x", 1.0) for _ in range(300)]


def test_plans_end_with_the_time_of_faults():
    for seed in range(200):
        plan = random_plan(np.random.default_rng(seed), 300.0)
        assert all(window.end_s <= 300.0 for window in plan.windows)
        assert all(at_s <= 300.0 for at_s, _ in plan.jumps)


def test_an_endpoint_breaks_down_for_its_time_and_no_other_one_with_it():
    faults = faults_of(FaultPlan(breakdowns=(Breakdown("GET /fapi/v1/order", Effect.UNREADABLE, 10.0, 20.0),)))
    asked = (
        ("GET /fapi/v1/order", 9.9),
        ("GET /fapi/v1/order", 10.0),
        ("GET /fapi/v1/orders", 10.0),
        ("GET /fapi/v1/order", 20.0),
    )
    assert [faults.of_request(*each) for each in asked] == [Effect.NONE, Effect.UNREADABLE, Effect.NONE, Effect.NONE]


def test_plans_draw_endpoints_that_fail_for_good_and_answers_that_cannot_be_read():
    plans = [random_plan(np.random.default_rng(seed), 300.0) for seed in range(200)]
    broken = [plan.breakdowns[0] for plan in plans if plan.breakdowns]
    assert len({each.request for each in broken}) > 5
    assert {each.effect for each in broken} == {Effect.GATEWAY, Effect.LOST, Effect.UNREADABLE}
    assert all(each.end_s == 300.0 for each in broken)
    assert any(effect is Effect.UNREADABLE for plan in plans for effect, _ in plan.rates.requests)
