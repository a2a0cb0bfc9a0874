"""No position without its stop, whatever fails beside it: lost answers, refusals, cancelled stops, a failing side question."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from cloudrun.simulation.acts import cancel_stops
from cloudrun.simulation.analyst import Habits
from cloudrun.simulation.faults import Breakdown, Effect, FaultPlan, Part, Rule, Window
from cloudrun.simulation.scenarios.base import Make, Scenario, at_pace, calm_world, quickly
from cloudrun.simulation.scenarios.checks import ORDER, STOP, bare, halts, idle, is_flat, opened, struck, undecided, untold
from cloudrun.simulation.scenarios.orders import UNKNOWN, hitting
from cloudrun.simulation.spec import BOOK, Mode, WorldSpec
from cloudrun.simulation.world import World
from shared.domain.interval import Interval
from shared.domain.records import Halt, HaltKind
from shared.trading.trader_params import TraderParams

RESTARTED_S = 75.0
"""where nobody hears of the end of a stop: until the next look, request, or process after the lease has run out"""
ANSWERED_AGAIN_S = 60.0
"""to be flat after the venue takes orders again: the first exit has to be too late, and pauses double"""
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


def _holding(seed: int, rng: np.random.Generator, plan: FaultPlan) -> WorldSpec:
    """One position that is held for good: no later order brings another stop."""
    habits = Habits(flat=0.0, hold_bars=10**6, always=0.8, size=0.3)
    return at_pace(replace(calm_world(seed, rng, plan), symbols=("BTCUSDT",), habits=habits))


def _gone_unheard(seed: int, rng: np.random.Generator) -> WorldSpec:
    """Nobody hears of the end of a stop; what could tell of it is forgotten at the venue, or not answered for long."""
    silent = ("GET /fapi/v1/algoOrder", "GET /fapi/v3/account", "GET /fapi/v1/openOrders", "")[seed % 4]
    effect = (Effect.GATEWAY, Effect.LOST)[int(rng.integers(2))]
    breakdowns = (Breakdown(silent, effect, 115.0, 480.0),) if silent else ()
    mode = (Mode.SCHEDULE, Mode.STREAM)[int(rng.integers(2))]
    deaf = (Window(Part.USER_STREAM, 135.0, 180.0),) if mode is Mode.STREAM and rng.random() < 0.5 else ()
    spec = _holding(seed, rng, FaultPlan(breakdowns=breakdowns, windows=deaf))
    return replace(spec, bars=8, trader=TraderParams(), mode=mode)


async def _ends_unheard(world: World) -> None:
    rng = np.random.default_rng([world.spec.seed, 33])
    await asyncio.sleep(float(rng.uniform(140.0, 170.0)))  # no request is served then
    if world.spec.mode is Mode.STREAM and not world.spec.plan.windows:
        for process in world.processes:
            if process.alive:
                process.kill()
    account = world.venue.desk.engine.core.account
    stops = list(account.open_algos.values())
    cancel_stops(world)
    if world.spec.seed % 2:  # as the venue forgets what was cancelled unfilled and is some days old
        for stop in stops:
            del account.algos[stop.id], account.algo_by_client[stop.client_id]


def _missed(world: World) -> Iterator[str]:
    yield from struck(world)
    yield from bare(world, RESTARTED_S)
    if is_flat(world):
        yield "the position was closed instead"


def _unanswered_exit(seed: int, rng: np.random.Generator) -> WorldSpec:
    """The next bar is far away; for ten minutes no single order can be looked up."""
    plan = FaultPlan(breakdowns=(Breakdown("GET /fapi/v1/order", Effect.GATEWAY, 999.0, 1600.0),))
    spec = replace(_holding(seed, rng, plan), interval=Interval.M15, bars=2, quiet_bars=3, trader=TraderParams())
    return replace(spec, mode=Mode.SCHEDULE if rng.random() < 0.3 else Mode.STREAM)


async def _exit_is_cut(world: World) -> None:
    """It has to be closed, by a person's halt or for want of a stop, and the first exit is lost with its answer."""
    await asyncio.sleep(1000.0)
    undo = [world.faults.fail(ORDER, Effect.CUT_BEFORE)]
    if world.spec.seed % 2:
        now_ms = world.clock.now_ms()
        world.ledger.set_halt(Halt(BOOK, "a person asked for it", now_ms, None, kind=HaltKind.MANUAL))
    else:
        undo.append(world.faults.fail(STOP, Effect.MARGIN))
        cancel_stops(world)
    await quickly(lambda: any(sent.at_s > 1000.0 and sent.name == ORDER for sent in world.network.asked), 120.0)
    await asyncio.sleep(1.0)
    undo[0]()
    if not await quickly(lambda: is_flat(world), ANSWERED_AGAIN_S):
        world.story.violate(f"{ANSWERED_AGAIN_S:.0f} s after an exit was lost no other one was sent")


def _stop_meets(*effects: Effect, times: int = 1) -> Make:
    make = hitting(STOP, *effects, times=times)
    return lambda seed, rng: at_pace(make(seed, rng))


SCENARIOS = (
    Scenario(
        "stop-gone-unheard",
        "A stop ends while nobody lives or its one message is lost; it is forgotten, or a question is not answered",
        "whatever is answered tells: the stop is replaced by the next process or request; the position is kept",
        _gone_unheard,
        _missed,
        (_ends_unheard,),
    ),
    Scenario(
        "exit-unanswered",
        "The answer to an exit is lost and no order can be looked up for long",
        "once the first can be taken no more, another exit is sent for what is left: reduce-only, it can turn nothing",
        _unanswered_exit,
        struck,
        (_exit_is_cut,),
    ),
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
