"""A ledger that does not answer costs a trader one time-out and is back by itself; what it answers is not held against it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import text

from shared.adapters.sql import Patience, SqlLedger, open_ledger
from shared.adapters.sql.engine import reading, writing
from shared.domain.errors import LedgerError, LedgerUnavailable
from shared.domain.orders import OrderReport, OrderState
from tests.e2e.live.proxy import FaultProxy
from tests.integration.conftest import PostgresServer

PROMPT = Patience(answer_s=0.5, statement_s=0.4, fails_fast=True)
OUTAGE_S = 4.0
BACK_WITHIN_S = 10.0


@pytest.fixture
def database(postgres: PostgresServer, _migrated_postgres: str) -> Iterator[str]:
    name = postgres.create(_migrated_postgres)
    yield name
    postgres.drop(name)


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[FaultProxy]:
    between = FaultProxy(("127.0.0.1", postgres.port))
    yield between
    between.close()


@pytest.fixture
def ledger(proxy: FaultProxy, database: str) -> Iterator[SqlLedger]:
    port = proxy.url.rsplit(":", 1)[1]
    opened = open_ledger(f"postgresql://postgres@127.0.0.1:{port}/{database}", migrate=False, patience=PROMPT)
    yield opened
    opened.close()


def waited_s(ledger: SqlLedger) -> float:
    """How long a call takes that finds the ledger away."""
    began_s = time.monotonic()
    with pytest.raises(LedgerUnavailable):
        ledger.acquire_lease("b", "me", 60_000, 0)
    return time.monotonic() - began_s


def is_back(ledger: SqlLedger) -> bool:
    try:
        return ledger.acquire_lease("b", "me", 60_000, 0) is not None
    except LedgerUnavailable:
        return False


def wait_until_back(ledger: SqlLedger) -> None:
    until_s = time.monotonic() + BACK_WITHIN_S
    while not is_back(ledger):
        assert time.monotonic() < until_s


@pytest.mark.parametrize("idle_s", [0.0, 1.1], ids=["in use", "idle"])
def test_a_black_hole_costs_one_time_out_in_all(ledger: SqlLedger, proxy: FaultProxy, idle_s: float) -> None:
    assert is_back(ledger)
    proxy.freeze()
    time.sleep(idle_s)
    waits_s, until_s = [], time.monotonic() + OUTAGE_S
    while time.monotonic() < until_s:
        waits_s.append(waited_s(ledger))
    assert len(waits_s) > 100
    assert waits_s[0] < 2 * PROMPT.answer_s
    assert max(waits_s[1:]) < PROMPT.answer_s  # who asks a server that is silent waits at least so long
    proxy.thaw()
    wait_until_back(ledger)


def test_a_server_that_refuses_is_asked_again_beside_the_calls(ledger: SqlLedger, proxy: FaultProxy) -> None:
    port, proxy.target = proxy.target[1], ("127.0.0.1", 1)
    proxy.cut()
    waited_s(ledger)
    with pytest.raises(LedgerUnavailable, match="asked again"):
        ledger.books()
    proxy.target = ("127.0.0.1", port)
    wait_until_back(ledger)


def test_a_statement_that_takes_too_long_fails_in_time(ledger: SqlLedger) -> None:
    began_s = time.monotonic()
    with pytest.raises(LedgerUnavailable, match="took too long"), reading(ledger.engine) as connection:
        connection.execute(text("SELECT pg_sleep(10)"))
    assert time.monotonic() - began_s < 5
    wait_until_back(ledger)


def test_what_the_ledger_answers_does_not_make_it_away(ledger: SqlLedger) -> None:
    with pytest.raises(LedgerError, match="is not in the ledger"):
        ledger.advance_order(OrderReport("nobody", "BTCUSDT", OrderState.OPEN, Decimal(0)))
    with pytest.raises(LedgerUnavailable, match="ost db migrate"), reading(ledger.engine) as connection:
        connection.execute(text("SELECT * FROM nowhere"))
    assert is_back(ledger)


def test_what_a_frozen_process_has_locked_is_taken_back(
    ledger: SqlLedger, postgres: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.adapters.sql.engine.IDLE_IN_TRANSACTION_S", 1)
    frozen = open_ledger(postgres.url(database), migrate=False, patience=PROMPT)
    frozen.acquire_lease("b", "frozen", 0, 0)

    def stand_still() -> None:
        with writing(frozen.engine) as connection:
            connection.execute(text("UPDATE leases SET token = token"))
            wait_until_back(ledger)  # it cannot take the lease before the row is free
            connection.execute(text("SELECT 1"))

    with pytest.raises(LedgerUnavailable):
        stand_still()
    frozen.close()


def test_a_writer_that_holds_sqlite_costs_one_time_out(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    holder, ledger = open_ledger(url), open_ledger(url, patience=PROMPT)
    with writing(holder.engine) as connection:
        connection.execute(text("UPDATE leases SET token = token"))
        assert waited_s(ledger) < 10 * PROMPT.statement_s
        assert waited_s(ledger) < PROMPT.statement_s
    wait_until_back(ledger)
    holder.close()
    ledger.close()


def test_a_durable_commit_of_sqlite_is_on_the_disk_and_others_need_not_be(tmp_path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    levels = []
    for durable in (True, False, True):
        with writing(ledger.engine, durable=durable) as connection:
            levels.append(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())
    assert levels == [2, 1, 2]  # FULL, NORMAL
    ledger.close()
