"""New keys of the account prove themselves by a signed read before the old ones are let go (`maintain`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.adapters.gcp.key_ring import KeyRing, Values
from shared.adapters.sql import SqlLedger, open_ledger
from shared.cli import wiring
from shared.config.load import load
from shared.config.settings import Settings
from shared.domain.errors import VenueRejected, VenueUnreachable
from shared.ports import SecretVersion, VersionInfo
from tests.integration.functions.conftest import Exchange

KEYS = ("binance-api-key", "binance-api-secret")


class Store:
    """A store of secrets in memory: values by version."""

    def __init__(self, *values: str) -> None:
        self.values = {name: dict(enumerate(values, 1)) for name in KEYS}

    def newest(self, secret: str) -> SecretVersion:
        return self.version(secret, max(self.values[secret]))

    def version(self, secret: str, number: int) -> SecretVersion:
        return SecretVersion(secret, number, self.values[secret][number])

    def versions(self, secret: str) -> list[VersionInfo]:
        return [VersionInfo(number, 0) for number in sorted(self.values[secret], reverse=True)]

    def disable(self, secret: str, number: int) -> None:
        self.values[secret].pop(number, None)


@pytest.fixture
def exchange(market_folder: Path) -> Iterator[Exchange]:
    started = Exchange(market_folder)
    yield started
    started.process.kill()
    started.process.communicate()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    opened = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture
def settings_at(tmp_path: Path) -> Callable[[str], Settings]:
    return lambda url: load(environment={"OST_MODE": "testnet", "OST_VENUE__BASE_URL": url}, folder=tmp_path).settings


async def test_keys_are_proved_by_reading_the_account(
    exchange: Exchange, ledger: SqlLedger, settings_at: Callable[[str], Settings]
) -> None:
    settings = settings_at(exchange.url)
    await wiring.prove_keys(settings, ledger, ("paper", "paper"))
    for keys in (("paper", "another"), ("another", "paper")):
        with pytest.raises(VenueRejected):
            await wiring.prove_keys(settings, ledger, keys)
    with pytest.raises(VenueUnreachable):
        await wiring.prove_keys(settings_at("http://127.0.0.1:9"), ledger, ("paper", "paper"))


async def test_a_new_pair_takes_over_only_once_the_venue_takes_it(
    exchange: Exchange, ledger: SqlLedger, settings_at: Callable[[str], Settings]
) -> None:
    settings = settings_at(exchange.url)

    async def proof(values: Values) -> None:
        await wiring.prove_keys(settings, ledger, (values[KEYS[0]], values[KEYS[1]]))

    refused = Store("paper", "mistyped")
    renewal = await KeyRing(refused, KEYS, proof).renew()
    assert renewal.numbers == dict.fromkeys(KEYS, 1)
    assert len(renewal.refused) == 3  # the new pair, and each of its halves with the older one's
    assert all(set(versions) == {1, 2} for versions in refused.values.values())
    rotated = Store("retired", "paper")
    assert (await KeyRing(rotated, KEYS, proof).renew()).numbers == dict.fromkeys(KEYS, 2)
    assert all(set(versions) == {2} for versions in rotated.values.values())
