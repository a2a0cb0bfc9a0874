"""A `Bucket` in Cloud Storage: the generation that the service itself counts makes compare-and-swap.

A write is one upload with `if_generation_match`, which the service decides in one step; the library's own policy repeats what
failed. A repeated upload can lose against its own first attempt, whose answer was lost: every upload carries a name of its
own as metadata, by which the winner is known. Invariant: readers see a complete old or a complete new object.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from google.api_core.exceptions import NotFound, PreconditionFailed
from google.cloud.storage.retry import DEFAULT_RETRY

from shared.adapters.gcp.clients import storage_client
from shared.adapters.gcp.errors import FAILURES, is_passing, reason
from shared.domain.errors import Conflict, StorageError, StorageForbidden, UsageError
from shared.ports import StoredObject

PATIENCE_S = 60.0
"""How long a request is repeated, all attempts together."""

_ATTEMPT_S = (5.0, 30.0)
"""To connect, and to wait for the next bytes."""

_UPLOAD = "ost-upload"
"""Metadata of an object: the upload that wrote it."""


class GcsBucket:
    """Objects below `prefix` (`""`, or `a/b`) of the bucket `name`. Objects above 8 MiB are uploaded resumably."""

    def __init__(self, name: str, prefix: str = "", *, client: Any | None = None, patience_s: float = PATIENCE_S) -> None:
        self.name, self.prefix = name, f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._bucket = (client or storage_client()).bucket(name)
        self._options: dict[str, Any] = {"retry": DEFAULT_RETRY.with_timeout(patience_s), "timeout": _ATTEMPT_S}

    @classmethod
    def at(cls, url: str, *, client: Any | None = None, patience_s: float = PATIENCE_S) -> GcsBucket:
        """The bucket at `gs://NAME[/PREFIX]`. Raises `UsageError` for another kind of URL."""
        scheme, _, rest = url.partition("://")
        name, _, prefix = rest.partition("/")
        if scheme != "gs" or not name:
            raise UsageError(f"{url!r} is no bucket; expected gs://BUCKET or gs://BUCKET/PREFIX")
        return cls(name, prefix, client=client, patience_s=patience_s)

    def __repr__(self) -> str:
        return f"GcsBucket('gs://{self.name}/{self.prefix}')"

    def read(self, name: str) -> StoredObject | None:
        """The object, or `None` where there is none. Raises `StorageError` where it cannot be read."""
        blob = self._blob(name)
        with self._failures("read", name):
            try:  # bytes and generation come with one answer
                content: bytes = blob.download_as_bytes(raw_download=True, **self._options)
            except NotFound:
                return None
        return StoredObject(content, int(blob.generation))

    def write(self, name: str, content: bytes, *, if_generation: int | None = None) -> int:
        """Replace the object in one step and return its new generation.

        Raises `Conflict` where the stored generation is not `if_generation` (0: no object may be there), and `StorageError`
        where the service refuses. In both cases the stored object is unharmed; after `StorageError` it may also be the new one.
        """
        blob = self._blob(name)
        blob.metadata = {_UPLOAD: uuid.uuid4().hex}
        with self._failures("write", name):
            try:
                blob.upload_from_string(
                    content, content_type="application/octet-stream", if_generation_match=if_generation, **self._options
                )
            except PreconditionFailed:
                return self._won(name, blob.metadata[_UPLOAD], if_generation)
        return int(blob.generation)

    def delete(self, name: str) -> None:
        """Remove the object; silent where there is none. Raises `StorageError` where the service refuses."""
        blob = self._blob(name)
        with self._failures("delete", name):
            try:
                blob.delete(**self._options)
            except NotFound:
                return

    def list(self, prefix: str = "") -> list[str]:
        """Names that start with `prefix`, sorted. Raises `StorageError` where the bucket does not answer."""
        with self._failures("list", prefix or "what there is"):
            found = self._bucket.list_blobs(prefix=self.prefix + prefix, fields="items(name),nextPageToken", **self._options)
            return sorted(blob.name.removeprefix(self.prefix) for blob in found)

    def _won(self, name: str, upload: str, expected: int | None) -> int:
        """The stored generation if `upload` made it; raises `Conflict` if another one did."""
        stored = self._bucket.get_blob(self.prefix + name, **self._options)
        if stored is not None and (stored.metadata or {}).get(_UPLOAD) == upload:
            return int(stored.generation)
        found = stored.generation if stored is not None else 0
        raise Conflict(f"{name} has generation {found}, expected {expected}; read it again and merge")

    def _blob(self, name: str) -> Any:
        if any(not part or part.startswith(".") or "\0" in part for part in name.split("/")):
            raise UsageError(f"{name!r} is no object name; expected parts joined by '/', none empty or starting with a dot")
        return self._bucket.blob(self.prefix + name)

    @contextmanager
    def _failures(self, what: str, name: str) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            kind = StorageError if is_passing(error) else StorageForbidden
            raise kind(f"cannot {what} {name} in gs://{self.name}/{self.prefix}: {reason(error)}") from error
