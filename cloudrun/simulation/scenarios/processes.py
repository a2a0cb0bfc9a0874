"""Failures of the process and of what it stands on: kills, two instances, termination, the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from cloudrun.simulation.faults import FaultPlan, Part, Rates, Rule, Window
from cloudrun.simulation.scenarios.base import Make, Scenario, calm_world, struck
from cloudrun.simulation.spec import BOOK, Mode, WorldSpec
from cloudrun.simulation.world import World
from shared.domain.orders import OrderKind


def killed_at(*port_calls: str) -> Make:
    """The process dies at one of these port calls, at one of the first times."""

    def make(seed: int, rng: np.random.Generator) -> WorldSpec:
        where = port_calls[int(rng.integers(len(port_calls)))]
        rule = Rule(where, skip=int(rng.integers(0, 4)))
        spec = calm_world(seed, rng, FaultPlan(kills=(rule,)))
        return replace(spec, bars=6, mode=(Mode.STREAM, Mode.SCHEDULE, Mode.LOOP)[int(rng.choice(3, p=[0.7, 0.2, 0.1]))])

    return make


def _again_and_again(seed: int, rng: np.random.Generator) -> WorldSpec:
    plan = FaultPlan(Rates(kill=0.01), until_s=300.0)
    return calm_world(seed, rng, plan)


def _killed(world: World) -> Iterator[str]:
    yield from struck(world)
    if len(world.processes) < 2:
        yield "no process was killed and replaced"


async def _freeze(world: World) -> None:
    """SIGSTOP at an instant around a bar close, for longer than the lease lives."""
    rng = np.random.default_rng([world.spec.seed, 7])
    await asyncio.sleep(float(rng.uniform(59.8, 61.5)) + 60.0 * int(rng.integers(0, 2)))
    process = next((process for process in world.processes if process.alive), None)
    if process is not None:
        world.stop(process, float(rng.uniform(20.0, 90.0)), replaced_after_s=float(rng.uniform(1.0, 20.0)))


def _two(seed: int, rng: np.random.Generator) -> WorldSpec:
    return replace(calm_world(seed, rng), standby=bool(rng.random() < 0.5))


def _taken_over(world: World) -> Iterator[str]:
    if len(world.processes) < 2:
        yield "there was no second instance"


async def _kill_leader(world: World) -> None:
    """The leader dies; a standby waits."""
    rng = np.random.default_rng([world.spec.seed, 8])
    await asyncio.sleep(float(rng.uniform(50.0, 200.0)))
    leader = next((process for process in world.processes if process.alive and process.name == world.watch.holder), None)
    if leader is None:
        return
    at_s = world.loop.time()
    leader.kill()
    await world.until(lambda: world.watch.holder not in ("", leader.name), 60.0)
    took_s = world.loop.time() - at_s
    world.story.tell(f"{world.watch.holder} took over after {took_s:.1f} s")
    if took_s > 45.0:
        world.story.violate(f"the take-over lasted {took_s:.1f} s, more than 45 s")


def _with_standby(seed: int, rng: np.random.Generator) -> WorldSpec:
    return replace(calm_world(seed, rng), standby=True)


async def _terminate(world: World) -> None:
    """SIGTERM at an instant around a bar close."""
    rng = np.random.default_rng([world.spec.seed, 9])
    await asyncio.sleep(float(rng.uniform(59.9, 61.0)) + 60.0 * int(rng.integers(0, 3)))
    process = next((process for process in world.processes if process.alive), None)
    if process is None or process.main is None:
        return
    before = {symbol: p.quantity for symbol, p in world.venue.desk.engine.core.account.positions.items()}
    world.story.tell(f"{process.name}: SIGTERM")
    process.on_terminate()
    await asyncio.wait([process.main], timeout=10.0)
    if not process.main.done():
        world.story.violate(f"{process.name} did not end within 10 s of SIGTERM")
    elif world.watch.holder == process.name:
        world.story.violate(f"{process.name} ended and kept the lease")
    after = {symbol: p.quantity for symbol, p in world.venue.desk.engine.core.account.positions.items()}
    flattened = [symbol for symbol, held in before.items() if held and not after[symbol] and not _exited(world, symbol)]
    if flattened:
        world.story.violate(f"SIGTERM closed {flattened}")


def _exited(world: World, symbol: str) -> bool:
    """Whether a decision or a stop has closed the position."""
    records = world.ledger.orders(BOOK)
    return any(
        record.intent.symbol == symbol and record.filled and record.intent.leg in ("market", "stop") for record in records
    )


def _terminated(seed: int, rng: np.random.Generator) -> WorldSpec:
    return calm_world(seed, rng)


def _without_ledger(seed: int, rng: np.random.Generator) -> WorldSpec:
    start_s = float(rng.choice([58.0, 60.02, 60.1, 90.0, 119.0])) + 60.0 * int(rng.integers(0, 2))
    window = Window(Part.LEDGER, start_s, start_s + float(rng.uniform(5.0, 80.0)))
    return replace(calm_world(seed, rng, FaultPlan(windows=(window,))), bars=6)


def _flaky_ledger(seed: int, rng: np.random.Generator) -> WorldSpec:
    return calm_world(seed, rng, FaultPlan(Rates(ledger=0.03), until_s=300.0))


def _exits_booked(world: World) -> Iterator[str]:
    if world.journal.pending():
        yield "exits that were journalled are not in the ledger"


def _stops_rest(world: World) -> Iterator[str]:
    """Whatever the process did, positions keep their stops (the invariant); here: stops were placed at all."""
    if not any(record.intent.kind is OrderKind.STOP for record in world.ledger.orders(BOOK)):
        yield "no stop was ever placed"


SCENARIOS = (
    Scenario(
        "killed-before-sending",
        "Killed between the commit of an intent and its order",
        "at start every open intent is queried by id, then sent while fresh, or given up",
        killed_at("after ledger.commit_decision", "before POST /fapi/v1/order", "before POST /fapi/v1/algoOrder"),
        _killed,
    ),
    Scenario(
        "killed-after-sending",
        "Killed between send and commit",
        "the intent was committed first: the order is found by id and booked",
        killed_at(
            "after POST /fapi/v1/order", "before ledger.advance_order", "after ledger.advance_order", "before ledger.add_fills"
        ),
        _killed,
    ),
    Scenario(
        "killed-anywhere",
        "Killed again and again, at any port call",
        "every start takes up what the one before has left",
        _again_and_again,
        struck,
    ),
    Scenario(
        "two-instances",
        "A paused process wakes up while another one trades its book (SIGSTOP)",
        "fencing token: it loses its lease, writes and sends nothing any more",
        _two,
        _taken_over,
        (_freeze,),
    ),
    Scenario(
        "standby-takes-over",
        "The trading process dies beside a hot standby",
        "the standby reconciles and trades within 45 s",
        _with_standby,
        _taken_over,
        (_kill_leader,),
    ),
    Scenario(
        "terminated",
        "SIGTERM at any moment",
        "entries stop, what was begun is finished, the lease is released within 10 s; nothing is flattened",
        _terminated,
        _stops_rest,
        (_terminate,),
    ),
    Scenario(
        "ledger-down",
        "The ledger is down",
        "no new orders; stops rest at the venue; exits are journalled and taken over afterwards",
        _without_ledger,
        _exits_booked,
    ),
    Scenario(
        "ledger-flaky",
        "The ledger fails now and then, also after it has committed",
        "what was committed stands, what was not is done again",
        _flaky_ledger,
        struck,
    ),
)
