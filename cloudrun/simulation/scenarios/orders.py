"""Failures of single orders: lost answers, refusals, parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import numpy as np

from cloudrun.exchange.depth import Depth
from cloudrun.simulation.faults import Effect, FaultPlan, Rule
from cloudrun.simulation.network import EXECUTED, Sent
from cloudrun.simulation.scenarios.base import Make, Scenario, calm_world, halts, order, struck
from cloudrun.simulation.spec import BOOK, WorldSpec
from cloudrun.simulation.world import World
from shared.domain.orders import OrderState
from shared.domain.records import HaltKind

ORDER, STOP = "POST /fapi/v1/order", "POST /fapi/v1/algoOrder"
LONGEST_BARE_S = 30.0
"""the deadline, a lost answer's time-out, and a look at the market"""
UNKNOWN = (
    Effect.NO_ANSWER,
    Effect.CUT,
    Effect.UNKNOWN,
    Effect.TIMED_OUT,
    Effect.CUT_BEFORE,
    Effect.GATEWAY,
    Effect.LOST,
)


def hitting(match: str, *effects: Effect, times: int = 1) -> Make:
    """One of the first orders meets one of `effects`."""

    def make(seed: int, rng: np.random.Generator) -> WorldSpec:
        effect = effects[int(rng.integers(len(effects)))]
        rule = Rule(match, effect, skip=int(rng.integers(0, 3)), times=times)
        return calm_world(seed, rng, FaultPlan(rules=(rule,)))

    return make


def hit(world: World) -> list[Sent]:
    """Orders that met a fault."""
    return [sent for sent in world.network.sent if sent.method == "POST" and sent.effect is not Effect.NONE]


def _settled(world: World) -> Iterator[str]:
    """What was executed is booked; what was not is sent again under its id, or given up."""
    yield from struck(world)
    for sent in hit(world):
        record = order(world, sent.client_id)
        if not record.state.is_final and record.state is not OrderState.OPEN:
            yield f"{sent.client_id} ({sent.effect}) is still {record.state}"
        if sent.effect in EXECUTED and record.state in (OrderState.ABANDONED, OrderState.REJECTED):
            yield f"{sent.client_id} was executed ({sent.effect}), the ledger calls it {record.state}"


def _refused_once(world: World) -> Iterator[str]:
    """A refusal is final: the same order is not sent again."""
    yield from struck(world)
    for sent in hit(world):
        record = order(world, sent.client_id)
        if record.state is not OrderState.REJECTED:
            yield f"{sent.client_id} was refused ({sent.effect}), the ledger calls it {record.state}"
        times = sum(1 for other in world.network.sent if other.client_id == sent.client_id and other.method == "POST")
        if times != 1:
            yield f"{sent.client_id} was sent {times} times"


def _not_hurried(world: World) -> Iterator[str]:
    """Nothing is sent while the venue asks to wait; the refused order is not repeated blindly."""
    yield from struck(world)
    for sent in hit(world):
        again = [other.at_s for other in world.network.sent if other.client_id == sent.client_id and other.at_s > sent.at_s]
        if any(at_s - sent.at_s < 1.0 for at_s in again):
            yield f"{sent.client_id} was sent again at once after {sent.effect}"


def _frozen(world: World) -> Iterator[str]:
    """What cannot be found out freezes its symbol, and nothing new is opened there."""
    yield from struck(world)
    if not halts(world, HaltKind.FROZEN):
        yield "nothing was frozen although an order could not be looked up"


def _parts(world: World) -> Iterator[str]:
    trades = world.venue.desk.engine.core.account.trades
    if len({trade.order_id for trade in trades}) == len(trades):
        yield "no order was filled in parts"
    booked = {fill.trade_id for fill in world.ledger.fills(BOOK)}
    missing = [trade.id for trade in trades if str(trade.id) not in booked]
    if missing:
        yield f"executions {missing} are not booked"


def _protected_or_closed(world: World) -> Iterator[str]:
    """Whatever fails: no position stays without a stop for much longer than the deadline."""
    yield from struck(world)
    if world.watch.longest_bare_s > LONGEST_BARE_S:
        yield f"a position was without its stop for {world.watch.longest_bare_s:.0f} s"


def _in_parts(seed: int, rng: np.random.Generator) -> WorldSpec:
    spec = calm_world(seed, rng)
    return replace(spec, depth=Depth(Decimal(int(rng.choice([250, 600, 1500])))))


def _parts_and_lost_answers(seed: int, rng: np.random.Generator) -> WorldSpec:
    rule = Rule(ORDER, UNKNOWN[int(rng.integers(4))], skip=int(rng.integers(0, 3)), times=2)
    return replace(_in_parts(seed, rng), plan=FaultPlan(rules=(rule,)))


def _unanswerable(seed: int, rng: np.random.Generator) -> WorldSpec:
    """An order that has left no trace (what was executed is told by the executions), and nobody who answers for it."""
    lost = Rule(ORDER, (Effect.LOST, Effect.CUT_BEFORE)[int(rng.integers(2))], skip=int(rng.integers(0, 3)))
    silent = Rule("GET /fapi/v1/order", Effect.GATEWAY, times=150)
    return replace(calm_world(seed, rng, FaultPlan(rules=(lost, silent))), bars=12)


SCENARIOS = (
    Scenario(
        "outcome-unknown",
        "Timeout, 5xx, -1006, -1007 or disconnect after an order was sent",
        "queried by client id; sent again only under the same id and after two denials; never doubled, never lost",
        hitting(ORDER, *UNKNOWN),
        _settled,
    ),
    Scenario(
        "never-sent",
        "No connection to the venue when an order is to be sent",
        "the intent stays, is looked up, and is sent while its bar is fresh, else given up",
        hitting(ORDER, Effect.REFUSED, times=2),
        struck,
    ),
    Scenario(
        "duplicate-id",
        "The venue calls the client id a duplicate (-4116)",
        "the order exists: it is looked up and booked",
        hitting(ORDER, Effect.DUPLICATE),
        _settled,
    ),
    Scenario(
        "stop-outcome-unknown",
        "The answer to a protective stop is lost",
        "looked up by client id; the position is protected within the deadline or closed",
        hitting(STOP, *UNKNOWN),
        _protected_or_closed,
    ),
    Scenario(
        "throttled-order",
        "429 or 418 in answer to an order",
        "no blind retry; nothing is sent until the venue's Retry-After is over",
        hitting(ORDER, Effect.THROTTLED, Effect.BANNED),
        _not_hurried,
    ),
    Scenario(
        "unanswerable",
        "An order's fate cannot be established",
        "after a bounded number of questions the symbol is frozen and a person is told",
        _unanswerable,
        _frozen,
    ),
    Scenario(
        "margin-insufficient",
        "Insufficient margin (-2019)",
        "final for that order, never shrunk in a loop",
        hitting(ORDER, Effect.MARGIN),
        _refused_once,
    ),
    Scenario(
        "filter-violated",
        "Precision or filter (-1111, -1013, -4164)",
        "final, a person is told, the venue's rules are asked for again",
        hitting(ORDER, Effect.FILTER),
        _refused_once,
    ),
    Scenario(
        "reduce-only-rejected",
        "reduceOnly rejected (-2022, -4118)",
        "the position is read again; the books follow the venue, orphan stops are cancelled",
        hitting(ORDER, Effect.REDUCE_ONLY),
        struck,
    ),
    Scenario(
        "partial-fills",
        "Orders fill in parts, and their rest expires",
        "position = sum of fills; the stop is resized to what is held; dust is recorded",
        _in_parts,
        _parts,
    ),
    Scenario(
        "partial-fills-lost-answers",
        "Orders fill in parts while their answers are lost",
        "nothing is booked twice, nothing is forgotten",
        _parts_and_lost_answers,
        struck,
    ),
    Scenario(
        "stop-refused",
        "A protective stop cannot be placed",
        "the leg is closed when the deadline is over",
        hitting(STOP, Effect.FILTER, times=1_000),
        _protected_or_closed,
    ),
)
