"""Connections to Cloud SQL: a TLS socket from Google's connector, signed in as the process's own identity; no password.

The connector fetches the instance's address and a certificate of one hour, in which the login token lies, and connects to the
instance's private address; this project's own driver (`shared/adapters/sql`) speaks PostgreSQL over that. The connector cannot
hand its socket over, nor limit how long it waits for the network: so the function by which it calls a driver is replaced by one
that returns the socket, and the one by which it connects by one that gives up. Certificates are renewed when a connection is
made (its `LAZY` strategy): in a process without CPU between requests, a thread that did it beforehand would miss its hour.
"""

from __future__ import annotations

import asyncio
import atexit
import importlib
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

from google.auth.exceptions import GoogleAuthError

from shared.adapters.gcp.connector_import import PACKAGE, load_connector
from shared.domain.errors import ConfigError, LedgerUnavailable

SCHEME = "cloudsql://"
_EXPECTED = "expected cloudsql://USER@PROJECT:REGION:INSTANCE/DATABASE"
_SERVICE_ACCOUNT = ".gserviceaccount.com"
_NETWORK_S = 5.0
"""How long a connection and its TLS handshake may take. Others wait meanwhile: the connector makes one after the other."""

_CLOSE_S = 0.2


@dataclass(frozen=True, slots=True)
class Instance:
    """A database in Cloud SQL and who signs in."""

    user: str
    """as the database knows it: a service account without `.gserviceaccount.com`"""
    name: str
    """PROJECT:REGION:INSTANCE"""
    database: str


def instance_of(url: str) -> Instance:
    """The instance at `cloudsql://USER@PROJECT:REGION:INSTANCE/DATABASE`. Raises `ConfigError` for another kind of URL."""
    user, _, rest = url.removeprefix(SCHEME).rpartition("@")
    name, _, database = rest.partition("/")
    if not url.startswith(SCHEME) or not user or not database or name.count(":") < 2 or not all(name.split(":")):
        raise ConfigError(f"ledger.url is no Cloud SQL instance; {_EXPECTED}")
    if ":" in user:
        raise ConfigError(f"ledger.url has a password, but the login is that of the process's identity; {_EXPECTED}")
    return Instance(user.removesuffix(_SERVICE_ACCOUNT), name, database)


class CloudSqlSockets:
    """Makes connected TLS sockets to an instance; each call gives one. Safe for threads."""

    def __init__(self, instance: str, timeout_s: float, **connector: Any) -> None:
        self._instance, self._timeout_s, self._options = instance, timeout_s, connector
        self._lock = threading.Lock()
        self._line: _Line | None = None

    def __call__(self) -> Any:
        """A socket on which the server waits for a start-up message.

        Raises `TimeoutError` where there was no answer in time, `ConnectionError` where the network refuses, `ConfigError`
        where there is no identity, `LedgerUnavailable` where Cloud SQL refuses for another reason.
        """
        with self._lock:
            line = self._line = self._line or _Line(self._options)
        try:
            connected = line.connect(self._instance, self._timeout_s)
        except TimeoutError:
            raise
        except OSError as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from error
        except Exception as error:
            raise LedgerUnavailable(_refusal(self._instance, error)) from error
        connected.settimeout(self._timeout_s)
        return connected


class _Line:
    """A connector on an event loop of its own, which ends with the process."""

    def __init__(self, options: dict[str, Any]) -> None:
        package = _adapted_connector()
        self._loop = asyncio.new_event_loop()
        try:
            self._connector = package.Connector(
                loop=self._loop,
                **{"ip_type": "PRIVATE", "enable_iam_auth": True, "refresh_strategy": "LAZY", **options},
            )
        except GoogleAuthError as error:
            self._loop.close()
            raise ConfigError(f"there is no Google Cloud identity here to sign in to Cloud SQL with: {error}") from None
        threading.Thread(target=self._loop.run_forever, name="cloud-sql", daemon=True).start()
        atexit.register(self._close)

    def connect(self, instance: str, timeout_s: float) -> Any:
        """A socket. One that comes too late is closed; the certificate that was fetched for it is kept for the next one."""
        connecting = self._connector.connect_async(instance, "pg8000", user="", timeout=timeout_s)
        future = asyncio.run_coroutine_threadsafe(connecting, self._loop)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            future.add_done_callback(_close_late)
            raise

    def _close(self) -> None:
        """At the end of the process, which otherwise would complain about open sessions."""
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._connector.close_async(), self._loop).result(_CLOSE_S)


def _close_late(future: Future[Any]) -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().close()


@cache
def sockets_to(instance: str, timeout_s: float) -> CloudSqlSockets:
    """The process's way to an instance: all engines share its certificate."""
    return CloudSqlSockets(instance, timeout_s)


def _adapted_connector() -> Any:
    package = load_connector()
    driver: Any = importlib.import_module(f"{PACKAGE}.pg8000")
    driver.connect = _socket_itself
    network: Any = importlib.import_module(f"{PACKAGE}.connector")
    network.socket = SimpleNamespace(create_connection=partial(socket.create_connection, timeout=_NETWORK_S))
    return package


def _socket_itself(_address: str, connected: Any, **_options: Any) -> Any:
    return connected


def _refusal(instance: str, error: Exception) -> str:
    status = getattr(error, "status", None)
    advice = {
        403: "permission denied; grant the service account the roles cloudsql.client and cloudsql.instanceUser",
        404: "there is no such instance; check ledger.url, or create it with Terraform",
    }.get(status or 0, "check the instance and the service account")
    return f"Cloud SQL does not let us in to {instance}: {advice} ({' '.join(str(error).split())[:200]})"
