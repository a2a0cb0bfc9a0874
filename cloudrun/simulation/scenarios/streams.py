"""Failures of streams: messages lost, doubled, out of order; channels and connections silent, broken off, rotated, expired."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from cloudrun.simulation.faults import FaultPlan, Part, Rates, Window
from cloudrun.simulation.scenarios.base import CALM, Check, Make, Scenario, calm_world
from cloudrun.simulation.scenarios.checks import (
    ACCOUNT,
    RESTING_ORDERS,
    asked,
    bare,
    idle,
    opened,
    struck,
    told_at_s,
    unbooked,
    undecided,
)
from cloudrun.simulation.spec import WorldSpec
from cloudrun.simulation.world import World

SNAPSHOT_S = 20.0
"""from a connection that is back to the snapshot by REST that restores trust in it"""
PROBE_S = 150.0
"""silence that is asked about, and a bar that closes at the venue meanwhile: the proof that a market stream is dead"""
UNHEARD_S = 40.0
"""from an execution to the proof: the silence after it, and a look"""


def _disorderly(seed: int, rng: np.random.Generator) -> WorldSpec:
    return calm_world(seed, rng, FaultPlan(Rates(delay=0.3, repeat=0.3), until_s=300.0))


def _all_booked_once(world: World) -> Iterator[str]:
    """Each execution is booked, once (the position is the sum of its fills: an invariant), and trading goes on."""
    yield from struck(world)
    yield from unbooked(world)
    yield from undecided(world)


def _lossy(seed: int, rng: np.random.Generator) -> WorldSpec:
    return calm_world(seed, rng, FaultPlan(Rates(drop=0.1), until_s=300.0))


async def _break_off(world: World) -> None:
    """Connections end, mostly while an order is on its way; each time everything is reconciled before they are believed."""
    rng = np.random.default_rng([world.spec.seed, 12])
    await asyncio.sleep(30.0)
    for bar in range(1, 5):
        away_s = float(rng.choice([-0.3, -0.3, 0.02, 0.08, 5.0, 20.0]))
        await asyncio.sleep(max(0.0, 60.0 * bar + away_s - world.loop.time()))
        users, markets = list(world.venue.streams.user_links), list(world.venue.streams.market_links)
        if rng.random() < 0.5:
            markets = []  # bars go on coming while nobody tells of orders
        for user in users:
            user.lose("the connection broke off (simulated)")
        for market in markets if away_s > 0 else ():  # else the bar comes, and what it leads to has to wait for the account
            market.lose("the connection broke off (simulated)")
        lost_s = world.loop.time()
        back = await world.until(lambda lost_s=lost_s: bool(asked(world, RESTING_ORDERS, lost_s)), SNAPSHOT_S)  # type: ignore[misc]
        if users and not back:
            world.story.violate(f"no snapshot was taken within {SNAPSHOT_S:.0f} s after the connections had broken off")
        back_s = asked(world, RESTING_ORDERS, lost_s)[0].at_s if back else world.loop.time()
        early = opened(world, lost_s, back_s)
        if users and early and away_s < 0:  # afterwards an order of the bar may be on its way
            world.story.violate(f"{early[0].client_id} was to open something before the streams could be believed again")


def _silent(*parts: Part) -> Make:
    """One of `parts` falls silent for longer than it takes to find out."""

    def make(seed: int, rng: np.random.Generator) -> WorldSpec:
        start_s = float(rng.uniform(30.0, 100.0))
        part = parts[int(rng.integers(len(parts)))]
        window = Window(part, start_s, start_s + PROBE_S + 75.0)
        return replace(calm_world(seed, rng, FaultPlan(windows=(window,))), bars=6)

    return make


def _replaced(within_s: float) -> Check:
    """The silence was found out in time; nothing was opened until it was over, and then trading went on."""

    def check(world: World) -> Iterator[str]:
        window = world.spec.plan.windows[0]
        found_s = told_at_s(world, "is replaced")
        if found_s is None or found_s > window.start_s + within_s:
            yield f"{window.part} from {window.start_s:.0f} s on was not found out within {within_s:.0f} s (found: {found_s})"
        elif window.part is Part.STREAMS and (early := opened(world, found_s, window.end_s)):
            yield f"{early[0].client_id} was to open something while the streams were known to be silent"
        yield from undecided(world)
        yield from idle(world, window.end_s)

    return check


def _unheard_found(world: World) -> Iterator[str]:
    """The first execution of which the user stream said nothing has proven it dead."""
    window = world.spec.plan.windows[0]
    at_s = [(trade.time_ms - world.spec.start_ms) / 1000 for trade in world.venue.desk.engine.core.account.trades]
    unheard_s = min((at for at in at_s if window.start_s < at < window.end_s), default=window.end_s)
    found_s = told_at_s(world, "is replaced")
    late = found_s is None or found_s > unheard_s + UNHEARD_S
    if unheard_s + UNHEARD_S < window.end_s and late:
        yield f"the execution at {unheard_s:.0f} s without a word was not found out within {UNHEARD_S:.0f} s (found: {found_s})"
    yield from unbooked(world)
    yield from undecided(world)
    yield from idle(world, window.end_s)


def _quiet_market(seed: int, rng: np.random.Generator) -> WorldSpec:
    """Bars without any trade: silence that is no failure."""
    return replace(calm_world(seed, rng), symbols=("BTCUSDT",), shape=replace(CALM, gap_rate=0.25), bars=9)


async def _hush(world: World) -> None:
    """While nothing is traded the venue says nothing at all."""
    hub, market = world.venue.streams, world.venue.desk.market.symbols[world.spec.symbols[0]]
    interval = world.spec.interval

    def silent(now_ms: int) -> bool:
        bars = (interval.floor(now_ms - 1), interval.floor(now_ms))
        return all(world.venue.desk.klines.bar(market, interval, open_ms, now_ms) is None for open_ms in bars)

    hub.silent = silent


def _left_alone(world: World) -> Iterator[str]:
    """No connection was replaced: silence alone proves nothing."""
    if told_at_s(world, "is replaced") is not None:
        yield "a quiet market was taken for a dead stream"
    yield from undecided(world)


def _rotating(seed: int, rng: np.random.Generator) -> WorldSpec:
    return replace(calm_world(seed, rng), rotate_after_s=float(rng.uniform(20.0, 70.0)))


def _rotated(world: World) -> Iterator[str]:
    """A rotation is no failure: nothing is missed, nothing is asked for again because of it."""
    if told_at_s(world, "is replaced") is not None:
        yield "a rotation was taken for a failure"
    yield from undecided(world)
    yield from unbooked(world)
    yield from idle(world, 2 * world.spec.rotate_after_s)
    snapshots = len(asked(world, RESTING_ORDERS, 30.0))
    allowed = world.spec.end_s / world.spec.trader.stops_s + len(opened(world, 0.0))
    if snapshots > allowed:
        yield f"everything was reconciled {snapshots} times in a world in which nothing failed"


def _expiring(seed: int, rng: np.random.Generator) -> WorldSpec:
    at_s = (float(rng.uniform(59.9, 60.4)) + 60.0 * int(rng.integers(0, 3)), float(rng.uniform(10.0, 290.0)))
    return calm_world(seed, rng, FaultPlan(key_expiries=at_s))


def _snapshot_after(world: World) -> Iterator[str]:
    for at_s in world.spec.plan.key_expiries:
        if not (asked(world, RESTING_ORDERS, at_s, at_s + SNAPSHOT_S) and asked(world, ACCOUNT, at_s, at_s + SNAPSHOT_S)):
            yield f"no snapshot was taken within {SNAPSHOT_S:.0f} s after the listen key had expired at {at_s:.1f} s"
    yield from undecided(world)
    yield from unbooked(world)


def _blind(seed: int, rng: np.random.Generator) -> WorldSpec:
    return calm_world(seed, rng, FaultPlan(Rates(malformed=0.3), until_s=300.0))


def _looked(world: World) -> Iterator[str]:
    yield from _all_booked_once(world)
    yield from bare(world)
    if told_at_s(world, "read") is None:
        yield "nobody was told of messages that cannot be read"


SCENARIOS = (
    Scenario(
        "disorderly-messages",
        "Duplicate or out-of-order messages",
        "fills keyed by symbol and trade id, cumulative quantities, states only move forward; every bar is decided",
        _disorderly,
        _all_booked_once,
    ),
    Scenario(
        "lost-messages",
        "Messages are lost, connections break off",
        "orders and positions are reconciled by REST within 20 s, before the stream is believed again; nothing is missing",
        _lossy,
        _all_booked_once,
        (_break_off,),
    ),
    Scenario(
        "stale-market-stream",
        "The market stream is silently stale",
        "found out by its data and a REST probe within 150 s; reconnected, backfilled; every bar is decided",
        _silent(Part.MARKET_STREAM, Part.STREAMS),
        _replaced(PROBE_S),
    ),
    Scenario(
        "stale-channel",
        "Bars fall silent while quotes and mark prices go on",
        "each channel is watched: found out within 150 s, reconnected, backfilled; every bar is decided",
        _silent(Part.BARS),
        _replaced(PROBE_S),
    ),
    Scenario(
        "stale-quotes",
        "Quotes fall silent while bars and mark prices go on",
        "only a REST probe can tell: a minute with trades in which no quote came; reconnected within 150 s",
        _silent(Part.QUOTES),
        _replaced(PROBE_S),
    ),
    Scenario(
        "stale-user-stream",
        "The user stream is silently stale",
        "an execution without a word proves it within 40 s; reconnected and reconciled",
        _silent(Part.USER_STREAM),
        _unheard_found,
    ),
    Scenario(
        "malformed-messages",
        "Messages of the user stream cannot be read",
        "a person is told, and what they were about is asked for by REST: nothing is missing",
        _blind,
        _looked,
    ),
    Scenario(
        "quiet-market",
        "Nothing is traded and nothing is said for a while",
        "it is told from a dead stream: no connection is replaced, and every bar that there is is decided",
        _quiet_market,
        _left_alone,
        (_hush,),
    ),
    Scenario(
        "rotated-connection",
        "A connection at its 24 h limit",
        "rotated with overlap before it; nothing is missed, nothing is doubled, nothing needs to be reconciled",
        _rotating,
        _rotated,
    ),
    Scenario(
        "listen-key-expired",
        "The listen key has expired",
        "a new key, then a snapshot of orders and positions within 20 s before events are trusted",
        _expiring,
        _snapshot_after,
    ),
)
