"""Rotation in Secret Manager: versions, overlap of two keys, and what refusals mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import pytest
from google.cloud.secretmanager_v1 import SecretManagerServiceClient

from shared.adapters.gcp.clients import secret_manager_client
from shared.adapters.gcp.key_ring import KeyRing
from shared.adapters.gcp.secrets import SecretManagerSecrets
from shared.cli import wiring
from shared.config.load import load
from shared.domain.errors import ConfigError, RateLimited, SecretsUnavailable, UsageError, VenueRejected, VenueUnreachable
from tests.integration.gcp.fake_api import FakeApi, Refusal
from tests.integration.gcp.fake_secret_manager import CREATED_S, SecretManager

KEY, SECRET = "binance-api-key", "binance-api-secret"


class Store:
    """A fake Secret Manager, and our client of it."""

    def __init__(self, api: FakeApi, manager: SecretManager) -> None:
        self.api, self.manager = api, manager
        self.secrets = SecretManagerSecrets("demo", client=secret_manager_client(api.channel()), patience_s=1.0)

    def add(self, *pairs: str) -> None:
        for pair in pairs:
            self.manager.add("demo", KEY, f"key-{pair}")
            self.manager.add("demo", SECRET, f"secret-{pair}")

    def enabled(self) -> list[list[int]]:
        return [[info.number for info in self.secrets.versions(name)] for name in (KEY, SECRET)]


@pytest.fixture
def store() -> Iterator[Store]:
    manager = SecretManager()
    with FakeApi({SecretManagerServiceClient: manager}) as api:
        yield Store(api, manager)


class Venue:
    """Accepts pairs of which key and secret belong together, but not those it is told to refuse."""

    def __init__(self, *refused: str) -> None:
        self.refused, self.asked = set(refused), list[str]()
        self.error: Exception | None = None

    async def signed_read(self, values: Mapping[str, str]) -> None:
        key, secret = values[KEY].removeprefix("key-"), values[SECRET].removeprefix("secret-")
        self.asked.append(f"{key}{secret}")
        if self.error is not None:
            raise self.error
        if key != secret or key in self.refused:
            raise VenueRejected("Invalid API-key, IP, or permissions for action", -2015)


def ring(store: Store, venue: Venue, *, disables: bool = True) -> KeyRing:
    return KeyRing(store.secrets, (KEY, SECRET), venue.signed_read, disables=disables)


async def test_the_newest_pair_comes_into_force_and_older_ones_are_disabled(store: Store) -> None:
    store.add("a", "b")
    venue = Venue()
    keys = ring(store, venue)
    renewal = await keys.renew()
    assert (renewal.is_new, renewal.numbers) == (True, {KEY: 2, SECRET: 2})
    assert keys.values == {KEY: "key-b", SECRET: "secret-b"}
    assert store.enabled() == [[2], [2]]


async def test_nothing_new_proves_nothing_again(store: Store) -> None:
    store.add("a")
    venue = Venue()
    keys = ring(store, venue)
    assert [(await keys.renew()).is_new for _ in range(3)] == [True, False, False]
    assert venue.asked == ["aa"]


async def test_a_rotation_is_seen_and_the_old_key_is_disabled_only_after_the_new_one_has_proved_itself(store: Store) -> None:
    store.add("a")
    venue = Venue("b")
    keys = ring(store, venue)
    await keys.renew()
    store.add("b")
    renewal = await keys.renew()
    assert (renewal.is_new, renewal.numbers) == (False, {KEY: 1, SECRET: 1})
    assert renewal.refused[0] == f"{KEY} 2, {SECRET} 2: Invalid API-key, IP, or permissions for action"
    assert venue.asked[1:] == ["bb", "ba", "ab"]
    assert (keys.values[KEY], store.enabled()) == ("key-a", [[2, 1], [2, 1]])
    venue.refused.clear()  # its address was allowed meanwhile
    assert not (await keys.renew()).refused  # not tried out again yet
    keys.forget_refusals()
    assert (await keys.renew()).is_new
    assert (keys.values[KEY], store.enabled()) == ("key-b", [[2], [2]])


async def test_half_a_rotation_changes_nothing(store: Store) -> None:
    store.add("a")
    venue = Venue()
    keys = ring(store, venue)
    await keys.renew()
    store.manager.add("demo", KEY, "key-b")
    assert not (await keys.renew()).is_new
    assert (venue.asked[1:], keys.values[KEY], store.enabled()) == (["ba"], "key-a", [[2, 1], [1]])
    store.manager.add("demo", SECRET, "secret-b")
    assert (await keys.renew()).numbers == {KEY: 2, SECRET: 2}


async def test_a_typo_after_a_rotation_never_leads_back_to_the_pair_before(store: Store) -> None:
    store.add("a", "b")
    venue = Venue()
    trader = ring(store, venue, disables=False)  # older versions stay until the daily look
    assert (await trader.renew()).numbers == {KEY: 2, SECRET: 2}
    store.manager.add("demo", SECRET, "secret-typo")
    renewal = await trader.renew()
    assert (renewal.is_new, renewal.numbers, venue.asked[1:]) == (False, {KEY: 2, SECRET: 2}, ["btypo"])
    venue.refused.add("a")  # the old key is deleted at the venue
    trader.forget_refusals()
    assert (await trader.renew()).numbers == {KEY: 2, SECRET: 2}
    assert trader.values == {KEY: "key-b", SECRET: "secret-b"}
    assert (await ring(store, venue).renew()).numbers == {KEY: 2, SECRET: 2}
    assert store.enabled() == [[2], [3, 2]]


@pytest.mark.parametrize("typos", [1, 5])
async def test_a_process_that_starts_after_typos_finds_the_newest_pair_that_works(store: Store, typos: int) -> None:
    store.add("a", "b")
    for number in range(typos):
        store.manager.add("demo", SECRET, f"secret-typo{number}")
    assert (await ring(store, Venue(), disables=False).renew()).numbers == {KEY: 2, SECRET: 2}


async def test_a_typo_on_top_of_a_whole_rotation_does_not_hide_it(store: Store) -> None:
    store.add("a")
    keys = ring(store, Venue())
    await keys.renew()
    store.add("b")
    store.manager.add("demo", SECRET, "secret-typo")
    assert (await keys.renew()).numbers == {KEY: 2, SECRET: 2}


async def test_the_older_pair_comes_back_where_a_person_has_disabled_the_one_in_force(store: Store) -> None:
    store.add("a", "b")
    keys = ring(store, Venue(), disables=False)
    await keys.renew()
    store.secrets.disable(KEY, 2)
    assert (await keys.renew()).numbers == {KEY: 1, SECRET: 1}


async def test_a_look_tries_out_a_bounded_number_of_pairs(store: Store) -> None:
    store.add(*"abcdef")
    venue = Venue(*"abcdef")
    with pytest.raises(ConfigError):
        await ring(store, venue).renew()
    assert len(venue.asked) == len(set(venue.asked)) == 16


async def test_a_process_that_starts_in_the_middle_of_a_bad_rotation_takes_the_pair_that_works(store: Store) -> None:
    store.add("a", "b")
    keys = ring(store, Venue("b"))
    assert (await keys.renew()).numbers == {KEY: 1, SECRET: 1}
    assert store.enabled() == [[2, 1], [2, 1]]


@pytest.mark.parametrize("error", [VenueUnreachable("refused"), RateLimited("slow down", -1003)])
async def test_a_venue_that_does_not_judge_changes_nothing(store: Store, error: Exception) -> None:
    store.add("a")
    venue = Venue()
    keys = ring(store, venue)
    await keys.renew()
    store.add("b")
    venue.error = error
    with pytest.raises(type(error)):
        await keys.renew()
    assert (keys.values[KEY], store.enabled()) == ("key-a", [[2, 1], [2, 1]])


async def test_where_nothing_is_accepted_it_is_said(store: Store) -> None:
    store.add("a")
    with pytest.raises(ConfigError, match=f"no enabled version of {KEY}, {SECRET} is accepted: {KEY} 1.*Invalid API-key"):
        await ring(store, Venue("a")).renew()


async def test_an_old_version_that_cannot_be_disabled_is_told_and_the_new_one_is_in_force(store: Store) -> None:
    store.add("a", "b")
    venue = Venue()
    keys = ring(store, venue)

    async def then_deny(values: Mapping[str, str]) -> None:
        await venue.signed_read(values)
        store.manager.fault = Refusal(grpc.StatusCode.PERMISSION_DENIED, "lacks secretmanager.versions.disable")

    keys = KeyRing(store.secrets, (KEY, SECRET), then_deny)
    renewal = await keys.renew()
    assert renewal.is_new
    assert len(renewal.not_disabled) == 1
    assert "permission denied" in renewal.not_disabled[0]


def test_the_newest_enabled_version_is_found_behind_a_disabled_one(store: Store) -> None:
    store.add("a", "b", "c")
    store.secrets.disable(KEY, 3)
    assert store.secrets.newest(KEY).value == "key-b"
    assert [info.created_ms for info in store.secrets.versions(KEY)] == [(CREATED_S + 2) * 1000, (CREATED_S + 1) * 1000]


def test_reading_the_newest_needs_no_right_to_list(store: Store) -> None:
    store.add("a")
    store.secrets.newest(KEY)
    assert [name for name, _ in store.api.asked] == ["access_secret_version"]


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, ConfigError, f"the secret {KEY} in demo cannot be used: permission denied; grant"),
        (grpc.StatusCode.UNAUTHENTICATED, ConfigError, "the identity is not accepted"),
    ],
)
def test_a_lasting_refusal_is_a_matter_of_settings(store: Store, code: Any, kind: type[Exception], message: str) -> None:
    store.add("a")
    store.manager.fault = Refusal(code, "said the test")
    with pytest.raises(kind, match=message):
        store.secrets.newest(KEY)


def test_a_passing_refusal_is_tried_again_by_itself(store: Store) -> None:
    store.add("a")
    store.manager.fault = Refusal(grpc.StatusCode.UNAVAILABLE, "said the test")
    assert store.secrets.newest(KEY).value == "key-a"


def test_a_store_that_is_away_and_a_value_that_comes_damaged_are_safe_to_try_again(store: Store) -> None:
    store.add("a")
    store.manager.damages = True
    with pytest.raises(SecretsUnavailable, match=f"{KEY} came damaged"):
        store.secrets.newest(KEY)
    away = SecretManagerSecrets("demo", client=secret_manager_client(grpc.insecure_channel("127.0.0.1:9")), patience_s=0.5)
    with pytest.raises(SecretsUnavailable, match=KEY):
        away.newest(KEY)


def test_an_address_that_is_no_store_is_refused() -> None:
    for url in ("demo", "sm://", "gs://demo"):
        with pytest.raises(UsageError, match="expected sm://PROJECT"):
            SecretManagerSecrets.at(url)


def test_a_trader_gets_the_keys_of_its_account_from_the_store(store: Store) -> None:
    store.add("A", "B")
    settings = load(environment={"OST_MODE": "testnet", "OST_SECRETS__URL": "sm://demo"}).settings
    assert wiring.account_keys(settings, store.secrets) == ("key-B", "secret-B")


def test_a_trader_without_keys_is_told_how_to_add_them(store: Store) -> None:
    settings = load(environment={"OST_MODE": "testnet", "OST_SECRETS__URL": "sm://demo"}).settings
    with pytest.raises(ConfigError, match="gcloud secrets versions add binance-api-key"):
        wiring.account_keys(settings, store.secrets)
