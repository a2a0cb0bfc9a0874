"""What happens to the account without us: funding, strangers, liquidation, deleveraging."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from cloudrun.simulation.scenarios.base import Scenario, calm_world, halts
from cloudrun.simulation.spec import BOOK, WorldSpec
from cloudrun.simulation.world import World
from shared.domain.interval import HOUR_MS, MINUTE_MS
from shared.domain.records import HaltKind

STRANGER = "a stranger"


def _over_funding(seed: int, rng: np.random.Generator) -> WorldSpec:
    spec = calm_world(seed, rng)
    return replace(spec, start_ms=spec.start_ms + 8 * HOUR_MS - 3 * MINUTE_MS)


def _funding_booked(world: World) -> Iterator[str]:
    paid = [row for row in world.venue.desk.engine.core.account.income if row.kind == "FUNDING_FEE"]
    booked = world.ledger.funding(BOOK)
    if len(paid) != len(booked):
        yield f"the venue settled {len(paid)} funding payments, the ledger has {len(booked)}"


async def _foreign_order(world: World) -> None:
    """A person places a limit order by hand."""
    await asyncio.sleep(float(np.random.default_rng([world.spec.seed, 21]).uniform(20.0, 200.0)))
    symbol = world.spec.symbols[0]
    price = f"{world.venue.desk.engine.core.price(symbol) * 3 / 4:.1f}"
    order = {"symbol": symbol, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": price}
    world.act_as(STRANGER, "order", {**order, "newClientOrderId": "by-hand"})


async def _foreign_position(world: World) -> None:
    """A person trades by hand."""
    await asyncio.sleep(float(np.random.default_rng([world.spec.seed, 22]).uniform(20.0, 200.0)))
    order = {"symbol": world.spec.symbols[0], "side": "BUY", "type": "MARKET", "quantity": "0.013"}
    world.act_as(STRANGER, "order", {**order, "newClientOrderId": "by-hand"})


def _is_frozen(world: World) -> Iterator[str]:
    symbol = world.spec.symbols[0]
    if not any(halt.symbol == symbol for halt in halts(world, HaltKind.FROZEN)):
        yield f"{symbol} is not frozen"
    others = [halt.symbol for halt in halts(world, HaltKind.FROZEN) if halt.symbol != symbol]
    if others:
        yield f"{others} are frozen as well"


async def _liquidation(world: World) -> None:
    """The venue closes a position by itself."""
    await _closed_by_venue(world, "autoclose-1751328000000")


async def _deleveraging(world: World) -> None:
    """The venue takes a position for another account."""
    await _closed_by_venue(world, "adl_autoclose")


async def _closed_by_venue(world: World, client_id: str) -> None:
    rng = np.random.default_rng([world.spec.seed, 23])
    symbol, core = world.spec.symbols[0], world.venue.desk.engine.core
    await asyncio.sleep(float(rng.uniform(70.0, 200.0)))
    await world.until(lambda: bool(core.account.positions[symbol].quantity), 300.0)
    held = core.account.positions[symbol].quantity
    order = {"symbol": symbol, "side": "SELL" if held > 0 else "BUY", "type": "MARKET", "quantity": str(abs(held))}
    world.act_as("the venue", "order", {**order, "reduceOnly": "true", "newClientOrderId": client_id})


def _latched(world: World) -> Iterator[str]:
    symbol = world.spec.symbols[0]
    if not any("by itself" in halt.reason for halt in halts(world) if halt.symbol == symbol):
        yield f"{symbol} was closed by the venue and is not latched"


SCENARIOS = (
    Scenario("funding", "Funding is settled", "own ledger entries; the equity identity holds", _over_funding, _funding_booked),
    Scenario(
        "foreign-order",
        "A foreign order on the account",
        "its symbol freezes, a person is told",
        lambda s, r: calm_world(s, r),
        _is_frozen,
        (_foreign_order,),
    ),
    Scenario(
        "foreign-position",
        "A foreign position on the account",
        "its symbol freezes with the exact difference",
        lambda s, r: calm_world(s, r),
        _is_frozen,
        (_foreign_position,),
    ),
    Scenario(
        "liquidation",
        "Liquidation (autoclose-)",
        "recognised, booked, the symbol latched",
        lambda s, r: calm_world(s, r),
        _latched,
        (_liquidation,),
    ),
    Scenario(
        "deleveraging",
        "Automatic deleveraging (adl_autoclose)",
        "recognised, booked, the symbol latched",
        lambda s, r: calm_world(s, r),
        _latched,
        (_deleveraging,),
    ),
)
