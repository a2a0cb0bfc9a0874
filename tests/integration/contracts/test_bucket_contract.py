"""What every `Bucket` promises. Another adapter joins by adding its factory to `FACTORIES`."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.adapters.local.bucket import FolderBucket
from shared.domain.errors import Conflict, UsageError
from shared.ports import Bucket

MakeBucket = Callable[[], Bucket]


def _folder(request: pytest.FixtureRequest) -> MakeBucket:
    path: Path = request.getfixturevalue("tmp_path")
    return lambda: FolderBucket(path / "lake")


def _cloud_storage(request: pytest.FixtureRequest) -> MakeBucket:
    name = request.getfixturevalue("new_gcs_bucket")()
    from shared.adapters.gcp.bucket import GcsBucket

    return lambda: GcsBucket(name, "a/lake")


FACTORIES: dict[str, Callable[[pytest.FixtureRequest], MakeBucket]] = {"folder": _folder, "gcs": _cloud_storage}


@pytest.fixture(params=sorted(FACTORIES))
def make_bucket(request: pytest.FixtureRequest) -> MakeBucket:
    """Opens the same bucket again at each call, as another process would."""
    return FACTORIES[request.param](request)


@pytest.fixture
def bucket(make_bucket: MakeBucket) -> Bucket:
    return make_bucket()


def test_an_absent_object_is_none(bucket: Bucket) -> None:
    assert bucket.read("raw/a") is None
    assert bucket.list() == []


def test_what_is_written_is_read_by_another_client(bucket: Bucket, make_bucket: MakeBucket) -> None:
    generation = bucket.write("raw/a", b"\x00bytes\xff")
    stored = make_bucket().read("raw/a")
    assert stored is not None
    assert (stored.content, stored.generation) == (b"\x00bytes\xff", generation)


def test_generations_grow_with_each_write_even_of_the_same_bytes(bucket: Bucket) -> None:
    generations = [bucket.write("a", b"same") for _ in range(50)]
    assert generations == sorted(set(generations))
    assert generations[0] > 0


def test_a_conditional_write_wins_with_the_generation_that_was_read(bucket: Bucket) -> None:
    first = bucket.write("a", b"1", if_generation=0)
    second = bucket.write("a", b"2", if_generation=first)
    with pytest.raises(Conflict):
        bucket.write("a", b"3", if_generation=first)
    stored = bucket.read("a")
    assert stored is not None
    assert (stored.content, stored.generation) == (b"2", second)


def test_generation_zero_means_that_the_object_must_not_exist(bucket: Bucket) -> None:
    bucket.write("a", b"1")
    with pytest.raises(Conflict):
        bucket.write("a", b"2", if_generation=0)


def test_an_expected_generation_of_an_absent_object_conflicts(bucket: Bucket) -> None:
    with pytest.raises(Conflict):
        bucket.write("a", b"1", if_generation=7)
    assert bucket.read("a") is None


def test_a_deleted_and_recreated_object_has_a_new_generation(bucket: Bucket) -> None:
    first = bucket.write("a", b"1")
    bucket.delete("a")
    bucket.delete("a")
    assert bucket.read("a") is None
    assert bucket.write("a", b"1", if_generation=0) != first


def test_listing_is_sorted_and_by_prefix_of_the_name(bucket: Bucket) -> None:
    for name in ("raw/b/x", "raw/a", "rawer/c", "curated/a"):
        bucket.write(name, b"")
    assert bucket.list("raw/") == ["raw/a", "raw/b/x"]
    assert bucket.list("raw") == ["raw/a", "raw/b/x", "rawer/c"]
    assert bucket.list("nothing/") == []
    assert bucket.list() == ["curated/a", "raw/a", "raw/b/x", "rawer/c"]


@pytest.mark.parametrize("name", ["", "/a", "a//b", "../a", "a/../../b", ".hidden", "a/.tmp"])
def test_a_name_that_could_leave_the_bucket_is_refused(bucket: Bucket, name: str) -> None:
    with pytest.raises(UsageError):
        bucket.write(name, b"")


def test_of_eight_threads_exactly_one_wins_each_round(make_bucket: MakeBucket) -> None:
    make_bucket().write("a", b"0")
    for _ in range(10):
        stored = make_bucket().read("a")
        assert stored is not None
        winners: list[bytes] = []
        gate = threading.Barrier(8)

        def race(name: bytes, generation: int, gate: threading.Barrier, winners: list[bytes]) -> None:
            client = make_bucket()
            gate.wait()
            try:
                client.write("a", name, if_generation=generation)
            except Conflict:
                return
            winners.append(name)

        threads = [threading.Thread(target=race, args=(str(i).encode(), stored.generation, gate, winners)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        after = make_bucket().read("a")
        assert after is not None
        assert winners == [after.content]


def _count_up(make: MakeBucket, times: int) -> None:
    bucket = make()
    done = 0
    while done < times:
        stored = bucket.read("counter")
        value = int(stored.content) if stored else 0
        try:
            bucket.write("counter", str(value + 1).encode(), if_generation=stored.generation if stored else 0)
        except Conflict:
            continue
        done += 1


def test_no_increment_of_eight_processes_is_lost(make_bucket: MakeBucket) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_count_up, args=(make_bucket, 10)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 8
    stored = make_bucket().read("counter")
    assert stored is not None
    assert stored.content == b"80"
