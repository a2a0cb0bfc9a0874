"""Refusals: margin, filters, nothing to reduce. Each is final for its order, and what it calls into question is asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from cloudrun.simulation.analyst import Habits
from cloudrun.simulation.faults import Effect, FaultPlan, Part, Window
from cloudrun.simulation.scenarios.account import closed_by_venue
from cloudrun.simulation.scenarios.base import Scenario, calm_world
from cloudrun.simulation.scenarios.checks import (
    ACCOUNT,
    ORDER,
    RULES,
    asked,
    hit,
    is_flat,
    last_opinion_s,
    order,
    struck,
    untold,
)
from cloudrun.simulation.scenarios.orders import hitting, posted
from cloudrun.simulation.spec import BOOK, WorldSpec
from cloudrun.simulation.world import World
from shared.domain.orders import OrderKind, OrderState

ASKED_AGAIN_S = 20.0
"""within this time a trader that looks every 7.5 s asks again about what a refusal has called into question"""


def _refused_once(world: World) -> Iterator[str]:
    """A refusal is final: neither the same order nor a smaller one of the same decision is sent."""
    yield from struck(world)
    for sent in hit(world):
        record = order(world, sent.client_id)
        if record.state is not OrderState.REJECTED:
            yield f"{sent.client_id} was refused ({sent.effect}), the ledger calls it {record.state}"
        entries = [
            o for o in world.ledger.orders(BOOK, decision_id=record.intent.decision_id) if o.intent.kind is OrderKind.MARKET
        ]
        times = sum(len(posted(world, entry.intent.client_id)) for entry in entries)
        if times != 1:
            yield f"the decision of {sent.client_id} was sent {times} times"


def _asked_again(world: World, what: str) -> Iterator[str]:
    for sent in hit(world):
        if not asked(world, what, sent.at_s, sent.at_s + ASKED_AGAIN_S):
            yield f"{what} was not asked again within {ASKED_AGAIN_S:.0f} s of the refusal"


def _no_margin(world: World) -> Iterator[str]:
    yield from _refused_once(world)
    yield from _asked_again(world, ACCOUNT)


def _off_the_grid(world: World) -> Iterator[str]:
    yield from _refused_once(world)
    yield from _asked_again(world, RULES)
    yield from untold(world, "was refused")


def _nothing_to_reduce(seed: int, rng: np.random.Generator) -> WorldSpec:
    """The position is gone, nobody says so, and the next decision is to leave it."""
    spec = replace(calm_world(seed, rng), symbols=("BTCUSDT",), habits=Habits(always=1.0, size=0.4, flat_at_end=True))
    exit_s = (spec.bars + spec.quiet_bars - 2) * spec.interval.ms / 1000
    return replace(spec, plan=FaultPlan(windows=(Window(Part.USER_STREAM, exit_s - 50.0, exit_s + 80.0),)))


async def _gone_unheard(world: World) -> None:
    await asyncio.sleep(last_opinion_s(world) - float(np.random.default_rng([world.spec.seed, 32]).uniform(5.0, 40.0)))
    if not is_flat(world):  # its own stop may have been executed, as unheard
        closed_by_venue(world, "autoclose-1751328000001")
    await asyncio.sleep(last_opinion_s(world) + ASKED_AGAIN_S - world.loop.time())
    symbol, account = world.spec.symbols[0], world.venue.desk.engine.core.account
    known = world.ledger.positions(BOOK).get(symbol)
    if known is None or known.quantity:
        world.story.violate(f"the ledger still holds {symbol} {ASKED_AGAIN_S:.0f} s after there was nothing to reduce")
    if any(stop.symbol == symbol for stop in account.open_algos.values()):
        world.story.violate(f"a stop of {symbol} was left behind {ASKED_AGAIN_S:.0f} s after there was nothing to reduce")


def _refused_to_reduce(world: World) -> Iterator[str]:
    refused = [record for record in world.ledger.orders(BOOK) if record.state is OrderState.REJECTED]
    if not any(record.intent.reduce_only for record in refused) and not asked(
        world, ACCOUNT, last_opinion_s(world) - 45.0, last_opinion_s(world)
    ):
        yield "no reduce-only order was refused, and the account was not asked before it either"


SCENARIOS = (
    Scenario(
        "margin-insufficient",
        "Insufficient margin (-2019)",
        "final for that order, never shrunk in a loop; the account is asked again",
        hitting(ORDER, Effect.MARGIN),
        _no_margin,
    ),
    Scenario(
        "filter-violated",
        "Precision or filter (-1111, -1013, -4164)",
        "final, a person is told, the venue's rules are asked for again",
        hitting(ORDER, Effect.FILTER),
        _off_the_grid,
    ),
    Scenario(
        "reduce-only-rejected",
        "reduceOnly rejected (-2022, -4118): the position is gone and nobody has said so",
        "the position is read again; within 20 s the books are closed and no stop is left behind",
        _nothing_to_reduce,
        _refused_to_reduce,
        (_gone_unheard,),
    ),
)
