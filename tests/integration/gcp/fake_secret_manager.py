"""Secret Manager's versions, states and checksums, in the API's own messages."""

from __future__ import annotations

from typing import Any

import google_crc32c
import grpc
from google.cloud import secretmanager_v1 as api

from tests.integration.gcp.fake_api import Refusal

State = api.SecretVersion.State
CREATED_S = 1_751_328_000


class SecretManager:
    """Secrets by path; `fault` is raised by whatever is asked for next."""

    def __init__(self) -> None:
        self.versions: dict[str, list[tuple[bytes, Any]]] = {}
        self.fault: Refusal | None = None
        self.damages = False

    def add(self, project: str, secret: str, *contents: str) -> None:
        self.versions.setdefault(f"projects/{project}/secrets/{secret}", []).extend(
            (content.encode(), State.ENABLED) for content in contents
        )

    def access_secret_version(self, request: Any) -> Any:
        path, number, (content, state) = self._found(request.name)
        if state != State.ENABLED:
            raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, f"Secret Version [{request.name}] is in {state.name} state.")
        checksum = google_crc32c.value(content)
        return api.AccessSecretVersionResponse(
            name=f"{path}/versions/{number}",
            payload={"data": content + b"x" if self.damages else content, "data_crc32c": checksum},
        )

    def list_secret_versions(self, request: Any) -> Any:
        self._fail()
        if request.parent not in self.versions:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"Secret [{request.parent}] not found.")
        assert request.filter == "state:ENABLED"
        versions = [
            api.SecretVersion(
                name=f"{request.parent}/versions/{number}", state=state, create_time={"seconds": CREATED_S + number}
            )
            for number, (_, state) in enumerate(self.versions[request.parent], 1)
        ]
        return api.ListSecretVersionsResponse(versions=[version for version in versions if version.state == State.ENABLED])

    def disable_secret_version(self, request: Any) -> Any:
        path, number, (content, _) = self._found(request.name)
        self.versions[path][number - 1] = (content, State.DISABLED)
        return api.SecretVersion(name=request.name, state=State.DISABLED)

    def _found(self, name: str) -> tuple[str, int, tuple[bytes, Any]]:
        self._fail()
        path, _, version = name.rpartition("/versions/")
        stored = self.versions.get(path, [])
        number = len(stored) if version == "latest" else int(version)
        if not 1 <= number <= len(stored):
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"Secret Version [{name}] not found.")
        return path, number, stored[number - 1]

    def _fail(self) -> None:
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
