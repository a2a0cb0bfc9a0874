"""Keys are rotated while the bot trades: a newer pair is proven by a signed read, and then signs, on the same connections."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import grpc
import pytest
from google.cloud.secretmanager_v1 import SecretManagerServiceClient

from shared.adapters.gcp.clients import secret_manager_client
from shared.adapters.gcp.secrets import SecretManagerSecrets
from shared.adapters.sql.ledger import open_ledger
from shared.cli import wiring
from shared.cli.account_keys import KEYS, AccountKeys
from shared.config.load import load
from shared.domain.errors import ConfigError, VenueRejected
from shared.trading.session_types import LivePorts
from tests.integration.gcp.fake_api import FakeApi, Refusal
from tests.integration.gcp.fake_secret_manager import SecretManager

ACCOUNT = {
    "totalWalletBalance": "100",
    "totalMarginBalance": "100",
    "availableBalance": "100",
    "assets": [],
    "positions": [],
}


@pytest.fixture
def manager() -> SecretManager:
    return SecretManager()


@pytest.fixture
def store(manager: SecretManager) -> Iterator[SecretManagerSecrets]:
    with FakeApi({SecretManagerServiceClient: manager}) as api:
        yield SecretManagerSecrets("demo", client=secret_manager_client(api.channel()), patience_s=1.0)


@pytest.fixture
def accepted(venue: Any) -> dict[str, str]:
    """Key -> secret that the venue takes; whoever else signs is refused."""
    pairs: dict[str, str] = {}

    def account(asked: Any) -> tuple[int, Any]:
        query = urlencode({name: text for name, text in asked.parameters.items() if name != "signature"})
        secret = pairs.get(asked.headers["X-MBX-APIKEY"])
        if secret is None:
            return 401, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}
        if hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest() != asked.parameters["signature"]:
            return 400, {"code": -1022, "msg": "Signature for this request is not valid."}
        return 200, ACCOUNT

    venue.replies["GET /fapi/v3/account"] = account
    return pairs


@pytest.fixture
async def process(
    venue: Any, store: SecretManagerSecrets, manager: SecretManager, accepted: dict[str, str], tmp_path: Path
) -> AsyncIterator[tuple[AccountKeys, LivePorts]]:
    """A trader's ports, begun with the first pair, which the venue takes."""
    add(manager, "a")
    accepted["key-a"] = "secret-a"
    environment = {
        "OST_STORAGE__ROOT": str(tmp_path),
        "OST_MODE": "testnet",
        "OST_SECRETS__URL": "sm://demo",
        "OST_VENUE__BASE_URL": venue.base_url,
    }
    settings = load(environment=environment, folder=tmp_path).settings
    ledger = open_ledger(settings.ledger_url)
    keys = wiring.renewed_keys(settings, ledger, store)
    assert keys is not None
    await keys.ready()
    ports = wiring.live_ports(settings, ledger, "b", keys=keys)
    yield keys, ports
    await ports.exchange.close()
    ledger.close()


def add(manager: SecretManager, pair: str) -> None:
    for name, kind in zip(KEYS, ("key", "secret"), strict=True):
        manager.add("demo", name, f"{kind}-{pair}")


async def signed_by(venue: Any, ports: LivePorts) -> str:
    """The key of the trader's next request, which the venue takes."""
    await ports.exchange.account()
    return str(venue.asked[-1].headers["X-MBX-APIKEY"])


async def test_a_proven_pair_takes_over_without_a_restart(
    venue: Any,
    process: tuple[AccountKeys, LivePorts],
    manager: SecretManager,
    store: SecretManagerSecrets,
    accepted: dict[str, str],
) -> None:
    keys, ports = process
    assert await signed_by(venue, ports) == "key-a"
    manager.add("demo", KEYS[0], "key-b")  # a person rotates one after the other
    accepted["key-b"] = "secret-b"
    await keys.look()
    assert await signed_by(venue, ports) == "key-a"
    manager.add("demo", KEYS[1], "secret-b")
    await keys.look()
    assert await signed_by(venue, ports) == "key-b"
    del accepted["key-a"]  # now the old one may go at the venue
    assert await signed_by(venue, ports) == "key-b"
    accepted.clear()
    with pytest.raises(VenueRejected, match="check the API key"):
        await ports.exchange.account()
    assert [info.number for name in KEYS for info in store.versions(name)] == [2, 1, 2, 1]  # none is disabled here


async def test_a_pair_that_the_venue_refuses_changes_nothing_and_is_not_tried_again_at_once(
    venue: Any,
    process: tuple[AccountKeys, LivePorts],
    manager: SecretManager,
    accepted: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    keys, ports = process
    add(manager, "mistyped")
    with caplog.at_level(logging.INFO):
        await keys.look()
        asked = len(venue.asked)
        await keys.look()
    assert len(venue.asked) == asked
    refused = " ".join(record.getMessage() for record in caplog.records if record.levelname == "ERROR")
    tried = re.findall(r"binance-api-key (\d), binance-api-secret (\d): ", refused)
    assert tried == [("2", "2"), ("2", "1"), ("1", "2")]  # the new pair, and each of its halves with the one in force
    assert "mistyped" not in caplog.text
    assert await signed_by(venue, ports) == "key-a"
    add(manager, "c")
    accepted["key-c"] = "secret-c"
    await keys.look()
    assert await signed_by(venue, ports) == "key-c"


async def test_a_store_that_is_away_or_forbidden_leaves_the_keys_in_force(
    venue: Any, process: tuple[AccountKeys, LivePorts], manager: SecretManager
) -> None:
    keys, ports = process
    for code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INTERNAL):
        manager.fault = Refusal(code, "said the test")
        await keys.look()
        manager.fault = None
        assert await signed_by(venue, ports) == "key-a"


async def test_a_process_begins_with_the_newest_pair_that_is_taken_or_not_at_all(
    venue: Any, store: SecretManagerSecrets, manager: SecretManager, accepted: dict[str, str], tmp_path: Path
) -> None:
    environment = {
        "OST_STORAGE__ROOT": str(tmp_path),
        "OST_MODE": "testnet",
        "OST_SECRETS__URL": "sm://demo",
        "OST_VENUE__BASE_URL": venue.base_url,
    }
    settings = load(environment=environment, folder=tmp_path).settings
    ledger = open_ledger(settings.ledger_url)
    for pair in ("a", "mistyped"):
        add(manager, pair)
    keys = wiring.renewed_keys(settings, ledger, store)
    assert keys is not None
    with pytest.raises(ConfigError, match="no enabled version of binance-api-key, binance-api-secret is accepted"):
        await keys.ready()
    accepted["key-a"] = "secret-a"
    begun = wiring.renewed_keys(settings, ledger, store)
    assert begun is not None
    await begun.ready()
    assert begun.pair == ("key-a", "secret-a")
    ledger.close()
