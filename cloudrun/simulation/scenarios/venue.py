"""Failures of the venue as a whole: maintenance, network, bans, settings, delisting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from cloudrun.simulation.analyst import Habits
from cloudrun.simulation.faults import SLOW_S, Effect, FaultPlan, Part, Rule, Window
from cloudrun.simulation.scenarios.base import Scenario, at_pace, calm_world
from cloudrun.simulation.scenarios.checks import (
    ORDER,
    RESTING_ORDERS,
    STOP,
    asked,
    bare,
    halts,
    idle,
    is_flat,
    opened,
    struck,
    undecided,
    untold,
)
from cloudrun.simulation.spec import BOOK, WorldSpec
from cloudrun.simulation.world import World
from shared.domain.interval import MINUTE_MS
from shared.domain.records import Halt, HaltKind

BACK_S = 60.0
"""from the venue's return to the reconciliation: the longest pause between two attempts, a look, and a streams' connection"""
SLOW_FOR_S = 160.0
OVER_S = 300.0
"""by then the longest bans are over"""
MANY_ORDERS = 20
"""stops and exits that may meet a venue in maintenance in three minutes"""


def _maintenance(seed: int, rng: np.random.Generator) -> WorldSpec:
    start_s = float(rng.uniform(30.0, 130.0))
    window = Window(Part.VENUE, start_s, start_s + float(rng.uniform(20.0, 170.0)))
    return _unpaused(replace(calm_world(seed, rng, FaultPlan(windows=(window,))), bars=7))


def _unpaused(spec: WorldSpec) -> WorldSpec:
    """A position that had to be closed for want of a stop does not end the trading of its symbol."""
    return replace(spec, execution=replace(spec.execution, unprotected_pause_s=0.0))


def _degraded(world: World) -> Iterator[str]:
    """While the venue is away nobody tries to open anything but what had just been decided; afterwards all is reconciled."""
    yield from struck(world)
    window = world.spec.plan.windows[0]
    tried = asked(world, "POST", window.start_s, window.end_s)
    if len(tried) > MANY_ORDERS:
        yield f"{len(tried)} orders were thrown at a venue that is away"
    known_s = window.start_s + world.spec.tick_s + 1.0  # by then the streams have broken off
    entries = {sent.client_id for sent in opened(world, known_s, window.end_s)}
    if entries:
        yield f"{sorted(entries)[0]} was to open something while the venue was known to be away"
    yield from _reconciled(world)


def _reconciled(world: World) -> Iterator[str]:
    """On return: everything is reconciled, missed bars are recorded, trading goes on.

    A trader need not have noticed an outage that was too short for a stream to count as silent.
    """
    window = world.spec.plan.windows[0]
    end_s, noticed = window.end_s, window.end_s - window.start_s > world.spec.trader.silence_s
    snapshots = asked(world, RESTING_ORDERS, end_s, end_s + BACK_S)
    if not snapshots:
        yield f"nothing was reconciled within {BACK_S:.0f} s of the return at {end_s:.0f} s"
    elif noticed and (early := opened(world, end_s, snapshots[0].at_s)):
        yield f"{early[0].client_id} was to open something before anything was reconciled"
    yield from undecided(world)
    yield from idle(world, end_s)


def _long_maintenance(seed: int, rng: np.random.Generator) -> WorldSpec:
    start_s = float(rng.uniform(70.0, 130.0))
    window = Window(Part.VENUE, start_s, start_s + 1150.0)
    return replace(calm_world(seed, rng, FaultPlan(windows=(window,))), bars=23)


def _paused(world: World) -> Iterator[str]:
    yield from untold(world, "has been away")
    if not any("has been away" in halt.reason and halt.until_ms for halt in halts(world)):
        yield "an outage of more than 15 minutes has not paused trading"
    if opened(world, world.spec.plan.windows[0].end_s):
        yield "something was opened in the pause after a long outage"


def _banned(seed: int, rng: np.random.Generator) -> WorldSpec:
    effect = Effect.BANNED if rng.random() < 0.5 else Effect.THROTTLED
    rule = Rule("GET /fapi", effect, skip=int(rng.integers(8, 40)), times=2)
    return _unpaused(replace(calm_world(seed, rng, FaultPlan(rules=(rule,))), bars=7))


def _goes_on(world: World) -> Iterator[str]:
    """That nothing is asked or sent before Retry-After is over is an invariant; here: everything goes on afterwards."""
    yield from struck(world)
    yield from undecided(world, since_s=OVER_S)
    yield from idle(world, OVER_S)


def _no_network(seed: int, rng: np.random.Generator) -> WorldSpec:
    start_s = float(rng.choice([59.0, 60.03, 60.06, 61.0, 90.0])) + 60.0 * int(rng.integers(0, 2))
    window = Window(Part.NETWORK, start_s, start_s + float(rng.uniform(3.0, 120.0)))
    return _unpaused(replace(calm_world(seed, rng, FaultPlan(windows=(window,))), bars=7))


def _slow(seed: int, rng: np.random.Generator) -> WorldSpec:
    """Orders come late for more than two bars; at their beginning the venue cancels the stop of what is held."""
    start_s = float(rng.uniform(130.0, 165.0))
    window = Window(Part.SLOW_ORDERS, start_s, start_s + SLOW_FOR_S)
    plan = FaultPlan(windows=(window,), cancelled_stops=(start_s + float(rng.uniform(1.0, 8.0)),))
    return at_pace(replace(calm_world(seed, rng, plan), bars=7, habits=Habits(flat=0.0, hold_bars=1)))


async def _close_by_hand(world: World) -> None:
    """In every second world a person has the book closed while orders come late."""
    await asyncio.sleep(world.spec.plan.windows[0].start_s + SLOW_FOR_S / 2)
    if world.spec.seed % 2:
        world.ledger.set_halt(Halt(BOOK, "closed by hand", world.clock.now_ms(), None, kind=HaltKind.MANUAL))
        await asyncio.sleep(SLOW_FOR_S / 4)
        if not is_flat(world):
            world.story.violate(f"the book was not closed {SLOW_FOR_S / 4:.0f} s after a person asked for it")


def _got_through(world: World) -> Iterator[str]:
    """What protects or closes is taken late; what opens is not; afterwards trading goes on."""
    yield from struck(world)
    yield from bare(world)
    window, account = world.spec.plan.windows[0], world.venue.desk.engine.core.account
    if not asked(world, STOP, window.start_s, window.end_s):
        yield "no stop was sent while orders came late"
    openers = {sent.client_id for sent in opened(world, window.start_s, window.end_s)}
    for trade in account.trades:
        client_id, at_s = account.orders[trade.order_id].client_id, (trade.time_ms - world.spec.start_ms) / 1000
        if client_id in openers and window.start_s + SLOW_S <= at_s < window.end_s:
            yield f"{client_id} has opened something {SLOW_S:g} s after it was sent"
    if not openers:
        yield "nothing was to be opened while orders came late"
    if world.spec.seed % 2 == 0:
        yield from idle(world, window.end_s)


_SETTINGS = ("/fapi/v1/leverage", "/fapi/v1/positionSide/dual", "/fapi/v1/marginType")


def _wrong_settings(seed: int, rng: np.random.Generator) -> WorldSpec:
    rules = (Rule(f"POST {_SETTINGS[0]}", Effect.LEVERAGE, times=10_000),) if seed % 3 == 0 else ()
    return replace(calm_world(seed, rng, FaultPlan(rules=rules)), bars=2)


async def _set_wrongly(world: World) -> None:
    """The leverage cannot be changed; or the account is in hedge mode, or isolated, and stays so whatever one sets."""
    if world.spec.seed % 3 == 1:
        world.venue.altered["/fapi/v1/accountConfig"] = lambda answer: {**answer, "dualSidePosition": True}
    elif world.spec.seed % 3 == 2:
        world.venue.altered["/fapi/v1/symbolConfig"] = lambda rows: [{**row, "marginType": "ISOLATED"} for row in rows]


def _never_traded(world: World) -> Iterator[str]:
    if not asked(world, f"POST {_SETTINGS[world.spec.seed % 3]}"):
        yield "nobody has tried to set the account as configured"
    if world.network.sent:
        yield f"{world.network.sent[0].client_id} was sent although the account is not set as configured"
    if asked(world, ORDER):
        yield "an order was sent"


async def _delist(world: World) -> None:
    """The venue announces that a symbol settles in a while."""
    await asyncio.sleep(float(np.random.default_rng([world.spec.seed, 25]).uniform(30.0, 100.0)))
    world.story.tell(f"{world.spec.symbols[0]} is going to be delisted")
    world.venue.delist(world.spec.symbols[0], world.venue.now_ms + 3 * MINUTE_MS)


def _delisted(seed: int, rng: np.random.Generator) -> WorldSpec:
    spec = replace(calm_world(seed, rng), symbols=("BTCUSDT", "ETHUSDT"), bars=8, habits=Habits(always=1.0, size=0.4))
    return replace(spec, trader=replace(spec.trader, rules_refresh_s=30.0))


def _closed_before(world: World) -> Iterator[str]:
    if world.venue.desk.engine.core.account.positions[world.spec.symbols[0]].quantity:
        yield f"{world.spec.symbols[0]} is still held after its delisting"
    late_ms = world.spec.start_ms + 6 * MINUTE_MS
    if not any(d.bar_close_ms > late_ms for d in world.ledger.decisions(BOOK, symbol=world.spec.symbols[1])):
        yield "the other symbol is not decided any more"


SCENARIOS = (
    Scenario(
        "maintenance",
        "Venue maintenance, 503",
        "no entries, stops rest, back-off; within 60 s of its return everything is reconciled, and trading goes on",
        _maintenance,
        _degraded,
    ),
    Scenario(
        "long-maintenance",
        "Venue away for more than 15 minutes",
        "trading pauses, nothing is opened on its return, and a person is told",
        _long_maintenance,
        _paused,
    ),
    Scenario(
        "no-network",
        "The network is away",
        "open questions are answered within 60 s of its return, missed bars are recorded, trading goes on",
        _no_network,
        _reconciled,
    ),
    Scenario(
        "banned",
        "429 or 418: the address is banned for a while",
        "nothing is asked or sent until Retry-After is over, then everything goes on",
        _banned,
        _goes_on,
    ),
    Scenario(
        "slow-venue",
        "Orders reach the venue 2.5 s late for minutes, and it cancels a stop",
        "stops and exits are taken, protection and an emergency go on; what would open dies for its age; then trading goes on",
        _slow,
        _got_through,
        (_close_by_hand,),
    ),
    Scenario(
        "wrong-settings",
        "Position mode, margin type or leverage not as configured, and not to be changed",
        "refused at start: nothing is ever sent",
        _wrong_settings,
        _never_traded,
        (_set_wrongly,),
    ),
    Scenario(
        "delisting", "A symbol is delisted", "closed before the date; the others go on", _delisted, _closed_before, (_delist,)
    ),
)
