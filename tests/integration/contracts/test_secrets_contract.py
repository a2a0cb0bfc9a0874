"""What every `Secrets` promises. Another adapter joins by adding its factory to `FACTORIES`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from shared.adapters.local.secrets import EnvironmentSecrets
from shared.domain.errors import ConfigError
from shared.ports import Secrets


def _environment() -> Iterator[Secrets]:
    yield EnvironmentSecrets({"binance-api-key": "k-1", "jwt-key": ""})


def _secret_manager() -> Iterator[Secrets]:
    from google.cloud.secretmanager_v1 import SecretManagerServiceClient

    from shared.adapters.gcp.clients import secret_manager_client
    from shared.adapters.gcp.secrets import SecretManagerSecrets
    from tests.integration.gcp.fake_api import FakeApi
    from tests.integration.gcp.fake_secret_manager import SecretManager

    manager = SecretManager()
    manager.add("demo", "binance-api-key", "k-1\n")
    manager.add("demo", "jwt-key")
    with FakeApi({SecretManagerServiceClient: manager}) as api:
        yield SecretManagerSecrets("demo", client=secret_manager_client(api.channel()))


FACTORIES: dict[str, Callable[[], Iterator[Secrets]]] = {"environment": _environment, "secret-manager": _secret_manager}


@pytest.fixture(params=sorted(FACTORIES))
def secrets(request: pytest.FixtureRequest) -> Iterator[Secrets]:
    yield from FACTORIES[request.param]()


def test_a_secret_has_a_value_and_a_number(secrets: Secrets) -> None:
    newest = secrets.newest("binance-api-key")
    assert (newest.secret, newest.number, newest.value) == ("binance-api-key", 1, "k-1")
    assert secrets.version("binance-api-key", 1) == newest
    assert [info.number for info in secrets.versions("binance-api-key")] == [1]


def test_no_repr_shows_a_value(secrets: Secrets) -> None:
    assert "k-1" not in repr(secrets) + repr(secrets.newest("binance-api-key"))


@pytest.mark.parametrize("secret", ["jwt-key", "nobody-knows-it"])
def test_a_secret_without_a_value_is_a_matter_of_settings(secrets: Secrets, secret: str) -> None:
    with pytest.raises(ConfigError, match=f"secret {secret}.*(set OST_|gcloud secrets versions add {secret})"):
        secrets.newest(secret)


def test_an_absent_version_is_a_matter_of_settings(secrets: Secrets) -> None:
    for ask in (secrets.version, secrets.disable):
        with pytest.raises(ConfigError, match="binance-api-key"):
            ask("binance-api-key", 7)


def test_a_disabled_version_is_read_no_more(secrets: Secrets) -> None:
    for _ in range(2):
        secrets.disable("binance-api-key", 1)
    with pytest.raises(ConfigError, match="binance-api-key"):
        secrets.newest("binance-api-key")
    with pytest.raises(ConfigError, match="binance-api-key"):
        secrets.version("binance-api-key", 1)
