"""The ledger in Cloud SQL: the real connector, TLS and an identity instead of a password, on a real PostgreSQL."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.gcp.cloud_sql import CloudSqlSockets, instance_of
from shared.adapters.sql import SqlLedger
from shared.adapters.sql.engine import Patience, label, make_engine
from shared.adapters.sql.migrate import migrate
from shared.adapters.sql.postgres_wire import PromptConnection
from shared.domain.errors import ConfigError, LedgerUnavailable
from shared.domain.records import Lease
from tests.integration.gcp.cloud_sql_instance import FRONT_PORT, NAME, CloudSqlInstance, Identity

USER = "bot@demo.iam"
PATIENCE = Patience(answer_s=5.0, statement_s=4.0)


@pytest.fixture
def database(postgres: Any) -> Iterator[str]:
    name = postgres.create()
    postgres._administer(f'DROP ROLE IF EXISTS "{USER}"')
    postgres._administer(f'CREATE ROLE "{USER}" LOGIN SUPERUSER')
    yield name
    postgres.drop(name)
    postgres._administer(f'DROP ROLE "{USER}"')


@pytest.fixture
def instance(postgres: Any, tmp_path: Path) -> Iterator[CloudSqlInstance]:
    with CloudSqlInstance(tmp_path, postgres.port) as running:
        yield running


def opened(instance: CloudSqlInstance, database: str, patience: Patience = PATIENCE) -> SqlLedger:
    sockets = CloudSqlSockets(NAME, patience.answer_s, credentials=Identity(), sqladmin_api_endpoint=instance.endpoint)
    return SqlLedger(make_engine(f"cloudsql://{USER}.gserviceaccount.com@{NAME}/{database}", patience, sockets))


def test_a_ledger_is_migrated_and_written_through_the_connector(instance: CloudSqlInstance, database: str) -> None:
    ledger = opened(instance, database)
    migrate(ledger.engine)
    lease = ledger.acquire_lease("b", "me", 60_000, 0)
    assert lease == Lease("b", "me", 1, 60_000)
    with ledger.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT current_user").scalar() == USER
        assert isinstance(connection.connection.dbapi_connection, PromptConnection)
    assert sorted(instance.asked) == ["connectSettings", "ledger:generateEphemeralCert"]
    assert instance.tokens == ["token for sqlservice.login"]
    assert label(ledger.engine) == f"postgresql://bot%40demo.iam@[{NAME}]/{database}"
    ledger.close()


def test_a_lost_connection_is_made_anew(instance: CloudSqlInstance, database: str) -> None:
    ledger = opened(instance, database)
    migrate(ledger.engine)
    instance.cut()
    time.sleep(0.2)  # until the client has heard of it
    assert ledger.acquire_lease("b", "me", 60_000, 0) is not None
    ledger.close()


def test_a_process_keeps_no_more_connections_than_its_share(instance: CloudSqlInstance, database: str) -> None:
    ledger = opened(instance, database, Patience(answer_s=0.5, statement_s=0.4, connections=1))
    with (
        ledger.engine.connect(),
        pytest.raises(LedgerUnavailable, match="does not answer in time"),
    ):
        ledger.positions("b")
    ledger.close()


@pytest.mark.parametrize(
    ("status", "message"),
    [(403, "permission denied; grant the service account the roles cloudsql.client"), (404, "there is no such instance")],
)
def test_a_refusal_of_the_api_says_what_to_do(instance: CloudSqlInstance, database: str, status: int, message: str) -> None:
    instance.refusal = status
    with pytest.raises(LedgerUnavailable, match=f"{NAME}: {message}.*said the test"):
        opened(instance, database).positions("b")


def test_an_instance_that_refuses_connections_is_unavailable_and_comes_back(instance: CloudSqlInstance, database: str) -> None:
    ledger = opened(instance, database)
    there, instance.address = instance.address, "127.0.0.9"
    with pytest.raises(LedgerUnavailable, match="refused or lost; check that the server is up"):
        ledger.positions("b")
    instance.address = there
    migrate(ledger.engine)
    assert ledger.positions("b") == {}


def test_an_instance_that_is_silent_holds_nobody_up_and_comes_back(instance: CloudSqlInstance, database: str) -> None:
    ledger = opened(instance, database, Patience(answer_s=1.0, statement_s=0.8))
    there, instance.address = instance.address, "127.0.0.8"
    with _FullQueue((instance.address, FRONT_PORT)):
        for _ in range(2):
            began_s = time.monotonic()
            with pytest.raises(LedgerUnavailable, match="does not answer in time"):
                ledger.positions("b")
            assert time.monotonic() - began_s < 3
        instance.address = there
        deadline = time.monotonic() + 30
        while not _answers(ledger):
            assert time.monotonic() < deadline


def _answers(ledger: SqlLedger) -> bool:
    try:
        with ledger.engine.connect():
            return True
    except (TimeoutError, OSError):
        return False


class _FullQueue:
    """A server whose queue of connections is full: nobody is refused, nobody is let in."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._server = socket.create_server(address, backlog=0)
        self._waiting = [socket.socket() for _ in range(8)]

    def __enter__(self) -> None:
        for waiting in self._waiting:
            waiting.setblocking(False)
            waiting.connect_ex(self._server.getsockname())

    def __exit__(self, *_: object) -> None:
        for waiting in (*self._waiting, self._server):
            waiting.close()


def test_threads_share_one_certificate(instance: CloudSqlInstance, database: str) -> None:
    ledger = opened(instance, database)
    migrate(ledger.engine)
    threads = [threading.Thread(target=ledger.positions, args=("b",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(instance.asked) == 2


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("cloudsql://demo:europe-west1:ledger/ledger", "expected cloudsql://USER@PROJECT:REGION:INSTANCE/DATABASE"),
        ("cloudsql://bot@ledger/ledger", "expected cloudsql://USER@PROJECT:REGION:INSTANCE/DATABASE"),
        ("cloudsql://bot@demo:europe-west1:ledger", "expected cloudsql://USER@PROJECT:REGION:INSTANCE/DATABASE"),
        ("cloudsql://bot:hunter2@demo:europe-west1:ledger/ledger", "has a password, but the login is that of"),
    ],
)
def test_an_address_that_is_no_instance_is_refused_without_repeating_it(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make_engine(url)
    assert "hunter2" not in str(caught.value)


def test_a_service_account_signs_in_without_its_suffix() -> None:
    found = instance_of("cloudsql://bot@demo.iam.gserviceaccount.com@example.com:demo:europe-west1:ledger/books")
    assert (found.user, found.name, found.database) == ("bot@demo.iam", "example.com:demo:europe-west1:ledger", "books")


def test_the_connector_is_imported_without_what_is_not_used_and_leaves_no_stand_in() -> None:
    code = """
import sys
from shared.adapters.gcp.connector_import import load_connector
load_connector().Connector
print([name for name in sys.modules if name.split(".")[0] in ("grpc", "dns") or "sqladmin" in name or "sqldata" in name])
import dns.resolver, google.cloud.sql.connector.sqldata_client as real
print(real.SqlDataClient.__module__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "google.cloud.sql.connector.sqldata_client"]
