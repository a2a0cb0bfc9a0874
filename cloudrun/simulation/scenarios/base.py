"""What a scenario is: a failure with a name, a world in which it happens, and what must be true of it afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from cloudrun.simulation.analyst import Habits
from cloudrun.simulation.faults import FaultPlan
from cloudrun.simulation.market import MarketShape
from cloudrun.simulation.spec import WorldSpec
from cloudrun.simulation.world import Act, World

Make = Callable[[int, np.random.Generator], WorldSpec]
Check = Callable[[World], Iterator[str]]

WATCHED_S = 0.002
CALM = MarketShape(sigma=0.001, jump_rate=0.0, gap_rate=0.0, frozen_rate=0.0)
BUSY = Habits(flat=0.1, hold_bars=1)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way in which things fail. The invariants hold in all of them; `check` yields what of its behaviour is missing."""

    name: str
    failure: str
    """as in design/failures.md"""
    behaviour: str
    """what is correct, in one line"""
    make: Make
    check: Check
    acts: tuple[Act, ...] = ()

    def world(self, seed: int) -> WorldSpec:
        """The world of `seed`."""
        return self.make(seed, np.random.default_rng([seed, *self.name.encode()]))


def calm_world(seed: int, rng: np.random.Generator, plan: FaultPlan | None = None) -> WorldSpec:
    """A world in which nothing fails but what `plan` says: one or two symbols, an order at almost every bar."""
    symbols = ("BTCUSDT",) if rng.random() < 0.5 else ("BTCUSDT", "ETHUSDT")
    habits = replace(BUSY, flat_at_end=bool(rng.random() < 0.5))
    return WorldSpec(seed, plan=plan or FaultPlan(), symbols=symbols, bars=5, shape=CALM, habits=habits)


def at_pace(spec: WorldSpec) -> WorldSpec:
    """The world with a trader that looks each second, as a real one does: what is judged in seconds needs it."""
    return replace(spec, tick_s=2.0, trader=replace(spec.trader, tick_s=1.0))


async def quickly(holds: Callable[[], bool], most_s: float) -> bool:
    """Wait for something that lasts milliseconds, at most `most_s` simulated seconds; whether it came."""
    for _ in range(round(most_s / WATCHED_S)):
        if holds():
            return True
        await asyncio.sleep(WATCHED_S)
    return holds()
