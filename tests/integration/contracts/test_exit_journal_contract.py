"""What every `ExitJournal` promises. Another adapter joins by adding its factory to `FACTORIES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from shared.adapters.gcp.exit_journal import BucketExitJournal
from shared.adapters.local.bucket import FolderBucket
from shared.adapters.local.exit_journal import FileExitJournal
from shared.domain.errors import StorageError
from shared.domain.orders import OrderIntent, OrderKind, Side
from shared.ports import ExitJournal

EXIT = OrderIntent(
    "o1-exit-a", "b", "d-1", "exit", "BTCUSDT", Side.SELL, OrderKind.MARKET, Decimal("0.0100"), 7, reduce_only=True
)
STOP = replace(EXIT, client_id="o1-stop-b", kind=OrderKind.STOP, stop_price=Decimal("104000.0"), due_ms=9)
LIMIT = replace(EXIT, client_id="o1-exit-c", kind=OrderKind.LIMIT, price=Decimal("1E+2"))

NAME = "exits/b.jsonl"
OpenJournal = Callable[[], ExitJournal]
Spoil = Callable[[bytes], None]
"""Adds bytes to what is stored, as nobody should"""


def _file(request: pytest.FixtureRequest) -> tuple[OpenJournal, Spoil]:
    path: Path = request.getfixturevalue("tmp_path") / NAME
    return lambda: FileExitJournal(path), lambda line: path.write_bytes(path.read_bytes() + line) and None


def _folder(request: pytest.FixtureRequest) -> tuple[OpenJournal, Spoil]:
    bucket = FolderBucket(request.getfixturevalue("tmp_path"))
    return lambda: BucketExitJournal(bucket, NAME), lambda line: _spoil(bucket, line)


def _cloud_storage(request: pytest.FixtureRequest) -> tuple[OpenJournal, Spoil]:
    from shared.adapters.gcp.bucket import GcsBucket

    name = request.getfixturevalue("new_gcs_bucket")()
    return lambda: BucketExitJournal(GcsBucket(name, "lake"), NAME), lambda line: _spoil(GcsBucket(name, "lake"), line)


def _spoil(bucket: object, line: bytes) -> None:
    stored = bucket.read(NAME)  # type: ignore[attr-defined]
    bucket.write(NAME, stored.content + line)  # type: ignore[attr-defined]


FACTORIES = {"file": _file, "folder": _folder, "gcs": _cloud_storage}


@pytest.fixture(params=sorted(FACTORIES))
def place(request: pytest.FixtureRequest) -> tuple[OpenJournal, Spoil]:
    return FACTORIES[request.param](request)


@pytest.fixture
def opened(place: tuple[OpenJournal, Spoil]) -> OpenJournal:
    """Opens the same journal again at each call, as another process would."""
    return place[0]


def test_intents_come_back_equal_and_in_order_to_another_process(opened: OpenJournal) -> None:
    for intent in (STOP, EXIT, LIMIT):
        opened().append(intent)
    assert opened().pending() == [STOP, EXIT, LIMIT]


def test_an_absent_journal_is_empty_and_can_be_cleared(opened: OpenJournal) -> None:
    journal = opened()
    assert journal.pending() == []
    journal.clear()
    assert opened().pending() == []


def test_the_same_intent_twice_is_pending_once(opened: OpenJournal) -> None:
    journal = opened()
    for intent in (EXIT, STOP, EXIT):
        journal.append(intent)
    assert journal.pending() == [EXIT, STOP]


def test_clearing_forgets_what_was_given_and_keeps_what_came_since(opened: OpenJournal) -> None:
    journal = opened()
    journal.append(EXIT)
    assert journal.pending() == [EXIT]
    opened().append(STOP)
    journal.clear()
    assert opened().pending() == [STOP]
    journal.clear()
    assert journal.pending() == [STOP]
    journal.clear()
    assert opened().pending() == []
    journal.append(LIMIT)
    assert opened().pending() == [LIMIT]


def test_what_one_process_appends_the_next_one_keeps(opened: OpenJournal) -> None:
    going, coming = opened(), opened()
    going.append(EXIT)
    coming.append(STOP)
    going.append(LIMIT)
    assert coming.pending() == [EXIT, STOP, LIMIT]


def test_a_malformed_line_is_named_and_nothing_is_changed(place: tuple[OpenJournal, Spoil]) -> None:
    opened, spoil = place
    journal = opened()
    journal.append(EXIT)
    spoil(b"not json\n")
    for _ in range(2):
        with pytest.raises(StorageError, match="line 2 is no order intent"):
            journal.pending()
        journal.clear()
