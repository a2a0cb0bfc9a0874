"""The exit journal in Cloud Storage: one request for an exit, and a bucket that is away is told soon."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.adapters.gcp.exit_journal import BucketExitJournal
from shared.adapters.local.exit_journal import FileExitJournal
from shared.cli import wiring
from shared.config.load import load
from shared.domain.errors import StorageError
from tests.integration.contracts.test_exit_journal_contract import EXIT, NAME, STOP
from tests.integration.gcp.test_gcs_bucket import Session, opened


def test_a_known_journal_costs_an_exit_one_request(object_store: str, new_gcs_bucket: Callable[[], str]) -> None:
    session = Session()
    journal = BucketExitJournal(opened(session, object_store, new_gcs_bucket()), NAME)
    assert journal.pending() == []  # every process begins with it
    session.asked.clear()
    journal.append(EXIT)
    journal.append(STOP)
    assert [method for method, _ in session.asked] == ["POST", "POST"]
    assert journal.pending() == [EXIT, STOP]


def test_an_exit_whose_answer_was_lost_is_there_once(object_store: str, new_gcs_bucket: Callable[[], str]) -> None:
    name = new_gcs_bucket()
    BucketExitJournal(opened(Session(lose=lambda method: method == "POST"), object_store, name), NAME).append(EXIT)
    stored = opened(Session(), object_store, name).read(NAME)
    assert stored is not None
    assert stored.content.count(b"\n") == 1


def test_a_bucket_that_fails_or_refuses_is_a_storage_error_within_its_patience() -> None:
    begin = time.monotonic()
    for answer in ((503, "{}"), (403, '{"error": {"message": "run-bot may not"}}')):
        journal = BucketExitJournal(opened(Session(answer=answer), patience_s=1.0), NAME)
        for act in (lambda j=journal: j.append(EXIT), journal.pending):
            with pytest.raises(StorageError, match=NAME):
                act()
    assert time.monotonic() - begin < 10


def test_the_bot_keeps_it_where_its_lake_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, object_store: str) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", object_store)
    for root, kind in (("gs://demo-lake", BucketExitJournal), (str(tmp_path), FileExitJournal)):
        settings = load(environment={"OST_STORAGE__ROOT": root, "OST_LEDGER__URL": "sqlite://"}, folder=tmp_path).settings
        assert isinstance(wiring.exit_journal(settings, "b"), kind)
