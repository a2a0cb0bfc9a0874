"""`Secrets` in Secret Manager. Nothing is cached: whoever asks again sees a rotation.

Terraform makes the secrets, people add their versions. `newest` asks for the alias `latest` first, for which a reader needs the
role secretAccessor alone; only where that version is disabled the others are listed (role viewer). A newline at the end, which
`echo … | gcloud secrets versions add` leaves, belongs to no key and is taken away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from google.api_core import exceptions as api

from shared.adapters.gcp.clients import secret_manager_client
from shared.adapters.gcp.errors import FAILURES, is_passing, reason
from shared.domain.errors import ConfigError, SecretsUnavailable, UsageError
from shared.ports import SecretVersion, VersionInfo

PATIENCE_S = 10.0
"""How long a request waits, all attempts together."""

_ENABLED = "ENABLED"


class SecretManagerSecrets:
    """The secrets of `project`."""

    def __init__(self, project: str, *, client: Any | None = None, patience_s: float = PATIENCE_S) -> None:
        from google.api_core.retry import Retry, if_exception_type

        self.project = project
        self._client = client or secret_manager_client()
        passing = if_exception_type(
            api.ServiceUnavailable, api.InternalServerError, api.ResourceExhausted, api.DeadlineExceeded
        )
        self._options: dict[str, Any] = {"retry": Retry(passing, initial=0.2, timeout=patience_s), "timeout": patience_s / 2}

    @classmethod
    def at(cls, url: str, *, client: Any | None = None) -> SecretManagerSecrets:
        """The secrets at `sm://PROJECT`. Raises `UsageError` for another kind of URL."""
        scheme, _, project = url.partition("://")
        if scheme != "sm" or not project or "/" in project:
            raise UsageError(f"{url!r} is no store of secrets; expected sm://PROJECT")
        return cls(project, client=client)

    def __repr__(self) -> str:
        return f"SecretManagerSecrets({self.project!r})"

    def newest(self, secret: str) -> SecretVersion:
        """The newest version that is enabled; see the port."""
        try:
            with self._failures(secret):
                return self._accessed(secret, "latest")
        except ConfigError as error:
            if not isinstance(error.__cause__, api.FailedPrecondition):
                raise
        enabled = self.versions(secret)
        if not enabled:
            raise ConfigError(
                f"the secret {secret} in {self.project} has no enabled version; {_how_to_add(secret, self.project)}"
            )
        return self.version(secret, enabled[0].number)

    def version(self, secret: str, number: int) -> SecretVersion:
        """One version; see the port."""
        with self._failures(secret, number):
            return self._accessed(secret, str(number))

    def versions(self, secret: str) -> list[VersionInfo]:
        """The enabled versions, newest first; see the port."""
        with self._failures(secret):
            request = {"parent": self._path(secret), "filter": f"state:{_ENABLED}"}
            found = [
                VersionInfo(_number(version.name), round(version.create_time.timestamp() * 1000))
                for version in self._client.list_secret_versions(request=request, **self._options)
                if version.state.name == _ENABLED
            ]
        return sorted(found, key=lambda version: version.number, reverse=True)

    def disable(self, secret: str, number: int) -> None:
        """Let a version be read no more; see the port."""
        with self._failures(secret, number):
            self._client.disable_secret_version(name=f"{self._path(secret)}/versions/{number}", **self._options)

    def _accessed(self, secret: str, version: str) -> SecretVersion:
        from google_crc32c import value as crc32c

        answer = self._client.access_secret_version(name=f"{self._path(secret)}/versions/{version}", **self._options)
        content = answer.payload.data
        if answer.payload.data_crc32c and crc32c(content) != answer.payload.data_crc32c:
            raise SecretsUnavailable(f"the secret {secret} came damaged (its checksum differs); try again")
        return SecretVersion(secret, _number(answer.name), content.decode().strip())

    def _path(self, secret: str) -> str:
        return f"projects/{self.project}/secrets/{secret}"

    @contextmanager
    def _failures(self, secret: str, number: int | None = None) -> Iterator[None]:
        what = f"the secret {secret}" if number is None else f"version {number} of the secret {secret}"
        try:
            yield
        except api.NotFound as error:
            advice = _how_to_add(secret, self.project)
            raise ConfigError(f"{what} in {self.project} does not exist or has no version; {advice}") from error
        except FAILURES as error:
            kind = SecretsUnavailable if is_passing(error) else ConfigError
            raise kind(f"{what} in {self.project} cannot be used: {reason(error)}") from error


def _number(name: str) -> int:
    return int(name.rpartition("/")[2])


def _how_to_add(secret: str, project: str) -> str:
    return f"add one with: gcloud secrets versions add {secret} --project {project} --data-file=-"
