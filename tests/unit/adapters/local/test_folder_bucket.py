"""What a folder adds to the bucket's contract: full disks, killed writers, other programs."""

from __future__ import annotations

import multiprocessing
import os
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.adapters.local.bucket import FolderBucket
from shared.domain.errors import Conflict, StorageError


def _answer_of(work: Callable[..., None], root: Path) -> str:
    """What `work(root, answers)` answers in a process of its own, whose limits and rights it may lower."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=work, args=(root, answers))
    process.start()
    process.join()
    assert not answers.empty(), "the write was expected to fail"
    return str(answers.get())


def _write_under_a_size_limit(root: Path, answers: multiprocessing.SimpleQueue) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
    try:
        FolderBucket(root).write("raw/a", b"x" * 100_000)
    except StorageError as error:
        answers.put(str(error))


def test_a_disk_that_refuses_leaves_the_stored_object_and_no_debris(tmp_path: Path) -> None:
    bucket = FolderBucket(tmp_path)
    generation = bucket.write("raw/a", b"precious")
    message = _answer_of(_write_under_a_size_limit, tmp_path)
    assert "cannot write" in message
    assert "the stored object is unchanged" in message
    stored = bucket.read("raw/a")
    assert stored is not None
    assert (stored.content, stored.generation) == (b"precious", generation)
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["a"]


def test_a_file_in_the_way_is_a_storage_error_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"")
    bucket = FolderBucket(tmp_path)
    with pytest.raises(StorageError, match=r"cannot write .*: ") as error:
        bucket.write("raw/a", b"1")
    assert "\n" not in str(error.value)
    assert bucket.read("raw/a") is None


def test_a_folder_in_the_way_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(StorageError, match="it is a folder"):
        FolderBucket(tmp_path).read("a")


def _write_as_nobody(root: Path, answers: multiprocessing.SimpleQueue) -> None:
    if os.geteuid() == 0:  # root may write everywhere
        os.setuid(65_534)
    try:
        FolderBucket(root).write("a", b"1")
    except StorageError as error:
        answers.put(str(error))


def test_a_folder_without_permission_is_a_storage_error() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        assert "permission denied" in _answer_of(_write_as_nobody, Path(folder))
        Path(folder).chmod(0o755)


def test_what_a_killed_writer_leaves_is_invisible_and_overwritten(tmp_path: Path) -> None:
    bucket = FolderBucket(tmp_path)
    bucket.write("raw/a", b"1")
    (tmp_path / "raw" / ".a.tmp").write_bytes(b"half of som")
    assert bucket.list() == ["raw/a"]
    bucket.write("raw/a", b"2")
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["a"]


def test_an_edit_by_another_program_changes_the_generation(tmp_path: Path) -> None:
    bucket = FolderBucket(tmp_path)
    generation = bucket.write("a", b"1")
    os.utime(tmp_path / "a", ns=(generation + 5, generation + 5))
    with pytest.raises(Conflict):
        bucket.write("a", b"2", if_generation=generation)


def test_a_clock_that_was_set_back_does_not_repeat_a_generation(tmp_path: Path) -> None:
    bucket = FolderBucket(tmp_path)
    bucket.write("a", b"1")
    future = 4_000_000_000_000_000_000
    os.utime(tmp_path / "a", ns=(future, future))
    assert bucket.write("a", b"2", if_generation=future) > future
