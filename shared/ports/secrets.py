"""Keys and their versions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """One enabled version of a secret. Its value appears in no repr."""

    secret: str
    number: int
    """counted by the store; a newer version has a larger one"""
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """An enabled version of a secret, without its value."""

    number: int
    created_ms: int | None
    """`None` where the store does not know"""


class Secrets(Protocol):
    """Keys, which no file of settings holds.

    All methods raise `ConfigError` where a person must act (no such secret or version, permission denied) and
    `SecretsUnavailable` where the store does not answer.
    """

    def newest(self, secret: str) -> SecretVersion:
        """The newest version that is enabled."""
        ...

    def version(self, secret: str, number: int) -> SecretVersion:
        """One version; it must be enabled."""
        ...

    def versions(self, secret: str) -> list[VersionInfo]:
        """The enabled versions, newest first."""
        ...

    def disable(self, secret: str, number: int) -> None:
        """Let a version be read no more; it can be enabled again. Silent where it is disabled already."""
        ...
