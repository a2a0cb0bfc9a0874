"""Large orders in slices (TWAP), and orders that meet their own stop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import numpy as np

from cloudrun.exchange.state import AlgoOrder
from cloudrun.simulation.analyst import Habits
from cloudrun.simulation.faults import FaultPlan, Rule
from cloudrun.simulation.process import Process
from cloudrun.simulation.scenarios.base import Scenario, calm_world
from cloudrun.simulation.scenarios.checks import EVER, bare, struck, unbooked, undecided
from cloudrun.simulation.spec import BOOK, SLOW_TRADER, WorldSpec
from cloudrun.simulation.world import World
from shared.domain.money import ZERO
from shared.domain.orders import OrderKind, OrderRecord, OrderState
from shared.trading.execution_params import ExecutionParams
from shared.trading.twap import SLICE

TRIMMED_S = 20.0
"""within this time what was opened beyond the decided size is closed again"""
NEXT_LOOK_S = 0.5
"""what was on its way when the stop was filled"""
FASTEST_S = 0.002
"""from a bar's close to its message"""


def _sliced(seed: int, rng: np.random.Generator) -> WorldSpec:
    """Orders above 1,000 go out in four slices over twelve seconds."""
    execution = ExecutionParams(twap_notional=1_000.0, twap_slices=4, twap_seconds=12.0)
    spec = replace(calm_world(seed, rng), symbols=("BTCUSDT",), execution=execution, habits=Habits(flat=0.0, hold_bars=1))
    return replace(spec, trader=replace(spec.trader, tick_s=1.0))


def _killed_between(seed: int, rng: np.random.Generator) -> WorldSpec:
    where = ("after POST /fapi/v1/order", "before POST /fapi/v1/order")[int(rng.integers(2))]
    rule = Rule(where, skip=int(rng.integers(1, 4)))
    return replace(_sliced(seed, rng), plan=FaultPlan(kills=(rule,)))


def _until_the_next_bar(seed: int, rng: np.random.Generator) -> WorldSpec:
    """Decisions that live as long as their bar, in slices over all of it: looks are rare, so that the last one comes late."""
    spec = _sliced(seed, rng)
    execution = replace(spec.execution, twap_seconds=float(rng.uniform(54.5, 59.0)))
    return replace(spec, execution=execution, max_decision_age=0.99, trader=SLOW_TRADER, bars=6)


def _superseded(world: World) -> Iterator[str]:
    """Slices of an older bar are given up before the next one is decided, which then is decided freely."""
    slices, bar_ms = _slices(world), world.spec.interval.ms
    if not any("a newer bar" in record.reason for record in slices):
        yield "no slice was waiting when the next bar closed"
    ends_s = {
        r.intent.client_id: (r.intent.created_ms // bar_ms * bar_ms + bar_ms - world.spec.start_ms) / 1000 for r in slices
    }
    late = [sent for sent in world.network.sent if sent.at_s > ends_s.get(sent.client_id, EVER) + FASTEST_S]
    if late:
        yield f"{late[0].client_id} was sent at {late[0].at_s:.1f} s, after the next bar had closed"
    yield from _ended(world)


def _slices(world: World, decision_id: str = "") -> list[OrderRecord]:
    records = world.ledger.orders(BOOK, decision_id=decision_id) if decision_id else world.ledger.orders(BOOK)
    return [record for record in records if record.intent.leg.startswith(SLICE)]


def _taken_up(world: World) -> Iterator[str]:
    """Each slice has one fate; together they fill no more than was decided; the rest was sent by the next process or ended."""
    yield from struck(world)
    yield from unbooked(world)
    yield from undecided(world)
    yield from bare(world)
    if len(world.processes) < 2:
        yield "no process was killed between two slices"
    decided = {record.intent.decision_id for record in _slices(world)}
    if not any(sum(record.filled > 0 for record in _slices(world, decision)) > 1 for decision in decided):
        yield "nothing was traded in slices"
    for record in _slices(world):
        if not record.state.is_final:
            yield f"{record.intent.client_id} is {record.state} at the end"


def cross(world: World, stop: AlgoOrder) -> None:
    """The market reaches the price of a stop."""
    price = world.venue.desk.engine.core.price(stop.symbol)
    stop.trigger = price * (Decimal("0.9") if stop.direction > 0 else Decimal("1.1"))
    world.story.tell(f"the market reaches the stop {stop.client_id}")
    world.venue.tick()
    world.venue.desk.sender = "the market"


async def _stop_while_slicing(world: World) -> None:
    """A stop is filled while slices of its decision wait: none of them goes out any more."""
    account, crossed = world.venue.desk.engine.core.account, False
    while not crossed and world.loop.time() < world.spec.faults_end_s:
        await asyncio.sleep(0.25)
        now_ms = world.venue.now_ms
        waiting = [r for r in _slices(world) if r.state is OrderState.INTENT and r.intent.due_ms > now_ms + 1_500]
        held = account.positions[world.spec.symbols[0]].quantity
        stops = [stop for stop in account.open_algos.values() if stop.sign * held < 0]
        if waiting and stops and held * waiting[0].intent.side.sign > 0:
            crossed = True
            cross(world, stops[-1])
            await _no_slice_after(world, waiting[0].intent.decision_id)
    if not crossed:
        world.story.violate("no stop was filled while slices waited")


async def _no_slice_after(world: World, decision_id: str) -> None:
    at_s = world.loop.time()
    await asyncio.sleep(TRIMMED_S)
    ours = {record.intent.client_id for record in _slices(world, decision_id)}
    late = [sent for sent in world.network.sent if sent.client_id in ours and sent.at_s > at_s + NEXT_LOOK_S]
    if late:
        world.story.violate(f"{late[0].client_id} was sent {late[0].at_s - at_s:.1f} s after the stop had been filled")


def _ended(world: World) -> Iterator[str]:
    yield from unbooked(world)
    yield from undecided(world)
    yield from bare(world)


def _reversing(seed: int, rng: np.random.Generator) -> WorldSpec:
    habits = Habits(flat=0.0, hold_bars=1)
    return replace(calm_world(seed, rng), symbols=("BTCUSDT",), habits=habits, bars=10)


async def _meet_the_stop(world: World) -> None:
    """The stop of the old position is filled while the order that turns it around is on the wire."""
    account, told = world.venue.desk.engine.core.account, world.network.on_order
    met: list[str] = []

    def on_order(process: Process, params: dict[str, str]) -> None:
        told(process, params)
        held, record = account.positions[world.spec.symbols[0]].quantity, world.ledger.order(params.get("newClientOrderId", ""))
        if met or record is None or not _turns(record, held):
            return
        stops = [stop for stop in account.open_algos.values() if stop.sign * held < 0]
        if stops:
            met.append(record.intent.decision_id)
            cross(world, stops[-1])

    world.network.on_order = on_order
    if not await world.until(lambda: bool(met), world.spec.faults_end_s):
        world.story.violate("no order that turns a position around has met its stop")
        return
    await asyncio.sleep(TRIMMED_S)
    decided = _decided_size(world, met[0])
    held = abs(account.positions[world.spec.symbols[0]].quantity)
    if held > decided:
        world.story.violate(f"{held} is held {TRIMMED_S:.0f} s after the stop was filled, {decided} was decided")


def _turns(record: OrderRecord, held: Decimal) -> bool:
    change = record.intent.quantity * record.intent.side.sign
    return record.intent.kind is OrderKind.MARKET and held * change < 0 and abs(change) > abs(held)


def _decided_size(world: World, decision_id: str) -> Decimal:
    """The size that the decision's own stop protects."""
    stops = [r.intent for r in world.ledger.orders(BOOK, decision_id=decision_id) if r.intent.leg == "stop"]
    return stops[0].quantity if stops else ZERO


SCENARIOS = (
    Scenario(
        "killed-between-slices",
        "Killed between two slices of a large order (TWAP)",
        "the next process sends the rest while its bar is fresh, or ends it; no slice twice, none forgotten",
        _killed_between,
        _taken_up,
    ),
    Scenario(
        "newer-bar-while-slicing",
        "The next bar closes while slices wait",
        "they are given up before it is decided; none of them is sent any more",
        _until_the_next_bar,
        _superseded,
    ),
    Scenario(
        "stop-filled-while-slicing",
        "The stop is filled while slices wait",
        "no slice of that decision is sent any more",
        _sliced,
        _ended,
        (_stop_while_slicing,),
    ),
    Scenario(
        "reverse-meets-stop",
        "The stop of the old position is filled while the order that turns it around is on its way",
        "within 20 s no more is held than was decided",
        _reversing,
        _ended,
        (_meet_the_stop,),
    ),
)
