"""The ports of one process: real adapters, each behind a gate at which the process can die or the port can fail."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from cloudrun.simulation.faults import Part
from cloudrun.simulation.network import Session
from cloudrun.simulation.process import Process
from cloudrun.simulation.venue import CREDENTIALS
from shared.adapters.exchange.client import make_client
from shared.adapters.exchange.connection import Connection
from shared.adapters.exchange.endpoints import Endpoint
from shared.adapters.exchange.params import ConnectionParams, in_trader
from shared.adapters.exchange.pauses import SharedPauses
from shared.adapters.sql.breaker import REST_S, Slowness
from shared.domain.errors import BusUnavailable, LedgerUnavailable
from shared.domain.events import Event
from shared.domain.orders import OrderIntent
from shared.domain.records import Lease
from shared.ports import Ledger, StoredObject

if TYPE_CHECKING:
    from cloudrun.simulation.world import World

BASE_URL = "http://venue"

HANG_S = 2.0
"""how long a ledger that says nothing blocks its process: the time limit of its connections. After it every question fails at
once, until it answers again"""
SLOW_ANSWER_S = 1.0
"""how long each answer of a slow ledger blocks its process, which takes it for away after some of them (`Slowness`)"""

_READS = frozenset(
    {"decision", "decisions", "order", "orders", "fills", "positions", "funding", "equity", "last_equity", "regimes"}
    | {"last_regime", "halts", "unpublished_events", "arrivals", "emergencies", "heartbeats", "agent_log", "trades", "books"}
    | {"first_equity", "funding_total", "unbooked_orders"}
    | {"book_state", "origin", "pause_until_ms", "set_aside_events", "peak_forgotten_ms"}
)
_OF_ROWS = frozenset({"add_fills", "add_funding"})
"""changes that are none where they are given no rows"""


class LedgerGate:
    """The ledger as one process reaches it: like one that several hosts share, it judges leases by its own clock."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process
        self._has_hung = False
        self._slowness = Slowness()
        self._rests_until_s = 0.0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._world.ledger, name)
        world, process, changes = self._world, self._process, name not in _READS

        def call(*arguments: Any, **named: Any) -> Any:
            process.touch(f"before ledger.{name}")
            self._may_fail("the ledger does not answer (simulated)")
            if changes and not (name in _OF_ROWS and not arguments[-1]):
                self._may_refuse(name)
            result = method(*arguments, **named)
            world.watch.wrote(process, name, arguments, result)
            if changes:
                process.touch(f"after ledger.{name}")
                self._may_fail_afterwards()
            return result

        setattr(self, name, call)
        return call

    def acquire_lease(self, book: str, holder: str, ttl_ms: int, now_ms: int) -> Lease | None:
        """Take or renew; what the caller's clock says counts only for the caller."""
        return self._leased("acquire_lease", (book, holder), ttl_ms, now_ms)

    def renew_lease(self, lease: Lease, ttl_ms: int, now_ms: int) -> Lease | None:
        """Renew; what the caller's clock says counts only for the caller."""
        return self._leased("renew_lease", (lease,), ttl_ms, now_ms)

    def _leased(self, name: str, whose: tuple[Any, ...], ttl_ms: int, now_ms: int) -> Lease | None:
        self._process.touch(f"before ledger.{name}")
        self._may_fail("the ledger does not answer (simulated)")
        self._may_refuse(name)
        arguments = (*whose, ttl_ms, self._world.clock.true_ms)
        lease = getattr(self._world.ledger, name)(*arguments)
        self._world.watch.wrote(self._process, name, arguments, lease)
        self._process.touch(f"after ledger.{name}")
        self._may_fail_afterwards()
        return None if lease is None else replace(lease, expires_ms=now_ms + ttl_ms)

    def note_pause(self, venue: str, until_ms: int) -> None:
        """The venue has told somebody to wait: from now on every process may know."""
        self._process.touch("before ledger.note_pause")
        self._may_fail("the ledger does not answer (simulated)")
        self._may_refuse("note_pause")
        self._world.ledger.note_pause(venue, until_ms)
        now_s = self._world.loop.time()
        self._world.network.bans.known(now_s, now_s + (until_ms - self._world.venue.now_ms) / 1000)
        self._process.touch("after ledger.note_pause")

    def _may_fail(self, why: str) -> None:
        self._may_be_slow()
        world, now_s = self._world, self._world.loop.time()
        faults = world.faults
        if faults.down(Part.LEDGER_HANGS, now_s):
            if not self._has_hung:
                self._has_hung = True
                world.story.tell(f"{self._process.name}: the ledger hangs")
                faults.struck += 1
                world.loop.block(HANG_S)
        elif faults.down(Part.LEDGER, now_s) or faults.happens(faults.plan.rates.ledger / 2, now_s):
            self._has_hung = False
        else:
            self._has_hung = False
            return
        world.outages.ledger_failed(now_s)
        world.network.bans.ledger_failed(now_s)
        raise LedgerUnavailable(why)

    def _may_be_slow(self) -> None:
        """A call that costs its process time, or none of it while the ledger is left alone for its slowness."""
        world, now_s = self._world, self._world.loop.time()
        if now_s < self._rests_until_s:
            world.outages.ledger_failed(now_s)
            raise LedgerUnavailable("the ledger is too slow (simulated)")
        if world.faults.down(Part.LEDGER_SLOW, now_s):
            world.faults.struck += 1
            world.loop.block(SLOW_ANSWER_S)
            if self._slowness.is_too_much(now_s, world.loop.time()):
                self._rests_until_s = world.loop.time() + REST_S

    def _may_refuse(self, name: str) -> None:
        """A change of a ledger that only reads."""
        world, now_s = self._world, self._world.loop.time()
        if world.faults.down(Part.LEDGER_WRITES, now_s):
            world.faults.struck += 1
            world.outages.ledger_failed(now_s)
            raise LedgerUnavailable(f"the ledger refuses {name}: its disk is full (simulated)")

    def _may_fail_afterwards(self) -> None:
        world, now_s = self._world, self._world.loop.time()
        if world.faults.happens(world.faults.plan.rates.ledger / 2, now_s):
            world.outages.ledger_failed(now_s)
            raise LedgerUnavailable("the ledger's answer was lost (simulated)")


def gated_ledger(world: World, process: Process) -> Ledger:
    """The world's ledger behind a gate."""
    return cast(Ledger, LedgerGate(world, process))


class Clients:
    """ccxt clients, which are dear to make: one that a process has left behind serves the next one."""

    def __init__(self) -> None:
        self._idle: list[Any] = []

    def connection(self, world: World, process: Process, ledger: Ledger) -> Connection:
        """A connection of `process` through real ccxt on the simulated network."""
        client = self._idle.pop() if self._idle else _client()
        client.session = Session(world.network, process)
        client.closed_by_user = False
        client.asyncio_loop = asyncio.get_running_loop()
        process.at_end(lambda: self._take_back(client))
        rng, params = np.random.default_rng(world.spec.seed), in_trader(ConnectionParams())
        return _Connection(process, client, world.clock, rng, params, SharedPauses(ledger, BASE_URL))

    def _take_back(self, client: Any) -> None:
        client.session = None
        self._idle.append(client)


class _Connection(Connection):
    """A connection whose process may be stopped or die between the approval of an order and its signature."""

    def __init__(self, process: Process, *rest: Any) -> None:
        super().__init__(*rest)
        self._process = process

    async def change(self, endpoint: Endpoint, parameters: Mapping[str, Any], *, may_be_late: bool = False) -> Any:
        """As the real one."""
        self._process.touch(f"signing: {endpoint.action}")
        if self._process.stopped:
            await asyncio.sleep(0)  # it stays here
        return await super().change(endpoint, parameters, may_be_late=may_be_late)


CLIENTS = Clients()


def _client() -> Any:
    client = make_client("binanceusdm", base_url=BASE_URL, api_key=CREDENTIALS.key, secret=CREDENTIALS.secret)
    client.verify = False  # no TLS context is made
    client.own_session = False
    return client


class MemoryBucket:
    """A bucket with nothing in it that forgets what it is given: a scripted analyst has no models."""

    def read(self, name: str) -> StoredObject | None:
        """Nothing."""
        return None

    def write(self, name: str, content: bytes, *, if_generation: int | None = None) -> int:
        """Forget it."""
        return 1

    def delete(self, name: str) -> None:
        """Nothing to delete."""

    def list(self, prefix: str = "") -> list[str]:
        """Nothing."""
        return []


class MemoryJournal:
    """An exit journal that survives the death of a process, as a file would."""

    def __init__(self) -> None:
        self._intents: list[OrderIntent] = []
        self.appended = 0
        """how many intents were ever written down"""

    def append(self, intent: OrderIntent) -> None:
        """Write an intent down."""
        self._intents.append(intent)
        self.appended += 1

    def pending(self) -> list[OrderIntent]:
        """Those that the ledger has not taken over."""
        return list(self._intents)

    def clear(self) -> None:
        """Forget them."""
        self._intents.clear()


class MemoryBus:
    """Takes events, and sometimes does not."""

    def __init__(self) -> None:
        self.down = False
        self.published: list[Event] = []

    async def publish(self, event: Event) -> None:
        """Take an event. Raises `BusUnavailable`."""
        if self.down:
            raise BusUnavailable("the bus does not answer (simulated)")
        self.published.append(event)
