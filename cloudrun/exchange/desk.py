"""The desk: the engine and what outlives the process.

A journal has every state-changing command before it is applied; an account store has the account before anybody is answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cloudrun.exchange.account_store import AccountStore
from cloudrun.exchange.core import Event
from cloudrun.exchange.engine import Engine
from cloudrun.exchange.journal import Journal
from cloudrun.exchange.klines import Klines
from cloudrun.exchange.market import Market

Listener = Callable[[list[Event], int, int], None]
_NOT_COMMANDS = ("signature", "timestamp", "recvWindow", "newOrderRespType")


class Desk:
    """One account, served. `listener` is told the events and the time before and after each command."""

    def __init__(self, engine: Engine, journal: Journal | None = None, store: AccountStore | None = None) -> None:
        self.engine = engine
        self.klines = Klines(engine.core.market)
        self.listener: Listener | None = None
        self._journal, self._store = journal, store

    @property
    def market(self) -> Market:
        """The market that is replayed."""
        return self.engine.core.market

    @property
    def now_ms(self) -> int:
        """Simulated time."""
        return self.engine.now_ms

    def execute(self, command: str, params: dict[str, str]) -> Any:
        """Apply a command and keep what it did. Raises `Refusal` (nothing changed) or `StorageError` (not applied)."""
        before_ms = self.engine.now_ms
        kept = {name: value for name, value in params.items() if name not in _NOT_COMMANDS}
        if self._journal is not None:
            self._journal.append(command, kept)
        reply = self.engine.execute(command, kept)
        events = self.engine.take_events()
        if self._store is not None and (events or command != "advance"):
            self._store.keep(before_ms)
        if self.listener is not None:
            self.listener(events, before_ms, self.engine.now_ms)
        return reply

    def advance(self, to_ms: int) -> None:
        """Move simulated time, not beyond the end of the market."""
        target_ms = min(to_ms, self.market.end_ms)
        if target_ms > self.now_ms:
            self.execute("advance", {"to_ms": str(target_ms)})

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            self._journal.close()
