"""`Secrets` that a process was started with, by the environment or `.env`: one version each, which only a restart replaces."""

from __future__ import annotations

from collections.abc import Mapping

from shared.domain.errors import ConfigError
from shared.ports import SecretVersion, VersionInfo

_ONLY = 1


class EnvironmentSecrets:
    """Secrets by id (`binance-api-key`); `prefix` is that of their variables (`OST_BINANCE_API_KEY`)."""

    def __init__(self, values: Mapping[str, str], prefix: str = "OST_") -> None:
        self._values, self._prefix = {name: value for name, value in values.items() if value}, prefix

    def __repr__(self) -> str:
        return f"EnvironmentSecrets({sorted(self._values)})"

    def newest(self, secret: str) -> SecretVersion:
        """The secret. Raises `ConfigError` where it is not set."""
        value = self._values.get(secret)
        if value is None:
            variable = f"{self._prefix}{secret.upper().replace('-', '_')}"
            raise ConfigError(f"there is no secret {secret}; set {variable} in the environment or in .env")
        return SecretVersion(secret, _ONLY, value)

    def version(self, secret: str, number: int) -> SecretVersion:
        """The secret, which has version 1 alone. Raises `ConfigError` for another one."""
        if number != _ONLY:
            raise ConfigError(f"the secret {secret} of the environment has version {_ONLY} alone, not {number}")
        return self.newest(secret)

    def versions(self, secret: str) -> list[VersionInfo]:
        """The one version; nobody knows how old it is."""
        return [VersionInfo(self.newest(secret).number, None)]

    def disable(self, secret: str, number: int) -> None:
        """Forget it, in this process alone. Raises `ConfigError` for a version that never was."""
        if number != _ONLY:
            raise ConfigError(f"the secret {secret} of the environment has version {_ONLY} alone, not {number}")
        self._values.pop(secret, None)
