"""Failures of the process: kills, freezes, two instances, a standby, termination."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from cloudrun.simulation.acts import cancel_stops
from cloudrun.simulation.faults import Effect, FaultPlan, Part, Rates, Rule, Window
from cloudrun.simulation.process import Process
from cloudrun.simulation.scenarios.base import Make, Scenario, calm_world, quickly
from cloudrun.simulation.scenarios.checks import bare, idle, is_flat, opened, struck, unbooked, undecided
from cloudrun.simulation.spec import BOOK, Mode, WorldSpec
from cloudrun.simulation.world import World
from shared.domain.interval import Interval

TAKEN_OVER_S = 45.0
ENDED_S = 10.0
RESTARTED_S = 75.0
"""a process that was killed: its lease runs out, another one starts, or the next request comes, and protects"""
START_QUESTIONS = ("exchangeInfo", "symbolConfig", "accountConfig", "feeBurn", "time")
"""without an answer to each of these no trading begins"""


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
    """It died, another one came; everything is booked, and where a trader runs, every bar is there."""
    yield from struck(world)
    if len(world.processes) < 2:
        yield "no process was killed and replaced"
    yield from unbooked(world)
    if world.spec.mode is Mode.STREAM:
        first_ms = min((decision.bar_close_ms for decision in world.ledger.decisions(BOOK)), default=world.spec.start_ms)
        yield from undecided(world, since_s=(first_ms - world.spec.start_ms) / 1000)  # the book begins with its first bar


def _frozen_at(*port_calls: str, interval: Interval = Interval.M1) -> Make:
    """The process is stopped (SIGSTOP) at one of these port calls, for longer than its lease lives, and goes on later."""

    def make(seed: int, rng: np.random.Generator) -> WorldSpec:
        where = port_calls[int(rng.integers(len(port_calls)))]
        stop = (Rule(where, skip=int(rng.integers(0, 3))), float(rng.uniform(40.0, 70.0)))
        spec = calm_world(seed, rng, FaultPlan(stops=(stop,)))
        spec = replace(spec, standby=bool(rng.random() < 0.5), interval=interval)
        if interval is Interval.M1:
            return replace(spec, mode=Mode.STREAM if rng.random() < 0.7 else Mode.SCHEDULE)
        trader = replace(spec.trader, tick_s=20.0, silence_s=90.0, quote_fresh_s=70.0)
        return replace(spec, tick_s=30.0, bars=3, quiet_bars=2, trader=trader)

    return make


def _two(world: World) -> Iterator[str]:
    """Another one took over while it slept, and went on alone."""
    yield from struck(world)
    if len({sent.sender for sent in world.network.asked}) < 2:
        yield "there was no other instance"
    if world.spec.mode is Mode.STREAM:
        yield from undecided(world)


async def _kill_leader(world: World) -> None:
    """The leader dies; a standby waits. It reconciles, and trades: what it does is seen in its heartbeat."""
    rng = np.random.default_rng([world.spec.seed, 8])
    await asyncio.sleep(float(rng.uniform(50.0, 200.0)))
    leader = await _leader(world)
    if leader is None:
        world.story.violate("there was no leader to be killed")
        return
    at_s = world.loop.time()
    leader.kill()
    trades = await world.until(lambda: _trading(world) not in ("", leader.name), TAKEN_OVER_S)
    if not trades:
        world.story.violate(f"nobody trades {TAKEN_OVER_S:.0f} s after the leader has died at {at_s:.0f} s")
        return
    heir = _trading(world)
    world.story.tell(f"{heir} took over after {world.loop.time() - at_s:.1f} s")
    await asyncio.sleep(2 * world.spec.interval.ms / 1000)
    late_ms = world.spec.start_ms + (at_s + TAKEN_OVER_S) * 1000
    if at_s < 150.0 and not any(decision.bar_close_ms > late_ms for decision in world.ledger.decisions(BOOK)):
        world.story.violate(f"{heir} has decided nothing in two bars")


def _trading(world: World) -> str:
    """The process that trades by its own word."""
    beats = [beat for beat in world.ledger.heartbeats(BOOK) if beat.role == "trader" and beat.state["state"] == "trading"]
    return beats[0].holder if beats and beats[0].holder == world.watch.holder else ""


async def _leader(world: World) -> Process | None:
    """The process that has the lease, as soon as there is one."""
    await world.until(lambda: any(p.alive and p.name == world.watch.holder for p in world.processes), 30.0)
    return next((p for p in world.processes if p.alive and p.name == world.watch.holder), None)


def _with_standby(seed: int, rng: np.random.Generator) -> WorldSpec:
    return replace(calm_world(seed, rng), standby=True)


def _taken_over(world: World) -> Iterator[str]:
    yield from undecided(world)
    yield from unbooked(world)


async def _terminate(world: World) -> None:
    """SIGTERM at an instant around a bar close."""
    rng = np.random.default_rng([world.spec.seed, 9])
    await asyncio.sleep(float(rng.choice([59.9, 59.99, 60.005, 60.02, 60.1, 60.4])) + 60.0 * int(rng.integers(0, 3)))
    process = await _leader(world)
    main = None if process is None else process.main
    if process is None or main is None:
        world.story.violate("there was no process to be terminated")
        return
    positions = world.venue.desk.engine.core.account.positions
    before = {symbol: p.quantity for symbol, p in positions.items()}
    at_s = world.loop.time()
    world.story.tell(f"{process.name}: SIGTERM")
    process.terminate()
    await asyncio.wait([main], timeout=ENDED_S)
    if not main.done():
        world.story.violate(f"{process.name} did not end within {ENDED_S:.0f} s of SIGTERM")
    elif world.watch.holder == process.name:
        world.story.violate(f"{process.name} ended and kept the lease")
    late = opened(world, at_s, by=process.name)
    if late:
        world.story.violate(f"{late[0].client_id} was to open something after SIGTERM")
    gone = [symbol for symbol, held in before.items() if held and not positions[symbol].quantity]
    flattened = [symbol for symbol in gone if not _exited(world, symbol)]
    if flattened:
        world.story.violate(f"SIGTERM closed {flattened}")


async def _terminate_while_bare(world: World) -> None:
    """An order is filled, its stop finds no venue, and then comes SIGTERM."""
    rng, account = np.random.default_rng([world.spec.seed, 10]), world.venue.desk.engine.core.account
    await asyncio.sleep(58.0)
    before, booked = len(account.trades), len(world.ledger.fills(BOOK))
    if not await quickly(lambda: len(account.trades) > before, 200.0):
        world.story.violate("nothing was filled")
        return
    await quickly(lambda: len(world.ledger.fills(BOOK)) > booked, 2.0)
    part, now_s = (Part.VENUE, Part.NETWORK)[int(rng.integers(2))], world.loop.time()
    world.faults.take_away(Window(part, now_s, now_s + float(rng.uniform(0.1, 2.0))))
    await asyncio.sleep(float(rng.uniform(0.0, 0.4)))
    process = await _leader(world)
    if process is not None:
        world.story.tell(f"{process.name}: SIGTERM")
        process.terminate()


def _requests_too(seed: int, rng: np.random.Generator) -> WorldSpec:
    return replace(calm_world(seed, rng), bars=6, mode=(Mode.STREAM, Mode.SCHEDULE)[seed % 2])


async def _refuse_the_start(world: World) -> None:
    """Killed while something is held, whose stop is lost; and one question of every start fails for a while."""
    rng = np.random.default_rng([world.spec.seed, 11])
    await asyncio.sleep(float(rng.uniform(65.0, 110.0)))
    if not await world.until(lambda: not is_flat(world), 200.0):
        world.story.violate("nothing was held")
        return
    question = START_QUESTIONS[world.spec.seed // 2 % len(START_QUESTIONS)]
    end = world.faults.fail(f"GET /fapi/v1/{question}", Effect.GATEWAY)
    for process in world.processes:
        if process.alive:
            process.kill()
    cancel_stops(world)
    await asyncio.sleep(RESTARTED_S + 40.0)
    end()


def _looked_after(world: World) -> Iterator[str]:
    yield from bare(world, RESTARTED_S)
    yield from unbooked(world)
    yield from undecided(world)


def _exited(world: World, symbol: str) -> bool:
    """Whether a decision or a stop has closed the position."""
    records = world.ledger.orders(BOOK)
    return any(
        record.intent.symbol == symbol and record.filled and record.intent.leg in ("market", "stop") for record in records
    )


def _calm(seed: int, rng: np.random.Generator) -> WorldSpec:
    return calm_world(seed, rng)


def _ended_well(world: World) -> Iterator[str]:
    """Another process has gone on, and positions have kept their stops."""
    if len(world.processes) < 2:
        yield "no process came after the one that was terminated"
    yield from bare(world)
    yield from undecided(world)
    yield from idle(world, 0.0)


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
        "every start takes up what the one before has left: all is booked, every bar is there",
        _again_and_again,
        _killed,
    ),
    Scenario(
        "two-instances",
        "A paused process wakes up while another one trades its book (SIGSTOP)",
        "fencing token: it loses its lease, writes and sends nothing any more",
        _frozen_at("after ledger.commit_decision", "after POST /fapi/v1/order", interval=Interval.M15),
        _two,
    ),
    Scenario(
        "frozen-before-send",
        "Frozen between the last look at the lease and the wire",
        "what arrives late dies at the venue by its time stamp, and is sent again only through lease, age and halts",
        _frozen_at("before POST /fapi/v1/order", "signing: send order"),
        _two,
    ),
    Scenario(
        "standby-takes-over",
        "The trading process dies beside a hot standby",
        "the standby reconciles and trades within 45 s; every bar is decided or recorded",
        _with_standby,
        _taken_over,
        (_kill_leader,),
    ),
    Scenario(
        "terminated",
        "SIGTERM at any moment",
        "nothing is opened any more, what was begun is finished, the lease is released within 10 s; nothing is flattened",
        _calm,
        _ended_well,
        (_terminate,),
    ),
    Scenario(
        "start-fails-while-held",
        "A process starts over a position, and one question without which no trading begins is not answered",
        "what is held is reconciled, protected and closed where a halt says so; no new risk until all is answered",
        _requests_too,
        _looked_after,
        (_refuse_the_start,),
    ),
    Scenario(
        "terminated-while-bare",
        "SIGTERM while a position has no stop: the first attempt to place it has failed",
        "it is placed, or all the time that a process has to end is used; nothing is opened, the lease is released",
        _calm,
        _ended_well,
        (_terminate_while_bare,),
    ),
)
