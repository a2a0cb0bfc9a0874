"""Failures of single orders: lost answers, late executions, a venue that asks to wait, parts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import numpy as np

from cloudrun.exchange.depth import Depth
from cloudrun.simulation.faults import Effect, FaultPlan, Rule
from cloudrun.simulation.network import EXECUTED, Sent
from cloudrun.simulation.scenarios.base import Make, Scenario, at_pace, calm_world, quickly
from cloudrun.simulation.scenarios.checks import (
    EVER,
    ORDER,
    asked,
    halts,
    hit,
    opened,
    order,
    struck,
    unbooked,
    undecided,
    untold,
)
from cloudrun.simulation.spec import BOOK, WorldSpec
from cloudrun.simulation.world import World
from shared.domain.money import ZERO
from shared.domain.orders import OrderKind, OrderState
from shared.domain.records import Halt, HaltKind
from shared.trading.legs import REST

TAKEN = (Effect.NO_ANSWER, Effect.CUT, Effect.UNKNOWN, Effect.TIMED_OUT)
NOT_TAKEN = (Effect.CUT_BEFORE, Effect.GATEWAY, Effect.LOST)
UNKNOWN = (*TAKEN, *NOT_TAKEN)
"""what leaves the sender without an answer, whether the venue has executed it or not"""


def hitting(match: str, *effects: Effect, times: int = 1) -> Make:
    """One of the first orders meets one of `effects`."""

    def make(seed: int, rng: np.random.Generator) -> WorldSpec:
        effect = effects[int(rng.integers(len(effects)))]
        rule = Rule(match, effect, skip=int(rng.integers(0, 3)), times=times)
        return calm_world(seed, rng, FaultPlan(rules=(rule,)))

    return make


def _lost_and_found(seed: int, rng: np.random.Generator) -> WorldSpec:
    """Two of the first orders have no answer: one of them was never taken, the other one was."""
    missing, taken = rng.permutation(4)[:2]
    rules = (
        Rule(ORDER, NOT_TAKEN[int(rng.integers(len(NOT_TAKEN)))], skip=int(missing)),
        Rule(ORDER, TAKEN[int(rng.integers(len(TAKEN)))], skip=int(taken)),
    )
    return at_pace(calm_world(seed, rng, FaultPlan(rules=rules)))


def _late(seed: int, rng: np.random.Generator) -> WorldSpec:
    return at_pace(hitting(ORDER, Effect.LATE)(seed, rng))


def settled(world: World) -> Iterator[str]:
    """What was executed is booked; what was not is sent again under its id, or given up, only after two denials."""
    yield from struck(world)
    yield from unbooked(world)
    for sent in hit(world):
        record = order(world, sent.client_id)
        if not record.state.is_final and record.state is not OrderState.OPEN:
            yield f"{sent.client_id} ({sent.effect}) is still {record.state}"
        if sent.effect in EXECUTED and record.state in (OrderState.ABANDONED, OrderState.REJECTED):
            yield f"{sent.client_id} was executed ({sent.effect}), the ledger calls it {record.state}"
        again = [other.at_s for other in posted(world, sent.client_id) if other.at_s > sent.at_s]
        if again and sent.effect in EXECUTED:
            yield f"{sent.client_id} was executed ({sent.effect}) and sent again"
        given_up = record.state is OrderState.ABANDONED
        if (again or given_up) and not _is_denied(world, sent, min(again, default=EVER)):
            yield f"{sent.client_id} ({sent.effect}) was sent again or given up without two denials far enough apart"


def _is_denied(world: World, sent: Sent, until_s: float) -> bool:
    """Whether the venue was asked about an order twice, with the grace period between."""
    questions = asked(world, "GET", sent.at_s, until_s, sent.client_id)
    return bool(questions) and questions[-1].at_s - questions[0].at_s >= world.spec.execution.resend_grace_s


def posted(world: World, client_id: str) -> list[Sent]:
    """Each time an order was put on the wire."""
    return asked(world, "POST", client_id=client_id)


def _sent_while_fresh(world: World) -> Iterator[str]:
    """What found no connection goes out later, or is given up because its bar is too old."""
    yield from struck(world)
    for sent in hit(world):
        record = order(world, sent.client_id)
        if record.state is OrderState.ABANDONED and "too long to be sent now" not in record.reason:
            yield f"{sent.client_id} was given up while its bar was fresh: {record.reason}"


def _waited(world: World) -> Iterator[str]:
    """The refused order is not repeated blindly (that nothing is sent meanwhile is an invariant), and trading goes on."""
    yield from struck(world)
    yield from undecided(world, since_s=300.0)
    for sent in hit(world):
        if any(other.at_s - sent.at_s < 1.0 for other in posted(world, sent.client_id) if other.at_s > sent.at_s):
            yield f"{sent.client_id} was sent again at once after {sent.effect}"


def _frozen(world: World) -> Iterator[str]:
    """What cannot be found out freezes its symbol, a person is told, and nothing new is opened there."""
    yield from struck(world)
    yield from untold(world, "could not be established")
    for halt in (halt for halt in halts(world, HaltKind.FROZEN) if "could not be established" in halt.reason):
        since_s = (halt.since_ms - world.spec.start_ms) / 1000
        late = [sent for sent in opened(world, since_s) if order(world, sent.client_id).intent.symbol == halt.symbol]
        if late:
            yield f"{late[0].client_id} was sent although {halt.symbol} is frozen"
        return
    yield "nothing was frozen although an order could not be looked up"


def _remainders(world: World) -> Iterator[str]:
    yield from _parts(world)
    records = [record for record in world.ledger.orders(BOOK) if record.intent.kind is OrderKind.MARKET]
    partly = [record for record in records if record.state.is_final and ZERO < record.filled < record.intent.quantity]
    if partly and not any(record.intent.leg.startswith(REST) for record in records):
        yield f"what {partly[0].intent.client_id} left unfilled was never ordered again"


def _parts(world: World) -> Iterator[str]:
    trades = world.venue.desk.engine.core.account.trades
    if len({trade.order_id for trade in trades}) == len(trades):
        yield "no order was filled in parts"
    yield from unbooked(world)


def _parts_settled(world: World) -> Iterator[str]:
    yield from _parts(world)
    yield from settled(world)


def _in_parts(seed: int, rng: np.random.Generator) -> WorldSpec:
    spec = calm_world(seed, rng)
    return replace(spec, depth=Depth(Decimal(int(rng.choice([250, 600, 1500])))))


def _parts_and_lost_answers(seed: int, rng: np.random.Generator) -> WorldSpec:
    rule = Rule(ORDER, TAKEN[int(rng.integers(len(TAKEN)))], skip=int(rng.integers(0, 3)), times=2)
    return replace(_in_parts(seed, rng), plan=FaultPlan(rules=(rule,)))


def _unanswerable(seed: int, rng: np.random.Generator) -> WorldSpec:
    """An order that has left no trace (what was executed is told by the executions), and nobody who answers for it."""
    lost = Rule(ORDER, (Effect.LOST, Effect.CUT_BEFORE)[int(rng.integers(2))], skip=int(rng.integers(0, 3)))
    silent = Rule("GET /fapi/v1/order", Effect.GATEWAY, times=150)
    return replace(calm_world(seed, rng, FaultPlan(rules=(lost, silent))), bars=12)


async def _stop_risk(world: World) -> None:
    """A person halts the book while an order is on its way: what is not known to be taken would be given up."""
    await quickly(lambda: bool(hit(world)), 400.0)
    await asyncio.sleep(float(np.random.default_rng([world.spec.seed, 31]).choice([0.0, 0.02, 0.04, 1.0, 3.0])))
    world.ledger.set_halt(Halt(BOOK, "a person looks at something", world.clock.now_ms(), None, kind=HaltKind.FROZEN))


SCENARIOS = (
    Scenario(
        "outcome-unknown",
        "Timeout, 5xx, -1006, -1007 or disconnect after an order was sent",
        "queried by client id; sent again only under the same id and after two denials 4 s apart; never doubled, never lost",
        _lost_and_found,
        settled,
    ),
    Scenario(
        "late-execution",
        "The venue executes an order seconds after the answer was lost",
        "it counts as missing only when the venue can no longer take it: never given up and executed all the same",
        _late,
        settled,
        (_stop_risk,),
    ),
    Scenario(
        "never-sent",
        "No connection to the venue when an order is to be sent",
        "the intent stays and is sent under its id while its bar is fresh, else given up",
        hitting(ORDER, Effect.REFUSED, times=2),
        _sent_while_fresh,
    ),
    Scenario(
        "duplicate-id",
        "The venue calls the client id a duplicate (-4116)",
        "the order exists: it is looked up and booked",
        hitting(ORDER, Effect.DUPLICATE),
        settled,
    ),
    Scenario(
        "throttled-order",
        "429 or 418 in answer to an order",
        "no blind retry; nothing is asked or sent until the venue's Retry-After is over; then trading goes on",
        hitting(ORDER, Effect.THROTTLED, Effect.BANNED),
        _waited,
    ),
    Scenario(
        "unanswerable",
        "An order's fate cannot be established",
        "after a bounded number of questions the symbol is frozen, a person is told, nothing new is opened there",
        _unanswerable,
        _frozen,
    ),
    Scenario(
        "partial-fills",
        "Orders fill in parts, and their rest expires",
        "position = sum of fills; the stop covers what is held; only the remainder is ordered again",
        _in_parts,
        _remainders,
    ),
    Scenario(
        "partial-fills-lost-answers",
        "Orders fill in parts while their answers are lost",
        "nothing is booked twice, nothing is forgotten, no order that was executed is sent again",
        _parts_and_lost_answers,
        _parts_settled,
    ),
)
