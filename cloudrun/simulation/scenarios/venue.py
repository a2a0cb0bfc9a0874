"""Failures of the venue as a whole: maintenance, network, bans, settings, delisting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from cloudrun.simulation.analyst import Habits
from cloudrun.simulation.faults import Effect, FaultPlan, Part, Rule, Window
from cloudrun.simulation.scenarios.base import Scenario, calm_world, halts, struck
from cloudrun.simulation.spec import BOOK, WorldSpec
from cloudrun.simulation.world import World
from shared.domain.interval import MINUTE_MS


def _maintenance(seed: int, rng: np.random.Generator) -> WorldSpec:
    start_s = float(rng.uniform(30.0, 130.0))
    window = Window(Part.VENUE, start_s, start_s + float(rng.uniform(20.0, 170.0)))
    return replace(calm_world(seed, rng, FaultPlan(windows=(window,))), bars=6)


def _long_maintenance(seed: int, rng: np.random.Generator) -> WorldSpec:
    start_s = float(rng.uniform(70.0, 130.0))
    window = Window(Part.VENUE, start_s, start_s + 1150.0)
    return replace(calm_world(seed, rng, FaultPlan(windows=(window,))), bars=23)


def _paused(world: World) -> Iterator[str]:
    logged = world.ledger.agent_log(BOOK, 1000)
    if not any("has been away" in str(entry["message"]) for entry in logged) and not halts(world):
        yield "an outage of more than 15 minutes has not paused trading"


def _nothing_while_down(world: World) -> Iterator[str]:
    yield from struck(world)
    window = world.spec.plan.windows[0]
    opened = [s for s in world.network.sent if s.effect is Effect.MAINTENANCE and s.method == "POST"]
    if len(opened) > 20:
        yield f"{len(opened)} orders were thrown at a venue in maintenance from {window.start_s:.0f} s on"


def _banned(seed: int, rng: np.random.Generator) -> WorldSpec:
    effect = Effect.BANNED if rng.random() < 0.5 else Effect.THROTTLED
    return calm_world(seed, rng, FaultPlan(rules=(Rule("GET /fapi", effect, skip=int(rng.integers(8, 40)), times=2),)))


def _no_network(seed: int, rng: np.random.Generator) -> WorldSpec:
    start_s = float(rng.choice([59.0, 60.03, 60.06, 61.0, 90.0])) + 60.0 * int(rng.integers(0, 2))
    window = Window(Part.NETWORK, start_s, start_s + float(rng.uniform(3.0, 120.0)))
    return replace(calm_world(seed, rng, FaultPlan(windows=(window,))), bars=6)


def _wrong_leverage(seed: int, rng: np.random.Generator) -> WorldSpec:
    return calm_world(seed, rng, FaultPlan(rules=(Rule("POST /fapi/v1/leverage", Effect.LEVERAGE, times=10_000),)))


def _never_traded(world: World) -> Iterator[str]:
    yield from struck(world)
    if world.network.sent:
        yield f"{world.network.sent[0].client_id} was sent although the account is not set as configured"


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
        "DEGRADED: no entries, stops rest, back-off, reconciled on return",
        _maintenance,
        _nothing_while_down,
    ),
    Scenario(
        "long-maintenance",
        "Venue away for more than 15 minutes",
        "trading pauses and a person is told",
        _long_maintenance,
        _paused,
    ),
    Scenario("no-network", "The network is away", "as maintenance; open questions are answered when it is back", _no_network),
    Scenario(
        "banned",
        "429 or 418: the address is banned for a while",
        "Retry-After is honoured, then everything goes on",
        _banned,
        struck,
    ),
    Scenario(
        "wrong-settings",
        "Position mode, margin type or leverage not as configured",
        "refused at start: nothing is ever sent",
        _wrong_leverage,
        _never_traded,
    ),
    Scenario(
        "delisting", "A symbol is delisted", "closed before the date; the others go on", _delisted, _closed_before, (_delist,)
    ),
)
