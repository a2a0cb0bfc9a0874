"""What a scenario is: a failure with a name, a world in which it happens, and what must be true of it afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from cloudrun.simulation.analyst import Habits
from cloudrun.simulation.faults import FaultPlan
from cloudrun.simulation.market import MarketShape
from cloudrun.simulation.spec import BOOK, WorldSpec
from cloudrun.simulation.world import Act, World
from shared.domain.orders import OrderRecord
from shared.domain.records import Halt, HaltKind

Make = Callable[[int, np.random.Generator], WorldSpec]
Check = Callable[[World], Iterator[str]]

CALM = MarketShape(sigma=0.001, jump_rate=0.0, gap_rate=0.0, frozen_rate=0.0)
BUSY = Habits(flat=0.1, hold_bars=1)


def _no_more(_: World) -> Iterator[str]:
    yield from ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way in which things fail. The invariants hold in all of them; `check` yields what is wrong besides."""

    name: str
    failure: str
    """as in design/failures.md"""
    behaviour: str
    """what is correct, in one line"""
    make: Make
    check: Check = _no_more
    acts: tuple[Act, ...] = ()

    def world(self, seed: int) -> WorldSpec:
        """The world of `seed`."""
        return self.make(seed, np.random.default_rng([seed, *self.name.encode()]))


def calm_world(seed: int, rng: np.random.Generator, plan: FaultPlan | None = None) -> WorldSpec:
    """A world in which nothing fails but what `plan` says: one or two symbols, an order at almost every bar."""
    symbols = ("BTCUSDT",) if rng.random() < 0.5 else ("BTCUSDT", "ETHUSDT")
    habits = replace(BUSY, flat_at_end=bool(rng.random() < 0.5))
    return WorldSpec(seed, plan=plan or FaultPlan(), symbols=symbols, bars=5, shape=CALM, habits=habits)


def struck(world: World) -> Iterator[str]:
    """Complains where the fault did not happen: then the run proves nothing."""
    if not world.faults.struck:
        yield "the fault never struck"


def order(world: World, client_id: str) -> OrderRecord:
    """The ledger's record."""
    record = world.ledger.order(client_id)
    if record is None:
        raise LookupError(f"{client_id} is not in the ledger")
    return record


def halts(world: World, kind: HaltKind | None = None) -> list[Halt]:
    """Halts in force at the end."""
    found = world.ledger.halts(BOOK, world.venue.now_ms)
    return [halt for halt in found if kind in (None, halt.kind)]


def is_flat(world: World) -> bool:
    """Whether the venue holds no position."""
    return not any(True for _ in world.venue.desk.engine.core.held())
