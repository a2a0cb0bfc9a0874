"""What happens to the account without us: funding, fees, strangers, liquidation, deleveraging."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np

from cloudrun.simulation.faults import FaultPlan, Part, Window
from cloudrun.simulation.scenarios.base import Check, Scenario, calm_world
from cloudrun.simulation.scenarios.checks import bare, halts, unbooked, undecided, untold
from cloudrun.simulation.spec import BOOK, Mode, WorldSpec
from cloudrun.simulation.world import World
from shared.domain.interval import HOUR_MS, MINUTE_MS
from shared.domain.records import HaltKind

STRANGER = "a stranger"
UNREADABLE, UNREADABLE_S = "ETHUSDT", (115.0, 325.0)
FOUND_S = 20.0
"""within this time a stream tells of a stranger; at the start it takes less"""
SCHEDULE_SLACK_S = 20.0
FOREIGN = Decimal("0.013")


def _over_funding(seed: int, rng: np.random.Generator) -> WorldSpec:
    spec = calm_world(seed, rng)
    return replace(spec, start_ms=spec.start_ms + 8 * HOUR_MS - 3 * MINUTE_MS)


def _funding_booked(world: World) -> Iterator[str]:
    paid = [row for row in world.venue.desk.engine.core.account.income if row.kind == "FUNDING_FEE"]
    booked = world.ledger.funding(BOOK)
    if len(paid) != len(booked):
        yield f"the venue settled {len(paid)} funding payments, the ledger has {len(booked)}"


def _one_unreadable(seed: int, rng: np.random.Generator) -> WorldSpec:
    silent = Window(Part.USER_STREAM, UNREADABLE_S[0], UNREADABLE_S[1])
    spec = calm_world(seed, rng, FaultPlan(windows=(silent,)))
    return replace(spec, symbols=("BTCUSDT", "ETHUSDT"), bars=8, mode=(Mode.STREAM, Mode.SCHEDULE)[seed % 2])


async def _garble_one(world: World) -> None:
    """Executions of one symbol cannot be read for a while; those of the other one can."""

    def garbled(answer: Any) -> Any:
        return [{**row, "side": "?", "qty": "?"} if row["symbol"] == UNREADABLE else row for row in answer]

    path = "/fapi/v1/userTrades"
    await asyncio.sleep(UNREADABLE_S[0])
    world.venue.altered[path] = garbled
    await asyncio.sleep(UNREADABLE_S[1] - UNREADABLE_S[0])
    del world.venue.altered[path]


def _others_go_on(world: World) -> Iterator[str]:
    yield from bare(world)
    yield from undecided(world)
    yield from unbooked(world)
    since_s, until_s = UNREADABLE_S
    filled_s = [(fill.time_ms - world.spec.start_ms) / 1000 for fill in world.ledger.fills(BOOK) if fill.symbol != UNREADABLE]
    if world.spec.mode is Mode.STREAM and not any(since_s + 60.0 < at_s < until_s for at_s in filled_s):
        yield f"nothing was traded while the executions of {UNREADABLE} could not be read"


def _fees_elsewhere(seed: int, rng: np.random.Generator) -> WorldSpec:
    from_s = float(rng.choice([59.0, 119.0]))
    spec = replace(calm_world(seed, rng), symbols=("BTCUSDT",))
    return replace(spec, plan=FaultPlan(foreign_fees=((from_s, True), (from_s + 61.5, False))))


def _fees_told(world: World) -> Iterator[str]:
    yield from unbooked(world)
    yield from bare(world)
    (from_s, _), (until_s, _) = world.spec.plan.foreign_fees
    executed_s = [(trade.time_ms - world.spec.start_ms) / 1000 for trade in world.venue.desk.engine.core.account.trades]
    if not any(from_s < at_s < until_s for at_s in executed_s):
        return  # no fee was taken meanwhile
    yield from untold(world, "BNB")
    if not any("BNB" in halt.reason for halt in halts(world, HaltKind.FROZEN)):
        yield "a fee in another currency has not frozen its symbol"


def _stranger_comes(seed: int, rng: np.random.Generator) -> WorldSpec:
    """Before the start; while the user stream lives; or while it is silent, and only the schedule can find out."""
    spec = calm_world(seed, rng)
    return replace(spec, plan=FaultPlan(windows=(Window(Part.USER_STREAM, 15.0, 290.0),))) if seed % 3 == 2 else spec


async def _comes(world: World, what: str, order: dict[str, str]) -> None:
    """A stranger acts, and is found in time."""
    rng, way = np.random.default_rng([world.spec.seed, 21]), world.spec.seed % 3
    at_s, found_s = (0.0, FOUND_S) if way == 0 else (float(rng.uniform(20.0, 200.0)), FOUND_S)
    if way == 2:
        at_s, found_s = 20.0, world.spec.trader.reconcile_s + SCHEDULE_SLACK_S
    await asyncio.sleep(at_s)
    world.story.tell(f"a stranger leaves a {what}")
    world.act_as(STRANGER, "order", {**order, "symbol": world.spec.symbols[0], "newClientOrderId": "by-hand"})
    if not await world.until(lambda: any(halts(world, HaltKind.FROZEN)), found_s):
        world.story.violate(f"a foreign {what} was not found within {found_s:.0f} s")


async def _foreign_order(world: World) -> None:
    """A person places a limit order by hand."""
    price = f"{world.venue.desk.engine.core.price(world.spec.symbols[0]) * 3 / 4:.1f}"
    order = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": str(FOREIGN), "price": price}
    await _comes(world, "order", order)


async def _foreign_position(world: World) -> None:
    """A person trades by hand; in the first way that was before the book began, and no execution tells of it."""
    if world.spec.seed % 3 == 0:
        symbol, core = world.spec.symbols[0], world.venue.desk.engine.core
        world.watch.strangers.add(STRANGER)
        core.account.positions[symbol].apply(FOREIGN, core.price(symbol), world.venue.now_ms)
        if not await world.until(lambda: any(halts(world, HaltKind.FROZEN)), FOUND_S):
            world.story.violate(f"a foreign position was not found within {FOUND_S:.0f} s")
        return
    await _comes(world, "position", {"side": "BUY", "type": "MARKET", "quantity": str(FOREIGN)})


def _is_frozen(*words: str) -> Check:
    def check(world: World) -> Iterator[str]:
        symbol = world.spec.symbols[0]
        yield from untold(world, symbol, "frozen", *words)
        if not any(halt.symbol == symbol for halt in halts(world, HaltKind.FROZEN)):
            yield f"{symbol} is not frozen"
        others = [halt.symbol for halt in halts(world, HaltKind.FROZEN) if halt.symbol != symbol]
        if others:
            yield f"{others} are frozen as well"

    return check


async def _liquidation(world: World) -> None:
    """The venue closes a position by itself."""
    await _closed(world, "autoclose-1751328000000")


async def _deleveraging(world: World) -> None:
    """The venue takes a position for another account."""
    await _closed(world, "adl_autoclose")


async def _closed(world: World, client_id: str) -> None:
    positions = world.venue.desk.engine.core.account.positions
    await asyncio.sleep(float(np.random.default_rng([world.spec.seed, 23]).uniform(70.0, 200.0)))
    await world.until(lambda: bool(positions[world.spec.symbols[0]].quantity), 300.0)
    closed_by_venue(world, client_id)


def closed_by_venue(world: World, client_id: str) -> None:
    """The venue closes the position of the first symbol, under one of its own client ids."""
    symbol = world.spec.symbols[0]
    held = world.venue.desk.engine.core.account.positions[symbol].quantity
    order = {"symbol": symbol, "side": "SELL" if held > 0 else "BUY", "type": "MARKET", "quantity": str(abs(held))}
    world.act_as("the venue", "order", {**order, "reduceOnly": "true", "newClientOrderId": client_id})


def _latched(world: World) -> Iterator[str]:
    symbol = world.spec.symbols[0]
    yield from untold(world, symbol, "by itself")
    if not any("by itself" in halt.reason for halt in halts(world) if halt.symbol == symbol):
        yield f"{symbol} was closed by the venue and is not latched"


def _calm(seed: int, rng: np.random.Generator) -> WorldSpec:
    return calm_world(seed, rng)


SCENARIOS = (
    Scenario(
        "one-unreadable-symbol",
        "What the venue says about one symbol cannot be read, for minutes",
        "nothing is opened in it and what is bare of it is closed; the other symbols are decided, traded and protected",
        _one_unreadable,
        _others_go_on,
        (_garble_one,),
    ),
    Scenario("funding", "Funding is settled", "own ledger entries; the equity identity holds", _over_funding, _funding_booked),
    Scenario(
        "fees-in-another-currency",
        "Fees are taken in another currency (BNB)",
        "the execution is booked and protected all the same; its symbol freezes, a person is told the amount",
        _fees_elsewhere,
        _fees_told,
    ),
    Scenario(
        "foreign-order",
        "A foreign order on the account",
        "found at the start, by the stream, or on schedule where the stream is silent; its symbol freezes, a person is told",
        _stranger_comes,
        _is_frozen("foreign order"),
        (_foreign_order,),
    ),
    Scenario(
        "foreign-position",
        "A foreign position on the account",
        "found at the start, by the stream, or on schedule; its symbol freezes, a person is told the exact difference",
        _stranger_comes,
        _is_frozen(str(FOREIGN)),
        (_foreign_position,),
    ),
    Scenario(
        "liquidation",
        "Liquidation (autoclose-)",
        "recognised, booked, the symbol latched, a person told",
        _calm,
        _latched,
        (_liquidation,),
    ),
    Scenario(
        "deleveraging",
        "Automatic deleveraging (adl_autoclose)",
        "recognised, booked, the symbol latched, a person told",
        _calm,
        _latched,
        (_deleveraging,),
    ),
)
