"""What outlives a process beside the ledger: objects, and the journal of exits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shared.domain.orders import OrderIntent


@dataclass(frozen=True, slots=True)
class StoredObject:
    """The bytes of an object and the generation that a conditional write must name."""

    content: bytes
    generation: int


class Bucket(Protocol):
    """Named objects with compare-and-swap."""

    def read(self, name: str) -> StoredObject | None:
        """The object, or `None` where there is none."""
        ...

    def write(self, name: str, content: bytes, *, if_generation: int | None = None) -> int:
        """Replace the object in one step and return its new generation.

        `if_generation` is the generation that the writer has read (0: the object must not exist); `None` writes
        unconditionally. Raises `Conflict` where another writer was faster, `StorageError` where the disk refuses; in both
        cases the stored object is unharmed.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove the object; silent where there is none."""
        ...

    def list(self, prefix: str = "") -> list[str]:
        """Names that start with `prefix`, sorted."""
        ...


class ExitJournal(Protocol):
    """What keeps exits while the ledger is down, and outlives the process: durable before `append` returns."""

    def append(self, intent: OrderIntent) -> None:
        """Write an intent down before it is sent. Raises `StorageError`."""
        ...

    def pending(self) -> list[OrderIntent]:
        """Intents that were not yet taken over by the ledger, oldest first."""
        ...

    def clear(self) -> None:
        """Forget them: the ledger has them now."""
        ...
