"""Drawdown and emergency, events, and the real models in the place of the script."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from cloudrun.simulation.analyst import Habits
from cloudrun.simulation.chances import random_plan
from cloudrun.simulation.faults import Effect, FaultPlan, Rates, Rule
from cloudrun.simulation.market import MarketShape
from cloudrun.simulation.scenarios.base import CALM, Scenario, at_pace, calm_world
from cloudrun.simulation.scenarios.checks import ACCOUNT, halts, is_flat, opened, unbooked, untold
from cloudrun.simulation.spec import BOOK, WorldSpec
from cloudrun.simulation.world import World
from shared.domain.interval import Interval
from shared.domain.records import Halt, HaltKind
from shared.risk.params import RiskParams

BY_HAND_S = 30.0


def _losing(seed: int, rng: np.random.Generator) -> WorldSpec:
    """Held long while the market falls: beyond the maximum drawdown in a few bars."""
    shape = MarketShape(sigma=0.001, jump_rate=0.0, gap_rate=0.0, frozen_rate=0.0, trend=-0.02)
    risk = RiskParams(pause_drawdowns=(0.01199,), pause_hours=(1.0,), max_drawdown=0.012)
    return replace(calm_world(seed, rng), shape=shape, habits=Habits(always=1.0, size=0.8), risk=risk, bars=8)


def _losing_on_a_bad_day(seed: int, rng: np.random.Generator) -> WorldSpec:
    effects = (
        (Effect.UNKNOWN, 0.08),
        (Effect.NO_ANSWER, 0.04),
        (Effect.CUT, 0.08),
        (Effect.GATEWAY, 0.08),
        (Effect.REFUSED, 0.08),
    )
    spec = _losing(seed, rng)
    plan = FaultPlan(Rates(effects, kill=0.001), until_s=spec.faults_end_s)
    execution = replace(spec.execution, unprotected_pause_s=0.0)  # an exit for want of a stop is not the end of the losses
    return replace(spec, plan=plan, bars=12, shape=replace(spec.shape, trend=-0.03), execution=execution)


async def _restart_after_latch(world: World) -> None:
    """As soon as the book is latched its process is killed, at some step of the emergency or after it, and another starts."""
    if not await world.until(lambda: any(halts(world, HaltKind.DRAWDOWN)), 500.0):
        return
    await asyncio.sleep(float(np.random.default_rng([world.spec.seed, 27]).choice([0.0, 0.1, 1.0, 30.0])))
    for process in [process for process in world.processes if process.alive]:
        world.story.tell(f"{process.name}: killed after the latch")
        process.kill()


def _flat_and_latched(world: World) -> Iterator[str]:
    yield from _closed(world, HaltKind.DRAWDOWN)
    yield from untold(world, "drawdown")


def _latched_for_good(world: World) -> Iterator[str]:
    yield from _flat_and_latched(world)
    if len(world.processes) < 2:
        yield "no other process has come after the latch"


def _closed(world: World, kind: HaltKind) -> Iterator[str]:
    """The halt stands, the book is flat, nothing of it rests, the emergency is recorded, and nothing was opened since."""
    standing = halts(world, kind)
    if not standing:
        yield f"no {kind} halt is in force"
        return
    if not is_flat(world):
        yield "positions are left after the emergency"
    if world.venue.desk.engine.core.account.open_algos:
        yield "stops are left after the emergency"
    if not any(record.finished_ms for record in world.ledger.emergencies(BOOK)):
        yield "the emergency is not recorded as finished"
    began_ms = [record.started_ms for record in world.ledger.emergencies(BOOK)] or [halt.since_ms for halt in standing]
    since_s = (min(began_ms) - world.spec.start_ms) / 1000
    late = opened(world, since_s + world.spec.trader.tick_s)
    if late:
        yield f"{late[0].client_id} was sent after the halt"
    yield from unbooked(world)


async def _by_hand(world: World) -> None:
    """A person asks for the emergency protocol; in every other seed the venue does not tell of the account meanwhile."""
    await asyncio.sleep(float(np.random.default_rng([world.spec.seed, 24]).uniform(62.0, 200.0)))
    asked_s = world.loop.time()
    world.story.tell("a person asks for the emergency")
    world.ledger.set_halt(Halt(BOOK, "a person asked for it", world.clock.now_ms(), None, kind=HaltKind.MANUAL))
    mend = world.faults.fail(ACCOUNT, Effect.GATEWAY) if world.spec.seed % 2 else None
    if not await world.until(lambda: is_flat(world), BY_HAND_S):
        world.story.violate(f"positions are left {BY_HAND_S:.0f} s after an emergency by hand")
    world.story.tell(f"flat after {world.loop.time() - asked_s:.1f} s")
    if mend is not None:
        await asyncio.sleep(10.0)
        mend()


def _manual(world: World) -> Iterator[str]:
    yield from _closed(world, HaltKind.MANUAL)


def _failing(seed: int, rng: np.random.Generator) -> WorldSpec:
    """Everything is refused, again and again, while the venue is there."""
    rules = (Rule("GET /fapi/v3/account", Effect.FILTER, skip=4, times=60),)
    return replace(calm_world(seed, rng, FaultPlan(rules=rules)), bars=8)


def _given_up(world: World) -> Iterator[str]:
    yield from _closed(world, HaltKind.OPERATIONAL)


async def _lose_events(world: World) -> None:
    """The bus is away for a while."""
    await asyncio.sleep(float(np.random.default_rng([world.spec.seed, 26]).uniform(10.0, 100.0)))
    world.bus.down = True
    await asyncio.sleep(150.0)
    world.bus.down = False


def _events_published(world: World) -> Iterator[str]:
    left = world.ledger.unpublished_events()
    if left:
        yield f"{len(left)} events were not published"
    told = {str(e.data["trade_id"]) for e in world.bus.published if e.kind.value == "trade.executed"}
    missing = [fill.trade_id for fill in world.ledger.fills(BOOK) if fill.trade_id not in told]
    if missing:
        yield f"executions {missing} were never published"
    by_id: dict[str, object] = {}
    for event in world.bus.published:
        if by_id.setdefault(event.id, event) != event:
            yield f"two events have the id {event.id}"


def _real_models(seed: int, rng: np.random.Generator) -> WorldSpec:
    """Hourly bars, fitted models, the real alphas and agents; faults of every kind."""
    spec = WorldSpec(seed, interval=Interval.H1, real_analyst=True, bars=5, tick_s=30.0, shape=replace(CALM, sigma=0.004))
    trader = replace(spec.trader, tick_s=20.0, heartbeat_s=120.0, silence_s=90.0, quote_fresh_s=70.0, reconcile_s=900.0)
    return replace(spec, trader=trader, plan=random_plan(rng, spec.faults_end_s))


def _decided_by_models(world: World) -> Iterator[str]:
    decisions = world.ledger.decisions(BOOK)
    if not any(decision.regime_model_id.startswith("m-") and decision.votes for decision in decisions):
        yield "no decision came from a fitted model"


SCENARIOS = (
    Scenario(
        "max-drawdown",
        "Maximum drawdown",
        "on equity with open loss: emergency, latched, a person told; killed and restarted after it, nothing opens",
        _losing,
        _latched_for_good,
        (_restart_after_latch,),
    ),
    Scenario(
        "emergency-while-failing",
        "Emergency while the venue errors and the process is killed",
        "idempotent; loops until flat; only then the stops are cancelled; recorded as finished; nothing opens after it",
        _losing_on_a_bad_day,
        _flat_and_latched,
    ),
    Scenario(
        "emergency-by-hand",
        "A person asks for the emergency protocol",
        "flat within 30 s, also without the account's answer, then the stops are cancelled; halted until a person resumes",
        lambda s, r: at_pace(calm_world(s, r)),
        _manual,
        (_by_hand,),
    ),
    Scenario(
        "operational-failure",
        "The venue refuses everything again and again",
        "after a number of failures: emergency protocol, flat, halted until a person resumes: nothing opens",
        _failing,
        _given_up,
    ),
    Scenario(
        "bus-down",
        "Events are published late, again, or in another process",
        "outbox in the effect's transaction: every event at least once, under its own id",
        lambda s, r: calm_world(s, r),
        _events_published,
        (_lose_events,),
    ),
    Scenario(
        "real-models",
        "Everything at once, by chance, with the real models in the place of the script",
        "decisions come from fitted models, and the same invariants hold",
        _real_models,
        _decided_by_models,
    ),
)
