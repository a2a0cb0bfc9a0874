"""A `Bucket` in a folder: plain files that any tool can open, with compare-and-swap between threads and processes.

The generation of an object is the modification time of its file in nanoseconds, set on the temporary file *before* the rename:
content and generation change in one atomic step, and an edit by another program changes the generation too. Writers of a
name hold an advisory lock (`flock`) from the check of the generation to the rename; readers need none.
Invariant: whatever happens (full disk, kill, power loss), the file under the name is a complete old or a complete new object.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.domain.errors import Conflict, StorageError, UsageError
from shared.ports import StoredObject

_LOCKS = ".locks"
_LOCK_STRIPES = 64
# How far to move the time stamp when the file system keeps coarser stamps than nanoseconds (µs, ms, 1 s, 2 s).
_STAMP_STEPS_NS = (0, 1_000, 1_000_000, 1_000_000_000, 2_000_000_000)


class FolderBucket:
    """Objects below `root`, which is created at the first write."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def __repr__(self) -> str:
        return f"FolderBucket({str(self.root)!r})"

    def read(self, name: str) -> StoredObject | None:
        """The object, or `None` where there is none. Raises `StorageError` where it cannot be read."""
        path = self._path(name)
        try:
            with path.open("rb") as file:
                return StoredObject(content=file.read(), generation=os.fstat(file.fileno()).st_mtime_ns)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StorageError(f"cannot read {path}: {_reason(error)}") from error

    def write(self, name: str, content: bytes, *, if_generation: int | None = None) -> int:
        """Replace the object in one step and return its new generation.

        Raises `Conflict` where the stored generation is not `if_generation` (0: no object may be there), and `StorageError`
        where the disk refuses. In both cases the stored object is unharmed.
        """
        path = self._path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked(name):
                current = _generation(path)
                if if_generation is not None and if_generation != current:
                    raise Conflict(f"{name} has generation {current}, expected {if_generation}; read it again and merge")
                return _replace(path, content, newer_than=current)
        except OSError as error:
            raise StorageError(f"cannot write {path}: {_reason(error)}; the stored object is unchanged") from error

    def delete(self, name: str) -> None:
        """Remove the object; silent where there is none. Raises `StorageError` where the disk refuses."""
        path = self._path(name)
        if not path.exists():
            return
        try:
            with self._locked(name):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot delete {path}: {_reason(error)}") from error

    def list(self, prefix: str = "") -> list[str]:
        """Names that start with `prefix`, sorted."""
        folder = self.root / prefix.rpartition("/")[0]
        names = (
            path.relative_to(self.root)
            for path in folder.rglob("*")
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(self.root).parts)
        )
        return sorted(name for path in names if (name := path.as_posix()).startswith(prefix))

    def _path(self, name: str) -> Path:
        parts = name.split("/")
        if any(not part or part.startswith(".") or "\0" in part for part in parts):
            raise UsageError(f"{name!r} is no object name; expected parts joined by '/', none empty or starting with a dot")
        return self.root.joinpath(*parts)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Exclusive among threads and processes. The kernel frees the lock of a process that dies."""
        locks = self.root / _LOCKS
        locks.mkdir(parents=True, exist_ok=True)
        stripe = zlib.crc32(name.encode()) % _LOCK_STRIPES
        descriptor = os.open(locks / f"{stripe:02d}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _generation(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _replace(path: Path, content: bytes, newer_than: int) -> int:
    """Write, flush, stamp and rename. The temporary name is fixed, so that a killed writer leaves at most one per object."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            generation = _stamp(file.fileno(), newer_than)
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
    return generation


def _stamp(descriptor: int, newer_than: int) -> int:
    """Set the modification time to now, but after `newer_than`; return what the file system kept."""
    wanted = max(time.time_ns(), newer_than + 1)
    for step in _STAMP_STEPS_NS:
        os.utime(descriptor, ns=(wanted + step, wanted + step))
        kept = os.fstat(descriptor).st_mtime_ns
        if kept > newer_than:
            return kept
    raise OSError(errno.EIO, "the file system does not keep modification times")


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    hints = {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "the disk quota is used up",
        errno.EFBIG: "the file would exceed the size limit",
        errno.EROFS: "the file system is read-only",
        errno.EACCES: "permission denied",
        errno.EPERM: "permission denied",
        errno.ENOTDIR: "a part of the path is a file, expected a folder",
        errno.EISDIR: "it is a folder, expected a file",
    }
    return hints.get(error.errno or 0, error.strerror or str(error))
