"""What `maintain` and `ingest` make of rights that are missing and secrets that have run out: as processes, by their logs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.cloud import secretmanager_v1 as api

from tests.integration.functions.conftest import OPEN_BARS, Cloud, slot
from tests.integration.functions.test_refusals import forbidding
from tests.integration.gcp.fake_api import FakeApi, Refusal
from tests.integration.gcp.fake_secret_manager import SecretManager

__all__ = ["forbidding"]  # a fixture

KEYS = ("binance-api-key", "binance-api-secret")
NewCloud = Callable[..., Cloud]


@pytest.fixture
def manager() -> SecretManager:
    """The pair `paper`, which the venue takes."""
    made = SecretManager()
    for name in KEYS:
        made.add("demo", name, "paper")
    return made


@pytest.fixture
def address(manager: SecretManager) -> Iterator[str]:
    with FakeApi({api.SecretManagerServiceClient: manager}) as served:
        yield served.address


@pytest.fixture
def cloud(new_cloud: NewCloud, address: str) -> Cloud:
    made = new_cloud(
        OST_MODE="testnet",
        OST_SECRETS__URL="sm://demo",
        SECRET_MANAGER_EMULATOR_HOST=address,
        OST_EXCHANGE__CLOCK_SKEW_LIMIT_MS="null",  # the exchange stands still in another year
    )
    made.start("maintain")
    return made


def told(cloud: Cloud, event: str) -> list[dict[str, Any]]:
    return [line for line in cloud.functions["maintain"].lines() if line.get("event") == event]


def states(manager: SecretManager) -> list[list[str]]:
    return [[state.name for _, state in manager.versions[f"projects/demo/secrets/{name}"]] for name in KEYS]


def test_a_right_that_is_missing_is_named_and_the_other_parts_are_done(cloud: Cloud, manager: SecretManager) -> None:
    manager.fault = Refusal(grpc.StatusCode.PERMISSION_DENIED, "fn-maintain does not have secretmanager.versions.list access")
    assert cloud.functions["maintain"].tick(slot(OPEN_BARS), task="all") == 204  # asking again helps nobody
    (failed,) = told(cloud, "maintenance.failed")
    assert (failed["severity"], failed["part"]) == ("ERROR", "secrets")
    assert "permission denied; grant the service account the role for it" in failed["message"]
    assert failed["logging.googleapis.com/labels"]["event_id"] == f"slot {slot(OPEN_BARS)}"
    assert told(cloud, "ledger.backed_up")
    assert told(cloud, "ledger.sound")
    assert states(manager) == [["ENABLED"], ["ENABLED"]]


def test_a_store_that_is_away_is_asked_again(cloud: Cloud, manager: SecretManager) -> None:
    manager.fault = Refusal(grpc.StatusCode.INTERNAL, "said the test")
    manager.damages = True
    assert cloud.functions["maintain"].tick(slot(OPEN_BARS), task="all") == 503
    (failed,) = told(cloud, "maintenance.failed")
    assert (failed["severity"], failed["part"]) == ("WARNING", "secrets")
    assert "checksum" in failed["message"]
    manager.damages = False
    assert cloud.functions["maintain"].tick(slot(OPEN_BARS), task="all") == 204


def test_secrets_that_have_run_out_are_an_error_and_nothing_is_touched(cloud: Cloud, manager: SecretManager) -> None:
    for name in KEYS:
        path = f"projects/demo/secrets/{name}"
        manager.versions[path] = [(content, api.SecretVersion.State.DISABLED) for content, _ in manager.versions[path]]
    assert cloud.functions["maintain"].tick(slot(OPEN_BARS), task="all") == 204
    (failed,) = told(cloud, "maintenance.failed")
    assert failed["severity"] == "ERROR"
    assert "no enabled version of binance-api-key, binance-api-secret is accepted" in failed["message"]
    assert states(manager) == [["DISABLED"], ["DISABLED"]]


def test_a_newer_key_that_the_venue_refuses_is_told_and_the_older_one_stays(cloud: Cloud, manager: SecretManager) -> None:
    for name in KEYS:
        manager.add("demo", name, "expired")
    assert cloud.functions["maintain"].tick(slot(OPEN_BARS), task="all") == 204
    refused, *halves = told(cloud, "secret.refused")
    assert [line["severity"] for line in (refused, *halves)] == ["ERROR"] * 3  # each half with the older one's as well
    assert "binance-api-key 2, binance-api-secret 2" in refused["message"]
    assert "expired" not in cloud.functions["maintain"].log.read_text()
    assert states(manager) == [["ENABLED", "ENABLED"]] * 2


def test_a_topic_that_may_not_be_published_to_is_named_and_the_round_comes_again(new_cloud: NewCloud, forbidding: str) -> None:
    cloud = new_cloud(PUBSUB_EMULATOR_HOST=forbidding)
    cloud.start("ingest")
    assert cloud.functions["ingest"].tick(slot(OPEN_BARS), interval="1h") == 503
    refused = [line for line in cloud.functions["ingest"].lines() if line.get("event") == "call.refused"][-1]
    assert (refused["error"], refused["status"]) == ("BusUnavailable", 503)
    assert "permission denied; grant the service account the role for it" in refused["message"]
    assert refused["logging.googleapis.com/labels"]["event_id"] == f"slot {slot(OPEN_BARS)}"
    assert cloud.bucket.list() == []
