"""What Cloud Storage adds to the bucket's contract: lost answers, refusals, conditions that the fake does not enforce."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from shared.adapters.gcp.bucket import GcsBucket
from shared.adapters.gcp.clients import storage_client
from shared.domain.errors import Conflict, StorageError, StorageForbidden, UsageError, needs_help


class Session(requests.Session):  # type: ignore[misc]
    """An HTTP session that keeps what was asked, loses the answers of some requests and answers some by itself."""

    def __init__(self, lose: Callable[[str], bool] = lambda _: False, answer: tuple[int, str] | None = None) -> None:
        super().__init__()
        self.asked: list[tuple[str, str]] = []
        self._lose, self._answer = lose, answer

    def request(self, method: Any, url: Any, *arguments: Any, **options: Any) -> Any:
        self.asked.append((method, url))
        if self._answer is not None:
            made = requests.Response()
            made.status_code, text = self._answer
            made._content, made.url, made.request = text.encode(), url, requests.Request(method, url).prepare()
            made.headers["Content-Type"] = "application/json"
            return made
        answered = super().request(method, url, *arguments, **options)
        if self._lose(method):
            self._lose = lambda _: False
            raise requests.ConnectionError("the connection was reset before the answer came")
        return answered


def opened(session: Session, url: str = "http://127.0.0.1:9", name: str = "lake", patience_s: float = 5.0) -> GcsBucket:
    return GcsBucket(name, client=storage_client(session, url), patience_s=patience_s)


def test_an_upload_whose_answer_was_lost_has_won_though_its_repetition_loses(
    object_store: str, new_gcs_bucket: Callable[[], str]
) -> None:
    session = Session(lose=lambda method: method == "POST")
    bucket = opened(session, object_store, new_gcs_bucket())
    generation = bucket.write("a", b"1", if_generation=0)
    assert [method for method, _ in session.asked] == ["POST", "POST", "GET"]
    stored = bucket.read("a")
    assert stored is not None
    assert (stored.content, stored.generation) == (b"1", generation)


def test_the_same_bytes_of_another_writer_are_a_conflict(object_store: str, new_gcs_bucket: Callable[[], str]) -> None:
    name = new_gcs_bucket()
    opened(Session(), object_store, name).write("counter", b"1", if_generation=0)
    with pytest.raises(Conflict, match=r"counter has generation \d+, expected 0; read it again and merge"):
        opened(Session(), object_store, name).write("counter", b"1", if_generation=0)


def test_an_object_of_twenty_megabytes_comes_back_whole(object_store: str, new_gcs_bucket: Callable[[], str]) -> None:
    bucket = opened(Session(), object_store, new_gcs_bucket())
    content = bytes(range(256)) * (20 * 4096)
    generation = bucket.write("big", content)
    stored = bucket.read("big")
    assert stored is not None
    assert (stored.content == content, stored.generation) == (True, generation)


def test_pages_of_names_are_joined_without_the_prefix(object_store: str, new_gcs_bucket: Callable[[], str]) -> None:
    name = new_gcs_bucket()
    client = storage_client(Session(), object_store)
    inside, outside = GcsBucket(name, "/paper/", client=client), GcsBucket(name, client=client)
    outside.write("papers", b"")
    inside.write("raw/a", b"")
    assert (inside.list(), inside.list("raw/"), outside.list()) == (["raw/a"], ["raw/a"], ["paper/raw/a", "papers"])


@pytest.mark.parametrize("size", [10, 9 * 2**20])
def test_the_condition_is_sent_whatever_the_size(size: int) -> None:
    session = Session(answer=(412, '{"error": {"code": 412, "message": "conditionNotMet"}}'))
    with pytest.raises((Conflict, StorageError)):
        opened(session).write("a", bytes(size), if_generation=7)
    assert session.asked[0][0] == "POST"
    assert f"uploadType={'multipart' if size < 2**23 else 'resumable'}" in session.asked[0][1]
    assert "ifGenerationMatch=7" in session.asked[0][1]


@pytest.mark.parametrize(
    ("answer", "message", "kind"),
    [
        (
            (403, '{"error": {"code": 403, "message": "bot lacks storage.objects.get"}}'),
            "permission denied; grant.*bot lacks",
            StorageForbidden,
        ),
        ((503, '{"error": {"code": 503, "message": "backend error"}}'), "no answer in time; try again", StorageError),
        ((401, '{"error": {"code": 401, "message": "invalid"}}'), "the identity is not accepted", StorageForbidden),
    ],
)
def test_a_refusal_is_a_storage_error_that_says_what_to_do(
    answer: tuple[int, str], message: str, kind: type[StorageError]
) -> None:
    bucket = opened(Session(answer=answer), patience_s=0.5)
    for ask in (lambda: bucket.read("a"), lambda: bucket.write("a", b""), lambda: bucket.delete("a"), bucket.list):
        with pytest.raises(StorageError, match=rf"gs://lake/: {message}") as refused:
            ask()
        assert type(refused.value) is kind
        assert needs_help(refused.value) == (kind is StorageForbidden)


def test_a_store_that_cannot_be_reached_is_a_storage_error() -> None:
    with pytest.raises(StorageError, match="cannot read a in gs://lake/"):
        opened(Session(), patience_s=0.2).read("a")


def test_a_bucket_that_is_not_there_is_named(object_store: str) -> None:
    bucket = opened(Session(), object_store, "nobody-made-this")
    with pytest.raises(StorageError, match=r"nobody-made-this.*does not exist"):
        bucket.write("a", b"")
    with pytest.raises(StorageError, match=r"nobody-made-this.*does not exist"):
        bucket.list()


def test_an_address_that_is_no_bucket_is_refused() -> None:
    assert repr(GcsBucket.at("gs://lake/paper", client=storage_client(Session()))) == "GcsBucket('gs://lake/paper/')"
    for url in ("lake", "gs://", "s3://lake"):
        with pytest.raises(UsageError, match="expected gs://BUCKET"):
            GcsBucket.at(url)
