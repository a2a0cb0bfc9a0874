"""The ports of one process: real adapters, each behind a gate at which the process can die or the port can fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from cloudrun.simulation.faults import Faults, Part
from cloudrun.simulation.network import Network, Session
from cloudrun.simulation.process import Process, ProcessClock
from cloudrun.simulation.venue import CREDENTIALS
from shared.adapters.exchange.client import make_client
from shared.adapters.exchange.connection import Connection
from shared.adapters.exchange.params import ConnectionParams
from shared.domain.errors import BusUnavailable, LedgerUnavailable
from shared.domain.events import Event
from shared.domain.orders import OrderIntent
from shared.ports import Ledger, StoredObject

BASE_URL = "http://venue"

OnLedger = Callable[[Process, str, tuple[Any, ...], Any], None]
"""Told (process, method, arguments, result) after each call that took effect."""

_READS = frozenset(
    {"decision", "decisions", "order", "orders", "fills", "positions", "funding", "equity", "last_equity", "regimes"}
    | {"last_regime", "halts", "unpublished_events", "arrivals", "emergencies", "heartbeats", "agent_log", "trades", "books"}
)


class LedgerGate:
    """The ledger as one process reaches it."""

    def __init__(self, ledger: Ledger, process: Process, faults: Faults, now_s: Callable[[], float], told: OnLedger) -> None:
        self._ledger = ledger
        self._process = process
        self._faults = faults
        self._now_s = now_s
        self._told = told

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._ledger, name)
        process, faults, changes = self._process, self._faults, name not in _READS

        def call(*arguments: Any, **named: Any) -> Any:
            process.touch(f"before ledger.{name}")
            now_s = self._now_s()
            if faults.down(Part.LEDGER, now_s) or faults.happens(faults.plan.rates.ledger / 2, now_s):
                raise LedgerUnavailable("the ledger does not answer (simulated)")
            result = method(*arguments, **named)
            self._told(process, name, arguments, result)
            if changes:
                process.touch(f"after ledger.{name}")
                if faults.happens(faults.plan.rates.ledger / 2, now_s):
                    raise LedgerUnavailable("the ledger's answer was lost (simulated)")
            return result

        setattr(self, name, call)
        return call


def gated_ledger(ledger: Ledger, process: Process, faults: Faults, now_s: Callable[[], float], told: OnLedger) -> Ledger:
    """`ledger` behind a gate."""
    return cast(Ledger, LedgerGate(ledger, process, faults, now_s, told))


class Clients:
    """ccxt clients, which are dear to make: one that a process has left behind serves the next one."""

    def __init__(self) -> None:
        self._idle: list[Any] = []

    def connection(self, network: Network, process: Process, clock: ProcessClock, seed: int) -> Connection:
        """A connection of `process` through real ccxt on the simulated network."""
        client = self._idle.pop() if self._idle else _client()
        client.session = Session(network, process)
        client.closed_by_user = False
        client.asyncio_loop = asyncio.get_running_loop()
        process.at_end(lambda: self._take_back(client))
        return Connection(client, clock, np.random.default_rng(seed), ConnectionParams())

    def _take_back(self, client: Any) -> None:
        client.session = None
        self._idle.append(client)


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

    def append(self, intent: OrderIntent) -> None:
        """Write an intent down."""
        self._intents.append(intent)

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
