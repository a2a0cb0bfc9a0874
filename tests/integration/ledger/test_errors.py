"""A ledger that cannot be used says what happened and what to do, and never tells its password."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from shared.adapters.sql import Patience, SqlLedger, open_ledger
from shared.adapters.sql.engine import label, make_engine, reading, writing
from shared.domain.errors import ConfigError, LedgerUnavailable


@pytest.mark.parametrize("url", ["mysql://root:hunter2@h/d", "not a url hunter2", "", "postgresql+psycopg://u:hunter2@h/d"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="expected sqlite") as refused:
        make_engine(url)
    assert "hunter2" not in str(refused.value)


def test_a_refused_connection_is_unavailable_and_keeps_the_password() -> None:
    with socket.socket() as taken:  # bound and not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        url = f"postgresql://u:hunter2@127.0.0.1:{taken.getsockname()[1]}/d"
        with pytest.raises(LedgerUnavailable, match="check that the server is up") as refused:
            open_ledger(url)
    assert "hunter2" not in str(refused.value)
    assert "***" in str(refused.value)
    assert "hunter2" not in repr(SqlLedger(make_engine(url))) + label(make_engine(url))


def test_a_server_that_never_answers_is_unavailable() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(LedgerUnavailable):
            open_ledger(f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/d", patience=Patience(answer_s=0.2))


def test_an_absent_database_is_unavailable(postgres: Any) -> None:
    with pytest.raises(LedgerUnavailable, match="does not exist"):
        open_ledger(postgres.url("absent"))


def test_a_lost_connection_recovers_at_the_next_use(postgres: Any, caplog: pytest.LogCaptureFixture) -> None:
    ledger = open_ledger(postgres.url(postgres.create()))
    admin = make_engine(postgres.url("postgres"))
    ledger.acquire_lease("b", "me", 1000, 0)
    kill = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name")
    with writing(admin) as connection:
        connection.execute(kill, {"name": ledger.engine.url.database})
    gone = text("SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = :name")
    with reading(admin) as connection:
        while not connection.execute(gone, {"name": ledger.engine.url.database}).scalar_one():
            pass
    assert ledger.acquire_lease("b", "me", 1000, 1) is not None  # pool_pre_ping

    def lose_it_in_the_middle() -> None:
        with writing(ledger.engine) as connection:
            connection.execute(text("SELECT 1"))
            with writing(admin) as other:
                other.execute(kill, {"name": ledger.engine.url.database})
            connection.execute(text("SELECT 1"))

    with pytest.raises(LedgerUnavailable, match=r"shutting down|lost"):
        lose_it_in_the_middle()
    assert ledger.books() == []
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []  # would raise an alert
    ledger.close()
    admin.dispose()


def test_a_transaction_that_was_left_open_is_a_lost_connection(postgres: Any, caplog: pytest.LogCaptureFixture) -> None:
    ledger = open_ledger(postgres.url(postgres.create()))
    admin = make_engine(postgres.url("postgres"))
    gone = text("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = :pid")

    def be_frozen_in_the_middle() -> None:
        with writing(ledger.engine) as connection:
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '50ms'"))
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with reading(admin) as other:
                while not other.execute(gone, {"pid": pid}).scalar_one():
                    pass
            connection.execute(text("SELECT 1"))

    with pytest.raises(LedgerUnavailable, match=r"left open too long|lost"):  # the server's words, or their loss
        be_frozen_in_the_middle()
    assert ledger.books() == []
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []
    ledger.close()
    admin.dispose()


def test_a_lock_that_is_held_too_long_is_unavailable(ledger_url: str) -> None:
    holder = open_ledger(ledger_url, migrate=False)
    waiter = open_ledger(ledger_url, migrate=False, patience=Patience(statement_s=0.3))
    holder.acquire_lease("b", "me", 1000, 0)
    with writing(holder.engine) as connection:
        connection.execute(text("UPDATE leases SET token = token"))
        with pytest.raises(LedgerUnavailable, match=r"stop the other process|took too long"):
            waiter.acquire_lease("b", "me", 1000, 0)
    assert waiter.acquire_lease("b", "me", 1000, 0) is not None
    holder.close()
    waiter.close()


def test_a_missing_schema_says_how_to_make_it(empty_url: str) -> None:
    ledger = open_ledger(empty_url, migrate=False)
    with pytest.raises(LedgerUnavailable, match="ost db migrate"):
        ledger.books()
    ledger.close()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_text("this is not a database, it is a text of some length " * 100)
    with pytest.raises(LedgerUnavailable, match="no SQLite database"):
        open_ledger(f"sqlite:///{path}")
    assert path.read_text().startswith("this is not")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(LedgerUnavailable, match="choose another ledger"):
        open_ledger(f"sqlite:///{tmp_path / 'file' / 'x.db'}")
    with pytest.raises(LedgerUnavailable, match="cannot be opened"):
        open_ledger(f"sqlite:///{tmp_path}")


def test_a_full_disk_is_unavailable_and_harms_nothing(tmp_path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path / 'x.db'}")
    ledger.log("b", "test", "info", "before", 0)
    with reading(ledger.engine) as connection:  # which stays at hand: the next use gets this one
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 2}")
    with pytest.raises(LedgerUnavailable, match="disk is full"):
        ledger.log("b", "test", "info", "x" * 100_000, 1)
    ledger.close()
    again = open_ledger(f"sqlite:///{tmp_path / 'x.db'}")
    assert [entry["message"] for entry in again.agent_log("b")] == ["before"]
    again.close()


def test_a_read_only_ledger_can_be_read_and_refuses_writes(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    open_ledger(f"sqlite:///{path}").close()
    ledger = open_ledger(f"sqlite:///file:{path}?mode=ro&uri=true")
    assert ledger.books() == []
    with pytest.raises(LedgerUnavailable, match="read-only"):
        ledger.log("b", "test", "info", "x", 0)
    ledger.close()
