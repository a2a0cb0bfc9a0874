"""Failures of the ledger: away, hanging, without writes, flaky, and away in the middle of an emergency."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from cloudrun.simulation.acts import cancel_stops
from cloudrun.simulation.faults import Effect, FaultPlan, Part, Rates, Window
from cloudrun.simulation.scenarios.base import Make, Scenario, at_pace, calm_world, quickly
from cloudrun.simulation.scenarios.checks import bare, halts, is_flat, opened, struck, unbooked, undecided
from cloudrun.simulation.spec import BOOK, WorldSpec
from cloudrun.simulation.world import Act, World
from shared.domain.orders import OrderKind
from shared.domain.records import Halt, HaltKind

FLAT_S = 30.0
"""an emergency while the ledger is away: a look at halts, exits, and their answers"""


def _rarely(spec: WorldSpec) -> WorldSpec:
    """Looks are further apart than attempts at the ledger: at each of them it answers before it refuses."""
    return spec


def _away(part: Part, pace: Callable[[WorldSpec], WorldSpec] = at_pace) -> Make:
    def make(seed: int, rng: np.random.Generator) -> WorldSpec:
        if seed % 2:
            return pace(replace(calm_world(seed, rng), bars=6))
        start_s = float(rng.choice([58.0, 60.02, 60.1, 90.0, 119.0])) + 60.0 * int(rng.integers(0, 2))
        window = Window(part, start_s, start_s + float(rng.uniform(5.0, 80.0)))
        return pace(replace(calm_world(seed, rng, FaultPlan(windows=(window,))), bars=6))

    return make


def _after_a_fill(part: Part) -> Act:
    """In every other seed the ledger goes away right after an entry was filled, before its stop is at the venue."""

    async def act(world: World) -> None:
        rng, account = np.random.default_rng([world.spec.seed, 42]), world.venue.desk.engine.core.account
        if world.spec.seed % 2 == 0:
            return
        await asyncio.sleep(float(rng.choice([58.0, 118.0])))
        before = len(account.trades)
        await quickly(lambda: len(account.trades) > before and not is_flat(world), 130.0)
        now_s = world.loop.time()
        world.faults.take_away(Window(part, now_s, now_s + float(rng.uniform(40.0, 80.0))))

    return act


def _waited(world: World) -> Iterator[str]:
    """Nothing was opened meanwhile, every position kept or got its stop or was closed, and afterwards all is booked."""
    window = world.faults.plan.windows[0]
    late = opened(world, window.start_s + 1.0, window.end_s)  # what was committed before may still be on its way
    if late:
        yield f"{late[0].client_id} was sent while the ledger was away"
    yield from _closed_what_was_bare(world)
    yield from unbooked(world)
    yield from undecided(world)


def _done_meanwhile(world: World) -> Iterator[str]:
    """What it answers in time is traded on; nothing is bare for long, and afterwards all is booked."""
    yield from struck(world)
    yield from _closed_what_was_bare(world)
    yield from unbooked(world)
    yield from undecided(world)


def _closed_what_was_bare(world: World) -> Iterator[str]:
    """No position was bare for long, and none that had its stop was closed."""
    if world.watch.needless:
        yield f"{world.watch.needless[0]} closes what has its stop"
    if world.journal.pending():
        yield "exits that were journalled are not in the ledger"
    yield from bare(world)


def _one_symbol(seed: int, rng: np.random.Generator) -> WorldSpec:
    return at_pace(replace(calm_world(seed, rng), symbols=("BTCUSDT",), bars=6))


async def _restarted(world: World) -> None:
    """The process that trades dies while something is held; another one has taken over and reconciled."""
    await world.until(lambda: not is_flat(world), 130.0)
    leader = world.watch.holder
    for process in world.processes:
        if process.name == leader:
            process.kill()
    await world.until(lambda: world.watch.holder not in ("", leader), 60.0)
    await asyncio.sleep(8.0)


async def _whose_is_it(world: World) -> None:
    """While the ledger is away a stranger adds to what we hold, or the venue takes our stop and its list of executions."""
    rng, account = np.random.default_rng([world.spec.seed, 44]), world.venue.desk.engine.core.account
    [symbol] = world.spec.symbols
    strangers = world.spec.seed % 2 == 0
    await asyncio.sleep(float(rng.uniform(62.0, 130.0) if strangers else rng.uniform(61.0, 63.0)))
    if not strangers:
        await _restarted(world)  # what is held was booked by another process: only the note knows of it
    if not await world.until(lambda: not is_flat(world) and not world.exposure.is_bare(symbol), 130.0):
        world.story.violate("nothing was held with its stop")
        return
    now_s, held = world.loop.time(), account.positions[symbol].quantity
    world.faults.take_away(Window(Part.LEDGER, now_s, now_s + float(rng.uniform(50.0, 80.0))))
    await asyncio.sleep(float(rng.uniform(1.0, 5.0)))
    if strangers:
        world.story.tell("a stranger adds to the position")
        side = "BUY" if held > 0 else "SELL"
        order = {"symbol": symbol, "side": side, "type": "MARKET", "quantity": "0.013", "newClientOrderId": "by-hand"}
        world.act_as("a stranger", "order", order)
        return
    mend = world.faults.fail("GET /fapi/v1/userTrades", Effect.UNREADABLE)
    cancel_stops(world)
    await asyncio.sleep(45.0)
    mend()


def _ours_only(world: World) -> Iterator[str]:
    yield from _closed_what_was_bare(world)
    if world.spec.seed % 2 and not world.journal.appended:
        yield "what was bare was not closed without the ledger"
    yield from unbooked(world)


def _while_held(part: Part) -> Act:
    """In every other seed a stop is gone right after its successor can be written down no more, or only slowly."""

    async def act(world: World) -> None:
        rng, account = np.random.default_rng([world.spec.seed, 43]), world.venue.desk.engine.core.account
        if world.spec.seed % 2 == 0:
            return
        await asyncio.sleep(float(rng.choice([58.0, 118.0])))
        if not await quickly(lambda: bool(account.open_algos) and not is_flat(world), 130.0):
            return
        now_s = world.loop.time()
        world.faults.take_away(Window(part, now_s, now_s + float(rng.uniform(60.0, 120.0))))
        await asyncio.sleep(float(rng.uniform(0.0, 2.0)))
        cancel_stops(world)

    return act


def _flaky(seed: int, rng: np.random.Generator) -> WorldSpec:
    return calm_world(seed, rng, FaultPlan(Rates(ledger=0.08), until_s=300.0))


def _done_again(world: World) -> Iterator[str]:
    yield from struck(world)
    yield from unbooked(world)
    # Before its first bar a book has missed none: each start may fail until then.
    first_ms = min((decision.bar_close_ms for decision in world.ledger.decisions(BOOK)), default=world.spec.start_ms)
    yield from undecided(world, since_s=(first_ms - world.spec.start_ms) / 1000 - 1)
    if first_ms - world.spec.start_ms > 300_000:
        yield "nothing was decided while the ledger failed"


def _holding(seed: int, rng: np.random.Generator) -> WorldSpec:
    return at_pace(replace(calm_world(seed, rng), bars=6))


async def _halt_without_ledger(world: World) -> None:
    """A person halts the book; the ledger goes away as soon as the emergency has begun, before its first exit.

    In every other seed it refuses writes from the instant on in which an entry is executed: what became of it is not known.
    """
    rng, account = np.random.default_rng([world.spec.seed, 41]), world.venue.desk.engine.core.account
    await asyncio.sleep(float(rng.uniform(65.0, 110.0)))
    if not await world.until(lambda: not is_flat(world), 200.0):
        world.story.violate("nothing was held that an emergency could close")
        return
    reads_on, before = bool(world.spec.seed % 2), len(account.trades)
    if reads_on:  # where none comes it refuses writes all the same
        await quickly(lambda: len(account.trades) > before and not is_flat(world), 65.0)
    world.ledger.set_halt(Halt(BOOK, "a person asked for it", world.clock.now_ms(), None, kind=HaltKind.MANUAL))
    if not reads_on:
        await quickly(lambda: bool(world.ledger.emergencies(BOOK)), 20.0)
    now_s = world.loop.time()
    world.story.tell("the ledger goes away")
    world.faults.take_away(Window(Part.LEDGER_WRITES if reads_on else Part.LEDGER, now_s, now_s + 45.0))
    if not await world.until(lambda: is_flat(world), FLAT_S):
        world.story.violate(f"positions are left {FLAT_S:.0f} s after an emergency without a ledger")


def _journalled(world: World) -> Iterator[str]:
    """The exits went through the journal, were taken over, and are booked."""
    if not world.journal.appended:
        yield "the exit journal was not used"
    if world.journal.pending():
        yield "exits that were journalled are not in the ledger"
    exits = [r for r in world.ledger.orders(BOOK) if r.intent.leg.startswith("emergency") and r.intent.kind is OrderKind.MARKET]
    if not any(record.filled for record in exits):
        yield "no exit of the emergency is booked as filled"
    if not halts(world, HaltKind.MANUAL) or not any(record.finished_ms for record in world.ledger.emergencies(BOOK)):
        yield "the emergency is not halted and recorded as finished"
    yield from unbooked(world)


SCENARIOS = (
    Scenario(
        "ledger-down",
        "The ledger is down",
        "no new orders; stops rest or what is bare is closed; afterwards all is booked and every bar recorded",
        _away(Part.LEDGER),
        _waited,
        (_after_a_fill(Part.LEDGER),),
    ),
    Scenario(
        "ledger-hangs",
        "The ledger hangs instead of failing",
        "as ledger-down: a call costs seconds, the next ones fail at once; stops and exits do not wait for it",
        _away(Part.LEDGER_HANGS),
        _waited,
        (_after_a_fill(Part.LEDGER_HANGS),),
    ),
    Scenario(
        "ledger-slow",
        "Every answer of the ledger takes a part of a second",
        "as ledger-down: slow answers in a row count as its absence, and the process is free for stops and exits",
        _away(Part.LEDGER_SLOW),
        _done_meanwhile,
        (_while_held(Part.LEDGER_SLOW),),
    ),
    Scenario(
        "ledger-refuses-writes",
        "The ledger answers every question and refuses every change (disk full, a standby)",
        "as ledger-down: what it answers does not count as its return; what is bare is closed within the deadline",
        _away(Part.LEDGER_WRITES, _rarely),
        _waited,
        (_while_held(Part.LEDGER_WRITES),),
    ),
    Scenario(
        "ledger-down-whose-position",
        "While the ledger is down a stranger trades beside us, or executions cannot be read",
        "what is ours is known by its executions, or by the last note: closed where it is bare, and nothing else",
        _one_symbol,
        _ours_only,
        (_whose_is_it,),
    ),
    Scenario(
        "emergency-without-ledger",
        "The ledger goes away in the middle of an emergency, or takes nothing any more while an entry is executed",
        "exits are journalled before they are sent; flat within 30 s; taken over, booked and recorded afterwards",
        _holding,
        _journalled,
        (_halt_without_ledger,),
    ),
    Scenario(
        "ledger-flaky",
        "The ledger fails now and then, also after it has committed",
        "what was committed stands, what was not is done again: all is booked, every bar decided",
        _flaky,
        _done_again,
    ),
)
