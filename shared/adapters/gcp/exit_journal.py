"""Exits that are sent while the ledger is away, in an object of a bucket: what an instance leaves there outlives it.

The object is replaced as a whole by compare-and-swap, so that an instance that comes and one that goes lose nothing of each
other. Who appends knows the object from the last time, and needs one request: the order waits for it. The bucket repeats what
fails for as long as it was told to, and a lost race is run again a few times; then it is a `StorageError`.
"""

from __future__ import annotations

from collections.abc import Callable

from shared.adapters.exit_lines import intents_in, line_of
from shared.domain.errors import Conflict, StorageError
from shared.domain.orders import OrderIntent
from shared.ports import Bucket, StoredObject

_NOTHING = StoredObject(b"", 0)
_RACES = 5


class BucketExitJournal:
    """The journal in the object `name` of `bucket`, which should give up within seconds."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket, self._name = bucket, name
        self._known: StoredObject | None = None
        self._shown = b""

    def __repr__(self) -> str:
        return f"BucketExitJournal({self._bucket!r}, {self._name!r})"

    def append(self, intent: OrderIntent) -> None:
        """Write an intent down; in the bucket when it returns. Raises `StorageError`, and then it must not be sent."""
        self._replace(lambda content: content + line_of(intent))

    def pending(self) -> list[OrderIntent]:
        """Intents that are in the journal, oldest first, each once. Raises `StorageError` where a line cannot be read."""
        content = self._read().content
        found = intents_in(content, f"the object {self._name}")
        self._shown = content
        return found

    def clear(self) -> None:
        """Forget what `pending` has given; what was appended since stays. Raises `StorageError`."""
        if self._shown:
            self._replace(lambda content: content.removeprefix(self._shown))
            self._shown = b""

    def _replace(self, change: Callable[[bytes], bytes]) -> None:
        stored = self._known or self._read()
        for _ in range(_RACES):
            content = change(stored.content)
            try:
                generation = self._bucket.write(self._name, content, if_generation=stored.generation)
            except Conflict:
                stored = self._read()
            except StorageError:
                self._known = None  # it may be the new one or the old one
                raise
            else:
                self._known = StoredObject(content, generation)
                return
        raise StorageError(f"cannot write the exit journal {self._name}: {_RACES} times another process was faster; try again")

    def _read(self) -> StoredObject:
        self._known = None
        self._known = self._bucket.read(self._name) or _NOTHING
        return self._known
