"""The bot over real sockets: its process, a paper exchange process behind a fault proxy, and a ledger on PostgreSQL.

The account is what the exchange's journal says, executed anew; the ledger must come to agree with it after every fault.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from cloudrun.exchange.engine import Engine, EngineConfig
from cloudrun.exchange.journal import open_journal
from cloudrun.exchange.market import Market
from cloudrun.exchange.serve import load_market
from cloudrun.exchange.state import Account
from shared.adapters.sql import SqlLedger, open_ledger
from shared.backtest.params import CostParams
from shared.domain.errors import LedgerUnavailable
from shared.domain.interval import Interval
from shared.domain.orders import OrderKind, OrderState
from tests.e2e.conftest import QUICK, REPOSITORY
from tests.e2e.live.proxy import FaultProxy
from tests.integration.conftest import PostgresServer, _migrated_postgres, postgres

__all__ = ["_migrated_postgres", "postgres"]

BOOK = "paper-1h"
SPEED = 1_800
BAR_S = 3600 / SPEED
PATIENCE_S = 30.0
LEASE_S = 4
IMPATIENT = {
    **QUICK,
    "OST_UNIVERSE__SYMBOLS": "BTCUSDT,ETHUSDT",
    "OST_RUN__MAX_DECISION_AGE": "0.9",  # of a bar of two seconds
    "OST_BOT__LEASE_S": str(LEASE_S),
    "OST_BOT__ALIVE_S": "5",
    "OST_TRADER__TICK_S": "0.25",
    "OST_TRADER__HEARTBEAT_S": "0.5",
    "OST_TRADER__BACKOFF_S": "0.2",
    "OST_TRADER__BACKOFF_MAX_S": "1",
    "OST_TRADER__SILENCE_S": "2",
    "OST_TRADER__STANDBY_POLL_S": "0.5",
    "OST_TRADER__OPERATIONAL_FAILURES": "1000",
    "OST_STREAM__HEARTBEAT_S": "1",
    "OST_STREAM__TIMEOUT_S": "2",
    "OST_STREAM__BACKOFF_S": "0.1",
    "OST_STREAM__BACKOFF_LIMIT_S": "1",
    "OST_EXCHANGE__READ_ATTEMPTS": "2",
    "OST_EXCHANGE__TIMEOUT_S": "1",
    "OST_EXCHANGE__BACKOFF_S": "0.1",
    "OST_EXECUTION__QUERY_BACKOFF_S": "0.1",
    "OST_STRATEGY__ENTRY_THRESHOLD": "0.02",  # orders at most bars
    "OST_STRATEGY__EXIT_THRESHOLD": "0.01",
    "OST_STRATEGY__REBALANCE_BAND": "0.01",
}


@dataclass
class World:
    """Everything that runs, and what can be seen of it from outside."""

    folder: Path
    market: Path
    database: str
    server: PostgresServer
    bars: Market
    proxy: FaultProxy = field(init=False)
    exchange: subprocess.Popen[str] = field(init=False)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.port = self.free_port()
        self.start_exchange()
        self.proxy = FaultProxy(("127.0.0.1", self.port))

    @staticmethod
    def free_port() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    # --- processes ---------------------------------------------------------------------------------------------------------

    def start_exchange(self) -> None:
        """On its port, from its journal if there is one."""
        options = ["--market", self.market, "--start", "2024-12-12", "--speed", SPEED, "--port", self.port]
        command = [sys.executable, "-m", "cloudrun.exchange", *options, "--journal", self.folder / "journal.jsonl"]
        self.exchange = self._start([*command, "--exit-with-parent"], stdout=subprocess.PIPE)
        assert self.exchange.stdout.readline().startswith("ready")

    def start(
        self, module: str = "cloudrun.bot.trader", *arguments: str, name: str = "bot", environment: Mapping[str, str] = {}
    ) -> subprocess.Popen[str]:
        """A process of the bot; what it says goes to a file."""
        with (self.folder / f"{name}.log").open("a") as log:
            return self._start([sys.executable, "-m", module, *arguments], environment, stderr=log)

    def _start(self, command: list[object], environment: Mapping[str, str] = {}, **options: object) -> subprocess.Popen[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OST_")}
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=self.folder,
            env={**inherited, **self.environment, "PYTHONPATH": str(REPOSITORY), **environment},
            stdin=subprocess.PIPE,
            text=True,
            **options,
        )
        self.processes.append(process)
        return process

    @property
    def environment(self) -> dict[str, str]:
        given = {"OST_STORAGE__ROOT": str(self.folder / "var"), "OST_LEDGER__URL": self.server.url(self.database)}
        return {**IMPATIENT, **given, "OST_VENUE__BASE_URL": self.proxy.url if hasattr(self, "proxy") else ""}

    def log(self, name: str = "bot") -> str:
        return (self.folder / f"{name}.log").read_text()

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)
                    process.kill()
            process.communicate()
        self.proxy.close()

    # --- what happens ------------------------------------------------------------------------------------------------------

    def ledger(self) -> closing[SqlLedger]:
        return closing(open_ledger(self.server.url(self.database), migrate=False))

    def wait(self, what: str, condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> float:
        """Seconds until `condition` came true."""
        began_s = time.monotonic()
        while time.monotonic() - began_s < patience_s:
            with suppress(LedgerUnavailable):
                if condition():
                    return time.monotonic() - began_s
            time.sleep(0.05)
        pytest.fail(f"within {patience_s:g} s not: {what}\n{self._reasons()}\n{self.log()[-3000:]}")

    def _reasons(self) -> str:
        """Why the newest decisions are what they are."""
        with suppress(LedgerUnavailable), self.ledger() as ledger:
            return "\n".join(f"{d.asset} {d.score:.2f} {d.reasons} {d.approvals}" for d in ledger.decisions(BOOK, limit=4))
        return ""

    def decisions(self) -> int:
        with self.ledger() as ledger:
            return len(ledger.decisions(BOOK))

    def fills(self) -> int:
        with self.ledger() as ledger:
            return len(ledger.fills(BOOK))

    def state(self, holder: str = "") -> str:
        """What the newest heartbeat says."""
        with self.ledger() as ledger:
            beats = [beat for beat in ledger.heartbeats(BOOK) if holder in beat.holder]
        return str(max(beats, key=lambda beat: beat.time_ms).state["state"]) if beats else ""

    def newest_holder(self) -> str:
        with self.ledger() as ledger:
            beats = ledger.heartbeats(BOOK)
        return max(beats, key=lambda beat: beat.time_ms).holder if beats else ""

    @staticmethod
    def kill(process: int) -> None:
        os.kill(process, signal.SIGKILL)

    def wait_until_trading(self) -> None:
        self.wait("the trader trades", lambda: self.state() == "trading")

    def wait_for_fills(self, more: int = 1) -> None:
        before = self.fills()
        self.wait(f"{more} more fills", lambda: self.fills() >= before + more)

    def wait_for_bars(self, more: int = 2) -> None:
        before = self.decisions()
        self.wait(f"{more} more bars", lambda: self.decisions() >= before + 2 * more)

    # --- what must hold ----------------------------------------------------------------------------------------------------

    def account(self) -> Account:
        """The account that the exchange's journal tells of."""
        copy = Path(shutil.copy(self.folder / "journal.jsonl", self.folder / "copy.jsonl"))
        header = json.loads(copy.read_bytes().splitlines()[0])["config"]
        config = EngineConfig(header["start_ms"], Decimal(header["capital"]), CostParams(**header["costs"]))
        engine = Engine(self.bars, config)
        open_journal(copy, engine).close()
        return engine.core.account

    def differences(self) -> list[str]:
        """Where ledger and account disagree now; what is on its way passes, what was lost or doubled stays."""
        with self.ledger() as ledger:
            fills, positions = ledger.fills(BOOK), ledger.positions(BOOK)
            orders = {record.intent.client_id: record for record in ledger.orders(BOOK)}
            halts = ledger.halts(BOOK, 0)
        account, found = self.account(), [f"halted: {halt.reason}" for halt in halts if halt.until_ms is None]
        if sorted(fill.trade_id for fill in fills) != sorted(str(trade.id) for trade in account.trades):
            found.append(f"{len(fills)} fills in the ledger, {len(account.trades)} at the exchange")
        held = {name: position.quantity for name, position in account.positions.items()}
        booked = {name: positions[name].quantity if name in positions else Decimal(0) for name in held}
        if held != booked:
            found.append(f"the ledger holds {booked}, the exchange {held}")
        triggered = {algo.order_id for algo in account.algos.values()}  # the order of a stop bears the stop's own id
        placed = [order.client_id for order in account.orders.values() if order.id not in triggered]
        placed += [algo.client_id for algo in account.algos.values()]
        if foreign := set(placed) - set(orders):
            found.append(f"orders that nobody intended: {foreign}")
        if doubled := {name for name in placed if placed.count(name) > 1}:
            found.append(f"orders that were placed twice: {doubled}")
        stops = {algo.client_id: algo for algo in account.open_algos.values()}
        for symbol, quantity in held.items():
            covered = sum((algo.quantity * algo.sign for algo in stops.values() if algo.symbol == symbol), Decimal(0))
            if covered != -quantity:
                found.append(f"{symbol}: stops over {covered} for a position of {quantity}")
        for name, record in orders.items():
            rests = record.state is OrderState.OPEN and record.intent.kind is OrderKind.STOP
            if not record.state.is_final and not (rests and name in stops):
                found.append(f"{name} is {record.state.value}")
        return found

    def assert_consistent(self, patience_s: float = PATIENCE_S) -> None:
        """Ledger and account come to agree: every fill once, no order doubled or unexplained, every position under its stop."""
        until_s, found = time.monotonic() + patience_s, ["never looked"]
        while time.monotonic() < until_s:
            try:
                found = self.differences()
            except LedgerUnavailable:
                continue
            if not found:
                return
            time.sleep(0.1)
        pytest.fail("\n".join([*found, self.log()[-3000:]]))


@pytest.fixture(scope="session")
def bars(market_folder: Path) -> Market:
    return asyncio.run(load_market(market_folder, (), Interval.H1))


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, market_folder: Path, bars: Market, request: pytest.FixtureRequest
) -> Iterator[World]:
    """A world of its own for each module; its tests follow one another in it."""
    server: PostgresServer = request.getfixturevalue("postgres")
    database = server.create(request.getfixturevalue("_migrated_postgres"))
    made = World(tmp_path_factory.mktemp("live"), market_folder, database, server, bars)
    yield made
    made.close()
    server.drop(database)
