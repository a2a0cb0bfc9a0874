"""A file beside the process in which exits are written down while the ledger is away: one JSON line per intent.

An intent is on the disk (`fsync`) before `append` returns, so that what was sent can always be found again. A process that is
killed while it writes leaves a torn last line: its order was not sent yet, and it is dropped. Any other line that cannot be
read is an error, and nothing in the file is touched until a person has looked.
"""

from __future__ import annotations

import os
from contextlib import suppress
from io import FileIO
from pathlib import Path

from shared.adapters.exit_lines import intents_in, line_of
from shared.domain.errors import StorageError
from shared.domain.orders import OrderIntent


class FileExitJournal:
    """The journal in the file `path`, made with its folder at the first intent. One process writes it: the lease's holder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shown_bytes = 0

    def __repr__(self) -> str:
        return f"FileExitJournal({str(self._path)!r})"

    def append(self, intent: OrderIntent) -> None:
        """Write an intent down; on the disk when it returns. Raises `StorageError`, and then it must not be sent."""
        line = line_of(intent)
        try:
            is_new = not self._path.exists()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab+", buffering=0) as file:
                start = self._whole_lines(file)
                try:
                    _write(file.fileno(), line)
                except OSError:
                    with suppress(OSError):  # what is torn now is dropped by the next reader
                        file.truncate(start)
                    raise
            if is_new:
                _sync_folder(self._path.parent)
        except OSError as error:
            raise self._refused("write", error) from error

    def pending(self) -> list[OrderIntent]:
        """Intents that are in the journal, oldest first, each once. Raises `StorageError` where a line cannot be read."""
        content = self._read()
        whole = content[: content.rfind(b"\n") + 1]
        found = intents_in(whole, str(self._path))
        self._shown_bytes = len(whole)
        return found

    def clear(self) -> None:
        """Forget what `pending` has given; what was appended since stays. Raises `StorageError`."""
        if self._shown_bytes == 0:
            return
        rest = self._read()[self._shown_bytes :]
        partial = self._path.with_name(f".{self._path.name}.partial")
        try:
            with partial.open("wb", buffering=0) as file:
                _write(file.fileno(), rest)
            partial.replace(self._path)
            _sync_folder(self._path.parent)
        except OSError as error:
            raise self._refused("clear", error) from error
        self._shown_bytes = 0

    def _read(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise self._refused("read", error) from error

    def _whole_lines(self, file: FileIO) -> int:
        """Cut a torn last line off; length of what is left."""
        size = file.seek(0, os.SEEK_END)
        content = self._path.read_bytes() if size else b""
        whole = content.rfind(b"\n") + 1
        if whole != size:
            file.truncate(whole)
        return whole

    def _refused(self, what: str, error: OSError) -> StorageError:
        reason = error.strerror or str(error)
        return StorageError(f"cannot {what} the exit journal {self._path}: {reason}; free the disk or mend its permissions")


def _write(descriptor: int, content: bytes) -> None:
    """All of `content`, on the disk."""
    written = 0
    while written < len(content):
        written += os.write(descriptor, content[written:])
    os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make a new or renamed file survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
