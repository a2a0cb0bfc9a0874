"""A real PostgreSQL server for the session, and empty ledgers on both databases.

PostgreSQL is started from the machine's own binaries on a free loopback port (as user `postgres` where the tests run as
root, for initdb refuses root). Where it is absent its tests are skipped; on CI (`CI` is set) that is a failure.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from shared.adapters.sql import SqlLedger, open_ledger
from shared.domain.asset import Asset
from shared.domain.decision import Action, Approval, Decision, Vote
from shared.domain.ids import client_order_id, decision_id
from shared.domain.interval import HOUR_MS, Interval
from shared.domain.orders import Fill, OrderIntent, OrderKind, Side
from shared.domain.regime import Regime, RegimeProbabilities
from tests.integration.gcp.components import new_gcs_bucket, object_store, pubsub_emulator, pubsub_project

__all__ = ["new_gcs_bucket", "object_store", "pubsub_emulator", "pubsub_project"]  # fixtures of all folders below

_ABSENT = "PostgreSQL is absent: sudo apt-get install postgresql"
_SETTINGS = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c timezone=UTC"
DATABASES = ("sqlite", "postgresql")


class PostgresServer:
    """A private server; each database is a copy of a migrated template, or empty."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder = programs, folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def run(self, program: str, *arguments: str) -> None:
        switch = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        command = [*switch, str(self._programs / program), "-D", str(self._folder / "data"), *arguments]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL)

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k {self._folder} {_SETTINGS}"
        self.run("pg_ctl", "-w", "-l", str(self._folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-m", "immediate", "-w", "stop")

    def url(self, database: str) -> str:
        return f"postgresql+pg8000://postgres@127.0.0.1:{self.port}/{database}"

    def create(self, template: str = "template1") -> str:
        name = f"t{uuid.uuid4().hex[:12]}"
        self._administer(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    def _administer(self, statement: str) -> None:
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = programs[-1].parent if programs else Path(shutil.which("initdb") or "absent").parent
    if not (found / "initdb").exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(_ABSENT)
    folder = Path(tempfile.mkdtemp(prefix="ost-postgres-"))
    if os.getuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    server = PostgresServer(found, folder)
    try:
        server.run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def _migrated_postgres(postgres: PostgresServer) -> str:
    name = postgres.create()
    open_ledger(postgres.url(name)).close()
    return name


@pytest.fixture(scope="session")
def _migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "template.db"
    open_ledger(f"sqlite:///{path}").close()
    return path


@pytest.fixture(params=DATABASES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database without any schema, once per kind of database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture(params=DATABASES)
def new_ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Makes migrated, empty ledgers and gives their URLs, once per kind of database."""
    if request.param == "sqlite":
        migrated: Path = request.getfixturevalue("_migrated_sqlite")
        yield lambda: f"sqlite:///{shutil.copy(migrated, tmp_path / f'{uuid.uuid4().hex}.db')}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    template: str = request.getfixturevalue("_migrated_postgres")
    names: list[str] = []

    def create() -> str:
        names.append(server.create(template))
        return server.url(names[-1])

    yield create
    for name in names:
        server.drop(name)


@pytest.fixture
def ledger_url(new_ledger_url: Callable[[], str]) -> str:
    """URL of a migrated, empty ledger, once per kind of database."""
    return new_ledger_url()


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[SqlLedger]:
    """A migrated, empty ledger, once per kind of database."""
    opened = open_ledger(ledger_url, migrate=False)
    yield opened
    opened.close()


class LedgerFactory:
    """Small values for ledgers: everything of book `b`, asset BTCUSDT, in 2025."""

    book = "b"
    asset = Asset("binanceusdm", "BTCUSDT")
    start_ms = 1_751_328_000_000

    def decision(self, bar: int = 0, **changes: Any) -> Decision:
        close_ms = self.start_ms + bar * HOUR_MS
        asset, book = changes.get("asset", self.asset), changes.get("book", self.book)
        made = Decision(
            id=decision_id(book, asset, close_ms, "p-1"),
            book=book,
            asset=asset,
            interval=Interval.H1,
            bar_close_ms=close_ms,
            params_version="p-1",
            code_version="0.1.0",
            data_hash="c-abc",
            window_start_ms=close_ms - 500 * HOUR_MS,
            regime_model_id="m-1",
            probabilities=RegimeProbabilities(0.7, 0.2, 0.1),
            regime=Regime.CALM,
            alphas={"momentum": 0.1 + 0.2, "liquidity": -1e-17, "confidence": 0.0},
            votes=(Vote("trend_hunter", 1.0, True, 0.25, "ADX 31"), Vote("surfer", -0.5, False, 0.0, "stress only")),
            score=0.123456789012345678,
            price=106_000.1,
            target_fraction=0.2,
            approved_fraction=0.1,
            action=Action.OPEN,
            stop_price=104_000.0,
            features={"close": 106_000.1, "rsi": 55.5},
            reasons=("the trend holds", "α > 0"),
            approvals=(Approval("exposure", True, "0.1 <= 0.3"),),
        )
        return replace(made, **changes)

    def intent(self, decision: Decision, leg: str = "market", **changes: Any) -> OrderIntent:
        kind = OrderKind.STOP if leg == "stop" else OrderKind.MARKET
        made = OrderIntent(
            client_id=client_order_id(decision.book, decision.id, leg),
            book=decision.book,
            decision_id=decision.id,
            leg=leg,
            symbol=decision.asset.symbol,
            side=Side.SELL if kind is OrderKind.STOP else Side.BUY,
            kind=kind,
            quantity=Decimal("0.010"),
            created_ms=decision.bar_close_ms,
            stop_price=Decimal("104000.0") if kind is OrderKind.STOP else None,
            reduce_only=kind is OrderKind.STOP,
        )
        return replace(made, **changes)

    def fill(self, trade_id: int, quantity: str, price: str = "100", **changes: Any) -> Fill:
        """A fill of the signed `quantity`, at `trade_id` seconds after the start; the fee is 0.1 % of its value."""
        size = Decimal(quantity)
        made = Fill(
            symbol="BTCUSDT",
            trade_id=str(trade_id),
            client_id=None,
            venue_order_id="1",
            side=Side.of(size),
            quantity=abs(size),
            price=Decimal(price),
            fee=abs(size) * Decimal(price) / 1000,
            time_ms=self.start_ms + trade_id * 1000,
        )
        return replace(made, **changes)


@pytest.fixture(scope="session")
def make() -> LedgerFactory:
    """Factory of small values."""
    return LedgerFactory()
