"""No position without its stop, whatever fails beside it: lost answers, refusals, cancelled stops, a failing side question."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from cloudrun.simulation.faults import Effect, FaultPlan, Rule
from cloudrun.simulation.scenarios.base import Make, Scenario, at_pace, calm_world
from cloudrun.simulation.scenarios.checks import ORDER, STOP, bare, halts, idle, opened, struck, undecided, untold
from cloudrun.simulation.scenarios.orders import UNKNOWN, hitting
from cloudrun.simulation.spec import Mode, WorldSpec
from cloudrun.simulation.world import World
from shared.domain.interval import Interval

BETWEEN_REQUESTS_S = 60.0
"""where nobody runs between requests: the deadline, what refused connections cost, and a repeated request"""


def _protected(world: World) -> Iterator[str]:
    yield from struck(world)
    yield from bare(world)


def _closed(world: World) -> Iterator[str]:
    """Closed at the deadline, and a person is told; the symbol takes no new risk for a while."""
    yield from _protected(world)
    yield from untold(world, "no protective stop rests")
    if not any("no protective stop rests" in halt.reason for halt in halts(world)):
        yield "the symbol that had to be closed is not paused"


def _cancelled(seed: int, rng: np.random.Generator) -> WorldSpec:
    at_s = tuple(float(rng.uniform(65.0, 115.0)) + 60.0 * bar for bar in range(3))
    return at_pace(calm_world(seed, rng, FaultPlan(cancelled_stops=at_s)))


def _replaced(world: World) -> Iterator[str]:
    yield from _protected(world)
    yield from undecided(world)
    yield from idle(world, 120.0)


def _without_income(seed: int, rng: np.random.Generator) -> WorldSpec:
    """One question of the reconciliation fails from the second one on; a stop is cancelled, its replacement refused once."""
    rules = (
        Rule(STOP, Effect.MARGIN, skip=int(rng.integers(1, 4)), times=1),
        Rule("GET /fapi/v1/income", Effect.GATEWAY, skip=2, times=100_000),
    )
    plan = FaultPlan(rules=rules, cancelled_stops=(float(rng.uniform(80.0, 110.0)),))
    return replace(calm_world(seed, rng, plan), bars=8)


def _goes_on(world: World) -> Iterator[str]:
    yield from _replaced(world)
    if not opened(world, 240.0):
        yield "trading has stopped because funding cannot be asked for"


def _far_apart(seed: int, rng: np.random.Generator) -> WorldSpec:
    """One request for each bar; after an entry there is no connection for stop and exit, a dozen times."""
    times = int(rng.integers(6, 13))
    rules = (Rule(STOP, Effect.REFUSED, times=times), Rule(ORDER, Effect.REFUSED, skip=1, times=times))
    spec = replace(calm_world(seed, rng, FaultPlan(rules=rules)), symbols=("BTCUSDT",), mode=Mode.SCHEDULE)
    return replace(spec, interval=Interval.M15, tick_s=30.0, bars=2, quiet_bars=2)


def _never_left(world: World) -> Iterator[str]:
    yield from struck(world)
    yield from bare(world, BETWEEN_REQUESTS_S)


def _stop_meets(*effects: Effect, times: int = 1) -> Make:
    make = hitting(STOP, *effects, times=times)
    return lambda seed, rng: at_pace(make(seed, rng))


SCENARIOS = (
    Scenario(
        "stop-outcome-unknown",
        "The answer to a protective stop is lost",
        "looked up by client id; the position is protected within the deadline or closed",
        _stop_meets(*UNKNOWN),
        _protected,
    ),
    Scenario(
        "stop-refused",
        "A protective stop cannot be placed",
        "the leg is closed when the deadline is over, its symbol paused, a person told",
        _stop_meets(Effect.FILTER, times=1_000),
        _closed,
    ),
    Scenario(
        "stop-cancelled-by-venue",
        "The venue cancels a protective stop",
        "replaced within the deadline, or what it covered is closed; trading goes on",
        _cancelled,
        _replaced,
    ),
    Scenario(
        "income-down",
        "A side question fails for good (funding income)",
        "it fails by itself: stops are placed, bars decided, orders sent all the same",
        _without_income,
        _goes_on,
    ),
    Scenario(
        "requests-far-apart",
        "Schedule mode: stop and exit find no connection, and the next bar is far away",
        "a request does not end with a bare position: protected or closed within 60 s",
        _far_apart,
        _never_left,
    ),
)
