"""Clients are made when they are asked for, with the process's identity; without one, a person is told what to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions as api
from google.auth.exceptions import RefreshError
from requests.exceptions import ConnectTimeout

from shared.adapters.gcp import clients
from shared.adapters.gcp.errors import FAILURES, is_passing, reason
from shared.adapters.gcp.rest import pubsub_api
from shared.adapters.sql import SqlLedger
from shared.adapters.sql.engine import make_engine
from shared.domain.errors import ConfigError

MODULES = sorted(path.stem for path in Path(clients.__file__).parent.glob("*.py") if path.stem not in ("__init__", "http_only"))


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A computer on which nobody has signed in, outside Google Cloud."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "PUBSUB_EMULATOR_HOST", "STORAGE_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))


FACTORIES: list[Callable[[], Any]] = [
    clients.storage_client,
    clients.publisher_client,
    clients.subscriber_client,
    clients.secret_manager_client,
    clients.http_session,
    pubsub_api,
]


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("make", FACTORIES, ids=lambda make: make.__name__)
def test_without_an_identity_a_person_is_told_how_to_get_one(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigError, match=r"no Google Cloud identity here.*gcloud auth application-default login"):
        make()


@pytest.mark.usefixtures("nobody")
def test_nor_can_the_ledger_in_cloud_sql_be_used() -> None:
    ledger = SqlLedger(make_engine("cloudsql://bot@demo.iam@demo:europe-west1:ledger/ledger"))
    with pytest.raises(ConfigError, match="no Google Cloud identity here to sign in to Cloud SQL"):
        ledger.positions("b")


def test_importing_makes_no_client() -> None:
    code = f"""
import sys, threading
import google.auth
google.auth.default = lambda *_, **__: sys.exit("somebody asked for an identity")
for name in {MODULES!r}:
    __import__("shared.adapters.gcp." + name)
print(threading.active_count())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("1", "")


def test_each_adapter_loads_only_what_it_uses() -> None:
    heavy = (
        "grpc",
        "google.pubsub_v1",
        "google.cloud.storage",
        "google.cloud.sql",
        "google.cloud.run_v2",
        "sqlalchemy",
        "pandas",
    )
    loads = {"bus": [], "run_jobs": [], "key_ring": [], "log": [], "bucket": ["google.cloud.storage"]}
    for name, expected in loads.items():
        code = f"""
import sys
from shared.adapters.gcp import http_only
import shared.adapters.gcp.{name}
print(*[wanted for wanted in {heavy!r} if sys.modules.get(wanted)])
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.split() == expected, name


@pytest.mark.parametrize(
    ("error", "expected", "passing"),
    [
        (api.Forbidden("bot lacks pubsub.topics.publish"), "permission denied; grant the service account the role", False),
        (api.NotFound("no topic"), "it does not exist", False),
        (api.FailedPrecondition("disabled"), "its state does not allow it", False),
        (api.BadRequest("no"), "the request is refused as it is", False),
        (api.RetryError("Timeout of 1 s exceeded", api.ServiceUnavailable("backend error")), "no answer in time", True),
        (api.TooManyRequests("quota"), "too many requests; try again later", True),
        (api.BadGateway("html"), "the service fails; try again", True),
        (RefreshError("metadata server"), "the identity cannot be renewed", True),
        (ConnectTimeout("timed out"), "it cannot be reached; check the network", True),
    ],
)
def test_a_failure_says_what_to_do_and_whether_it_may_pass(error: Exception, expected: str, passing: bool) -> None:
    assert isinstance(error, FAILURES)
    assert reason(error).startswith(expected)
    assert is_passing(error) == passing
    assert "\n" not in reason(error)


def test_of_a_request_that_was_tried_again_the_last_refusal_is_told() -> None:
    assert "backend error" in reason(api.RetryError("Timeout exceeded", api.ServiceUnavailable("backend\nerror")))


def test_a_process_of_http_alone_refuses_grpc() -> None:
    code = "from shared.adapters.gcp import http_only; from google.cloud.secretmanager_v1 import SecretManagerServiceClient"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(("AttributeError", "ImportError", "ModuleNotFoundError"))
