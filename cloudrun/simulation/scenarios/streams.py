"""Failures of streams, candles and clocks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from cloudrun.simulation.faults import FaultPlan, Part, Rates, Window
from cloudrun.simulation.market import MarketShape
from cloudrun.simulation.scenarios.base import CALM, Make, Scenario, calm_world, struck
from cloudrun.simulation.spec import BOOK, WorldSpec
from cloudrun.simulation.world import World


def _disorderly(seed: int, rng: np.random.Generator) -> WorldSpec:
    return calm_world(seed, rng, FaultPlan(Rates(delay=0.3, repeat=0.3), until_s=300.0))


def _lossy(seed: int, rng: np.random.Generator) -> WorldSpec:
    return calm_world(seed, rng, FaultPlan(Rates(drop=0.2, disconnect=0.02), until_s=300.0))


def _silent(*parts: Part) -> Make:
    def make(seed: int, rng: np.random.Generator) -> WorldSpec:
        start_s = float(rng.uniform(30.0, 200.0))
        part = parts[int(rng.integers(len(parts)))]
        window = Window(part, start_s, start_s + float(rng.uniform(60.0, 150.0)))
        return replace(calm_world(seed, rng, FaultPlan(windows=(window,))), bars=6)

    return make


def _decided(world: World) -> Iterator[str]:
    """The trader has found the silence out: later bars are decided and traded."""
    decisions = world.ledger.decisions(BOOK)
    last_ms = world.spec.start_ms + (world.spec.bars + 1) * world.spec.interval.ms
    if not any(decision.bar_close_ms >= last_ms for decision in decisions):
        yield "nothing was decided any more after the stream had failed"


def _quiet_market(seed: int, rng: np.random.Generator) -> WorldSpec:
    """Bars without any trade: silence that is no failure."""
    shape = replace(CALM, gap_rate=0.25)
    return replace(calm_world(seed, rng), shape=shape, bars=8)


def _rotating(seed: int, rng: np.random.Generator) -> WorldSpec:
    return replace(calm_world(seed, rng), rotate_after_s=float(rng.uniform(20.0, 70.0)))


def _not_reconnected(world: World) -> Iterator[str]:
    lost = [entry for entry in world.ledger.agent_log(BOOK, 1000) if "is replaced" in str(entry["message"])]
    if lost:
        yield f"a rotation was taken for a failure: {lost[0]['message']}"


def _expiring(seed: int, rng: np.random.Generator) -> WorldSpec:
    at_s = (float(rng.uniform(59.9, 60.4)) + 60.0 * int(rng.integers(0, 3)), float(rng.uniform(10.0, 290.0)))
    return calm_world(seed, rng, FaultPlan(key_expiries=at_s))


async def _revise(world: World) -> None:
    """Closed bars come again, altered."""
    rng = np.random.default_rng([world.spec.seed, 11])
    while True:
        await asyncio.sleep(float(rng.uniform(10.0, 40.0)))
        now_ms = world.venue.now_ms
        for link in world.venue.streams.market_links:
            for name in link.names:
                for event in world.venue.streams.events(name, now_ms - world.spec.interval.ms, now_ms):
                    if event["e"] == "kline" and event["k"]["x"]:
                        altered = {**event["k"], "c": event["k"]["h"], "v": "1.5"}
                        link.push({**event, "k": altered})


def _late(seed: int, rng: np.random.Generator) -> WorldSpec:
    return calm_world(seed, rng, FaultPlan(Rates(delay=0.5, drop=0.2), until_s=300.0))


def _skewed(seed: int, rng: np.random.Generator) -> WorldSpec:
    by_ms = int(rng.choice([-9000, -4000, -1500, 1500, 4000, 9000]))
    return calm_world(seed, rng, FaultPlan(jumps=((float(rng.uniform(20.0, 200.0)), by_ms),)))


def _far_off(seed: int, rng: np.random.Generator) -> WorldSpec:
    by_ms = int(rng.choice([-60_000, 60_000, 3_600_000]))
    return calm_world(seed, rng, FaultPlan(jumps=((70.0, by_ms),)))


def _nothing_placed(world: World) -> Iterator[str]:
    account, since_ms = world.venue.desk.engine.core.account, world.spec.start_ms + 75_000
    triggered = {algo.order_id for algo in account.algos.values()}
    late = [row.client_id for row in account.orders.values() if row.created_ms > since_ms and row.id not in triggered]
    late += [row.client_id for row in account.algos.values() if row.created_ms > since_ms]
    if late:
        yield f"{late[0]} was placed with a clock that is wrong by more than the limit"


def _frozen_bars(seed: int, rng: np.random.Generator) -> WorldSpec:
    shape = MarketShape(sigma=0.001, jump_rate=0.0, gap_rate=0.05, frozen_rate=0.15)
    return replace(calm_world(seed, rng), symbols=("BTCUSDT", "ETHUSDT", "SOLUSDT"), shape=shape, bars=8)


SCENARIOS = (
    Scenario(
        "disorderly-messages",
        "Duplicate or out-of-order messages",
        "fills keyed by symbol and trade id, cumulative quantities, states only move forward",
        _disorderly,
        struck,
    ),
    Scenario(
        "lost-messages",
        "Messages are lost, connections break off",
        "orders and positions are reconciled by REST before the stream is believed again",
        _lossy,
        struck,
    ),
    Scenario(
        "stale-market-stream",
        "The market stream is silently stale",
        "found out by its data and a REST probe; reconnected, backfilled; no entries meanwhile",
        _silent(Part.MARKET_STREAM, Part.STREAMS),
        _decided,
    ),
    Scenario(
        "stale-user-stream",
        "The user stream is silently stale",
        "an execution without a word proves it; reconnected and reconciled",
        _silent(Part.USER_STREAM),
        _decided,
    ),
    Scenario(
        "quiet-market",
        "Nothing is traded for a while",
        "told from a dead stream; bars that do not exist are not decided",
        _quiet_market,
    ),
    Scenario(
        "rotated-connection",
        "A connection at its 24 h limit",
        "rotated with overlap before it; nothing is missed, nothing is doubled",
        _rotating,
        _not_reconnected,
    ),
    Scenario(
        "listen-key-expired",
        "The listen key has expired",
        "a new key, then a snapshot of orders and positions before events are trusted",
        _expiring,
        _decided,
    ),
    Scenario(
        "revised-candle",
        "A closed candle comes again with other prices",
        "one decision for each bar: the first word stands",
        lambda seed, rng: calm_world(seed, rng),
        acts=(_revise,),
    ),
    Scenario(
        "late-candle",
        "Candles come late or not at all",
        "fetched by REST after a short patience; too old is recorded and not traded",
        _late,
        struck,
    ),
    Scenario(
        "clock-skew",
        "The machine's clock jumps by seconds (-1021)",
        "the venue's time is taken over, the request is sent once more",
        _skewed,
        _decided,
    ),
    Scenario(
        "clock-far-off",
        "The machine's clock is wrong by more than the limit",
        "the venue refuses the first request, nothing is placed any more, a person is told",
        _far_off,
        _nothing_placed,
    ),
    Scenario(
        "frozen-bars",
        "A symbol's bars freeze or are missing",
        "frozen bars are not data; one dead symbol does not block the others",
        _frozen_bars,
    ),
)
