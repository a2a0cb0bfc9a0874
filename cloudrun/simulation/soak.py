"""One long run: many simulated days of one-minute bars with faults, watched for growth of memory, tasks and connections.

What grows by nature is kept out of the process (the ledger is a file) or cut (the venue forgets what is older than a day, as
the real one does after some), so that growth of the process is growth of the trader. Violations, as any other: memory that has
grown by more than a twentieth since the first day, and tasks or connections beyond what one process ever needs.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cloudrun.simulation.analyst import Habits
from cloudrun.simulation.chances import random_plan
from cloudrun.simulation.faults import FaultPlan, Part, Rates, Window
from cloudrun.simulation.market import SYMBOLS, MarketShape
from cloudrun.simulation.sessions import program
from cloudrun.simulation.spec import WorldSpec
from cloudrun.simulation.world import Act, World
from shared.adapters.sql import open_ledger
from shared.domain.interval import DAY_MS, HOUR_MS, MINUTE_MS

GROWTH_LIMIT = 0.05
"""of resident memory after the first day (in a run of less than two days: after its first half), as a fraction"""
TASKS_LIMIT = 16
"""tasks of one process: worker, lease, timer, two readers, main, and an order of each symbol with its question"""
CONNECTIONS_LIMIT = 2
"""streams of all processes together: one of the market, one of the user"""
LOOKS = 6
"""looks at a run of less than that many hours"""
DAY_S, HOUR_S = 86_400.0, 3_600.0


@dataclass(frozen=True, slots=True)
class SoakResult:
    """What a long run has shown."""

    days: float
    symbols: int
    seconds: float
    decisions: int
    orders: int
    fills: int
    faults: int
    processes: int
    memory_first_mb: float
    """resident, after the first day"""
    memory_end_mb: float
    tasks_most: int
    """most tasks of one process at any look"""
    tasks_end: int
    connections_most: int
    violations: tuple[str, ...]

    @property
    def growth(self) -> float:
        """Of resident memory after the first day, as a fraction."""
        return self.memory_end_mb / self.memory_first_mb - 1

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {**asdict(self), "growth": round(self.growth, 4)}


OnHour = Callable[[int, float, int], None]
"""Told hours passed, resident memory in MB and tasks of the trading process"""


def soak(days: float, seed: int, on_hour: OnHour = lambda *_: None, *acts: Act) -> SoakResult:
    """Run `days` simulated days. `acts` are what else happens in that world."""
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        ledger = open_ledger(f"sqlite:///{Path(folder) / 'ledger.db'}")
        try:
            world = World(_spec(days, seed), program, ledger=ledger)
            gauge = _Gauge(world.spec.end_s, on_hour)
            outcome = world.run(gauge.watch, *acts)
        finally:
            ledger.close()
    return SoakResult(
        days=days,
        symbols=len(world.spec.symbols),
        seconds=round(time.monotonic() - began_s, 1),
        decisions=outcome.decisions,
        orders=outcome.orders,
        fills=outcome.fills,
        faults=outcome.faults,
        processes=outcome.processes,
        memory_first_mb=round(gauge.first_mb, 1),
        memory_end_mb=round(gauge.end_mb, 1),
        tasks_most=gauge.tasks_most,
        tasks_end=gauge.tasks_end,
        connections_most=gauge.connections_most,
        violations=(*outcome.violations, *gauge.complaints()),
    )


def _spec(days: float, seed: int) -> WorldSpec:
    rng = np.random.default_rng([seed, 99])
    bars = round(days * DAY_MS / MINUTE_MS)
    end_s = bars * 60.0
    rates = random_plan(np.random.default_rng(3), end_s).rates
    effects = tuple((effect, rate / 10) for effect, rate in rates.requests)
    plan = FaultPlan(
        Rates(effects, drop=0.001, delay=0.002, repeat=0.002, disconnect=0.00005),
        tuple(_windows(rng, end_s)),
        key_expiries=tuple(float(at_s) for at_s in np.arange(5 * HOUR_S, end_s, 11 * HOUR_S)),
        until_s=end_s,
    )
    spec = WorldSpec(seed, plan=plan, symbols=SYMBOLS, bars=bars, habits=Habits(flat=0.3, hold_bars=20))
    shape = MarketShape(sigma=0.0006, jump_rate=0.002, jump=0.01, gap_rate=0.001, frozen_rate=0.0005)
    risk = replace(spec.risk, pause_drawdowns=(0.5, 0.6, 0.7), max_drawdown=0.9)
    trader = replace(spec.trader, tick_s=10.0, heartbeat_s=60.0, silence_s=40.0, quote_fresh_s=25.0, operational_failures=1_000)
    return replace(spec, shape=shape, risk=risk, trader=trader, tick_s=10.0)


def _windows(rng: np.random.Generator, end_s: float) -> list[Window]:
    """Every part is away now and then, for a minute or two."""
    return [
        Window(part, start_s, start_s + float(rng.exponential(60.0)))
        for part in Part
        for start_s in np.cumsum(rng.exponential(8 * HOUR_S, max(1, int(end_s / (8 * HOUR_S))))).tolist()
        if start_s < end_s
    ]


@dataclass(slots=True)
class _Gauge:
    """Reads memory, tasks and connections every simulated hour, in a short run more often."""

    end_s: float
    on_hour: OnHour
    first_mb: float = field(default_factory=lambda: _memory_mb())
    end_mb: float = 0.0
    tasks_most: int = 0
    tasks_end: int = 0
    connections_most: int = 0

    async def watch(self, world: World) -> None:
        """Look until the world ends."""
        pause_s = min(HOUR_S, self.end_s / LOOKS)
        first_s = min(DAY_S, self.end_s / 2)
        while True:
            await asyncio.sleep(pause_s)
            _forget_old(world)
            self._read(world)
            if world.loop.time() <= first_s + pause_s / 2:
                self.first_mb = self.end_mb
            self.on_hour(round(world.loop.time() / HOUR_S), self.end_mb, self.tasks_end)

    def complaints(self) -> list[str]:
        """What has grown."""
        found = []
        if self.end_mb > self.first_mb * (1 + GROWTH_LIMIT):
            found.append(
                f"resident memory has grown from {self.first_mb:.1f} MB after the first day to {self.end_mb:.1f} MB, "
                f"by more than {GROWTH_LIMIT:.0%}"
            )
        if self.tasks_most > TASKS_LIMIT:
            found.append(f"a process had {self.tasks_most} tasks; at most {TASKS_LIMIT} are expected")
        if self.connections_most > CONNECTIONS_LIMIT:
            found.append(f"{self.connections_most} streams were connected at once; at most {CONNECTIONS_LIMIT} are expected")
        return found

    def _read(self, world: World) -> None:
        self.tasks_end = max((len(process.tasks) for process in world.processes if process.alive), default=0)
        self.tasks_most = max(self.tasks_most, self.tasks_end)
        streams = world.venue.streams
        self.connections_most = max(self.connections_most, len(streams.market_links) + len(streams.user_links))
        gc.collect()
        self.end_mb = _memory_mb()


def _forget_old(world: World) -> None:
    """The venue and the watch forget what is older than a day."""
    account = world.venue.desk.engine.core.account
    oldest_ms = world.venue.now_ms - DAY_MS - HOUR_MS
    for rows, by_client in ((account.orders, account.by_client), (account.algos, account.algo_by_client)):
        for number in [number for number, row in rows.items() if row.updated_ms < oldest_ms and not row.is_open]:
            by_client.pop(rows.pop(number).client_id, None)
    account.trades[:] = [row for row in account.trades if row.time_ms >= oldest_ms]
    account.income[:] = [row for row in account.income if row.time_ms >= oldest_ms or row.kind == "INSURANCE_CLEAR"]
    world.network.sent.clear()
    world.network.asked.clear()
    world.bus.published.clear()
    world.watch.forget()


def _memory_mb() -> float:
    """Resident memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20
